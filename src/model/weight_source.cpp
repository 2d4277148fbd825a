#include "model/weight_source.h"

#include <algorithm>
#include <map>

#include "io/gguf_blocks.h"
#include "io/safetensors.h"
#include "model/families.h"
#include "model/gguf_model.h"

namespace weft {
namespace {

class SafetensorsSource : public WeightSource {
 public:
  explicit SafetensorsSource(const std::filesystem::path& dir) : reader_(dir) {}
  std::optional<StoredTensor> find(const std::string& name) const override {
    const StoredTensor* tensor = reader_.find(name);
    return tensor ? std::optional(*tensor) : std::nullopt;
  }
  std::size_t n_tensors() const override { return reader_.tensors().size(); }

 private:
  SafetensorsReader reader_;
};

class GgufSource : public WeightSource {
 public:
  explicit GgufSource(const std::filesystem::path& file) : model_(file) {}
  std::optional<StoredTensor> find(const std::string& name) const override {
    return model_.find(name);
  }
  std::size_t n_tensors() const override { return model_.names().size(); }

 private:
  GgufModel model_;
};

std::string format_name(const StoredTensor& t) {
  constexpr const char* kBlocks[] = {"",     "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
                                     "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"};
  return t.format == TensorFormat::elements ? std::string(dtype_name(t.dtype))
                                            : kBlocks[static_cast<std::size_t>(t.format)];
}

std::map<std::string, StoredTensor> tensors_of(const std::filesystem::path& path) {
  return GgufReader::is_gguf(path) ? GgufReader(path).tensors() : SafetensorsReader(path).tensors();
}

}  // namespace

ModelConfig read_model_config(const std::filesystem::path& path) {
  if (GgufReader::is_gguf(path)) return config_from_json(GgufModel(path).config(), path.string());
  return read_hf_config(path);
}

std::unique_ptr<WeightSource> open_weights(const std::filesystem::path& path) {
  if (GgufReader::is_gguf(path)) return std::make_unique<GgufSource>(path);
  return std::make_unique<SafetensorsSource>(path);
}

std::string stored_format(const std::filesystem::path& path) {
  std::map<std::string, std::int64_t> elems;
  for (const auto& [name, tensor] : tensors_of(path))
    elems[format_name(tensor)] += tensor.shape.elems();
  const auto most = std::max_element(
      elems.begin(), elems.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elems.end() ? "fp32" : most->first;
}

std::int64_t stored_bytes(const std::filesystem::path& path) {
  std::int64_t bytes = 0;
  for (const auto& [name, t] : tensors_of(path)) {
    const BlockSize block = t.format == TensorFormat::elements ? BlockSize{1, dtype_bytes(t.dtype)}
                                                               : block_size(t.format);
    bytes += t.shape.elems() / block.elems * static_cast<std::int64_t>(block.bytes);
  }
  return bytes;
}

}  // namespace weft

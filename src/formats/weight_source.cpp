#include "formats/weight_source.h"

#include <algorithm>
#include <map>

#include "core/check.h"
#include "formats/families.h"
#include "formats/gguf_model.h"
#include "formats/hf_weights.h"
#include "io/weights/gguf_blocks.h"
#include "io/weights/safetensors.h"
#include "io/weights/torch_file.h"
#include "io/weights/weight_files.h"

namespace weft {
namespace {

// SafetensorsReader or TorchReader.
template <class Reader>
class ReaderSource : public WeightSource {
 public:
  explicit ReaderSource(const std::filesystem::path& dir) : reader_(dir) {}
  std::optional<StoredTensor> find(const std::string& name) const override {
    const StoredTensor* tensor = reader_.find(name);
    return tensor ? std::optional(*tensor) : std::nullopt;
  }
  std::vector<std::string> names() const override {
    std::vector<std::string> all;
    for (const auto& [name, tensor] : reader_.tensors()) all.push_back(name);
    return all;
  }

 private:
  Reader reader_;
};

class GgufSource : public WeightSource {
 public:
  explicit GgufSource(const std::filesystem::path& file) : model_(file) {}
  std::optional<StoredTensor> find(const std::string& name) const override {
    return model_.find(name);
  }
  std::vector<std::string> names() const override { return model_.names(); }

 private:
  GgufModel model_;
};

std::string format_name(const StoredTensor& t) {
  constexpr const char* kBlocks[] = {"",     "q4_0", "q4_1", "q5_0", "q5_1", "q8_0",
                                     "q2_k", "q3_k", "q4_k", "q5_k", "q6_k"};
  if (!t.unreadable.empty()) return t.unreadable;
  return t.format == TensorFormat::elements ? std::string(dtype_name(t.dtype))
                                            : kBlocks[static_cast<std::size_t>(t.format)];
}

namespace fs = std::filesystem;

constexpr const char* kSafetensors = "model.safetensors";
constexpr const char* kTorch = "pytorch_model.bin";

std::map<std::string, StoredTensor> tensors_of(const fs::path& path) {
  if (GgufReader::is_gguf(path)) return GgufReader(path).tensors();
  return is_torch_folder(path) ? TorchReader(path).tensors() : SafetensorsReader(path).tensors();
}

// A LoRA adapter holds what is added to another model's weights.
void refuse_adapter(const fs::path& dir) {
  std::error_code error;
  const fs::path file = dir / "adapter_config.json";
  if (!fs::exists(file, error)) return;
  const Json adapter = read_json_object(file);
  const std::string base = JsonReader(adapter, file.string()).string("base_model_name_or_path", "");
  user_error(
      "{}: is an adapter (LoRA or the like: adapter_config.json){}, not a whole model; merge it "
      "into that one first (in Python: PeftModel.from_pretrained(base, adapter)"
      ".merge_and_unload().save_pretrained(DIR))",
      dir.string(), base.empty() ? "" : " of " + base);
}

// What else lies there instead of weights that we read.
void refuse_other_weights(const fs::path& dir) {
  constexpr std::pair<const char*, const char*> kOthers[] = {
      {"tf_model.h5", "TensorFlow's weights (tf_model.h5)"},
      {"flax_model.msgpack", "Flax's weights (flax_model.msgpack)"},
      {"model.ckpt.index", "a TensorFlow checkpoint (model.ckpt)"},
      {"consolidated.00.pth", "weights in their authors' own layout (consolidated.00.pth)"},
      {"consolidated.safetensors", "weights in their authors' own layout"},
      {"model_index.json", "a Diffusers pipeline (model_index.json)"}};
  std::error_code error;
  for (const auto& [file, what] : kOthers)
    CHECK_USER(!fs::exists(dir / file, error),
               "{}: holds {}, which are not read; allowed: {} or {} (transformers writes the first "
               "with save_pretrained)",
               dir.string(), what, kSafetensors, kTorch);
  for (const auto& entry : fs::directory_iterator(dir, error))
    CHECK_USER(entry.path().extension() != ".gguf", "{}: holds {}; name that file itself",
               dir.string(), entry.path().filename().string());
}

// The two tensors that the config ties: whether they are both there and differ.
bool has_another_head(const WeightSource& source, const ModelConfig& c) {
  const std::optional<StoredTensor> table = find_stored(source, c, "embed.tokens.weight"),
                                    head = find_stored(source, c, "head.weight");
  if (!table || !head || table->shape != head->shape || table->data == head->data) return false;
  constexpr std::int64_t kPiece = 1 << 16;
  std::vector<float> a(kPiece), b(kPiece);
  for (std::int64_t at = 0; at < table->shape.elems(); at += kPiece) {
    const std::int64_t n = std::min(kPiece, table->shape.elems() - at);
    read_elements(*table, at, n, a.data());
    read_elements(*head, at, n, b.data());
    if (!std::equal(a.begin(), a.begin() + n, b.begin())) return true;
  }
  return false;
}

}  // namespace

bool is_torch_folder(const fs::path& path) {
  return !has_weight_files(path, kSafetensors) && has_weight_files(path, kTorch);
}

ModelConfig read_model_config(const fs::path& path) {
  if (GgufReader::is_gguf(path)) return config_from_json(GgufModel(path).config(), path.string());
  std::error_code error;
  if (!fs::exists(path / "config.json", error)) refuse_adapter(path);
  ModelConfig config = read_hf_config(path);
  const bool has_files = has_weight_files(path, kSafetensors) || has_weight_files(path, kTorch);
  if (config.tied_head && config.has_lm_head() && has_files &&
      has_another_head(*open_weights(path), config))
    config.tied_head = false;
  return config;
}

std::unique_ptr<WeightSource> open_weights(const fs::path& path) {
  if (GgufReader::is_gguf(path)) return std::make_unique<GgufSource>(path);
  if (is_torch_folder(path)) return std::make_unique<ReaderSource<TorchReader>>(path);
  std::error_code error;
  if (fs::is_directory(path, error) && !has_weight_files(path, kSafetensors)) {
    refuse_adapter(path);
    refuse_other_weights(path);
    user_error("{}: holds neither {} nor {}, nor an index of their parts", path.string(),
               kSafetensors, kTorch);
  }
  return std::make_unique<ReaderSource<SafetensorsReader>>(path);
}

std::string hint_of_names(const WeightSource& source, const std::string& name) {
  for (const std::string& there : source.names()) {
    if (there.find(".lora_A.") != std::string::npos)
      return "; tensors such as " + there +
             " are a LoRA adapter's: merge it into its base model first";
    for (const char* end : {".qweight", ".quant_state", ".SCB", ".weight_packed", ".weight_scale",
                            ".weight_scale_inv", ".absmax"})
      if (there.ends_with(end) || there.find(std::string(end) + ".") != std::string::npos)
        return "; tensors such as " + there +
               " are quantised ones, which are read from GGUF files alone";
    if (!there.ends_with("." + name)) continue;
    const std::string prefix = there.substr(0, there.size() - name.size());
    const char* whose = prefix == "_orig_mod." ? " (torch.compile's wrapper: save "
                                                 "model._orig_mod.state_dict() instead)"
                        : prefix == "module."  ? " (a data-parallel wrapper: save "
                                                 "model.module.state_dict() instead)"
                                               : "";
    return fmt::format("; {} is there: the names begin with {}{}, which must be taken off", there,
                       prefix, whose);
  }
  return "";
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
    if (!t.unreadable.empty()) continue;
    const BlockSize block = t.format == TensorFormat::elements ? BlockSize{1, dtype_bytes(t.dtype)}
                                                               : block_size(t.format);
    bytes += t.shape.elems() / block.elems * static_cast<std::int64_t>(block.bytes);
  }
  return bytes;
}

}  // namespace weft

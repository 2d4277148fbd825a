#include "formats/hf_tensors.h"

#include <algorithm>

#include "core/check.h"
#include "formats/gguf/gguf_model.h"
#include "io/weights/gguf_blocks.h"
#include "io/weights/safetensors.h"
#include "io/weights/torch_file.h"
#include "io/weights/weight_files.h"

namespace weft {
namespace {

// SafetensorsReader or TorchReader.
template <class Reader>
class ReaderSource : public TensorSource {
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
  const std::map<std::string, StoredTensor>& tensors() const override { return reader_.tensors(); }

 private:
  Reader reader_;
};

class GgufSource : public TensorSource {
 public:
  explicit GgufSource(const std::filesystem::path& file) : model_(file) {}
  std::optional<StoredTensor> find(const std::string& name) const override {
    return model_.find(name);
  }
  std::vector<std::string> names() const override { return model_.names(); }
  const std::map<std::string, StoredTensor>& tensors() const override { return model_.tensors(); }
  bool holds_the_model_alone() const override { return true; }

 private:
  GgufModel model_;
};

std::string with_end(const std::string& name, const std::string& from, const std::string& to) {
  const bool ends =
      name.size() >= from.size() && name.compare(name.size() - from.size(), from.size(), from) == 0;
  return ends ? name.substr(0, name.size() - from.size()) + to : "";
}

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

}  // namespace

bool has_tensors(const fs::path& dir) {
  return has_weight_files(dir, kSafetensors) || has_weight_files(dir, kTorch);
}

bool is_torch_folder(const fs::path& path) {
  return !has_weight_files(path, kSafetensors) && has_weight_files(path, kTorch);
}

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

std::unique_ptr<TensorSource> open_tensors(const fs::path& path) {
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

std::optional<StoredTensor> find_tensor(const TensorSource& source, const Family& row,
                                        const std::string& name) {
  std::vector<std::string> names = {name};
  if (name.starts_with(row.prefix)) names.push_back(name.substr(row.prefix.size()));
  std::vector<std::pair<std::string, std::string>> ends = row.aliases;
  for (const std::string norm : {"LayerNorm", "layer_norm"}) {  // as TensorFlow called them
    ends.emplace_back(norm + ".weight", norm + ".gamma");
    ends.emplace_back(norm + ".bias", norm + ".beta");
  }
  for (const std::string& n : std::vector<std::string>(names))
    for (const auto& [from, to] : ends)
      if (std::string other = with_end(n, from, to); !other.empty())
        names.push_back(std::move(other));
  for (const std::string& n : names)
    if (auto tensor = source.find(n)) return tensor;
  return std::nullopt;
}

std::string hint_of_names(const TensorSource& source, const std::string& name) {
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

std::string stored_format(const TensorSource& source) {
  std::map<std::string, std::int64_t> elems;
  for (const auto& [name, tensor] : source.tensors())
    elems[format_name(tensor)] += tensor.shape.elems();
  const auto most = std::max_element(
      elems.begin(), elems.end(), [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == elems.end() ? "fp32" : most->first;
}

std::int64_t stored_bytes(const TensorSource& source) {
  std::int64_t bytes = 0;
  for (const auto& [name, t] : source.tensors()) {
    if (!t.unreadable.empty()) continue;
    const BlockSize block = t.format == TensorFormat::elements ? BlockSize{1, dtype_bytes(t.dtype)}
                                                               : block_size(t.format);
    bytes += t.shape.elems() / block.elems * static_cast<std::int64_t>(block.bytes);
  }
  return bytes;
}

}  // namespace weft

#include "formats/open_model.h"

#include <algorithm>

#include "core/check.h"
#include "formats/checkpoint_weights.h"
#include "formats/gguf/gguf_model.h"
#include "formats/hf_parameter.h"
#include "formats/hf_weights.h"
#include "io/files.h"
#include "io/weights/gguf.h"
#include "text/files/tokenizer_files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

// The two tensors that the config ties: whether they are both there and differ.
bool has_another_head(const TensorSource& source, const ModelConfig& c) {
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

ModelConfig directory_config(const fs::path& dir) {
  std::error_code error;
  if (!fs::exists(dir / "config.json", error)) refuse_adapter(dir);
  ModelConfig config = read_hf_config(dir);
  if (config.tied_head && config.has_lm_head() && has_tensors(dir) &&
      has_another_head(*open_tensors(dir), config))
    config.tied_head = false;
  return config;
}

}  // namespace

StoredModel open_model(const std::string& path, const std::string& what) {
  CHECK_USER(!path.empty(),
             "{} is missing: name a HF directory, a GGUF file or a Weft checkpoint (.h5)", what);
  std::error_code error;
  CHECK_USER(fs::exists(path, error), "{} {}: no such file or folder", what, path);
  StoredModel model;
  model.path_ = path;
  if (asks_for_checkpoint(path)) {
    model.checkpoint_ = read_checkpoint_header(path);
    model.config_ = model.checkpoint_->config;
    return model;
  }
  const bool is_folder = fs::is_directory(path, error);
  CHECK_USER(is_folder || GgufReader::is_gguf(path),
             "{} {}: allowed: a HF directory, a GGUF file or a Weft checkpoint (.h5)", what, path);
  model.config_ =
      is_folder ? directory_config(path) : config_from_json(GgufModel(path).config(), path);
  return model;
}

std::optional<Tokenizer> StoredModel::tokenizer() const {
  if (!checkpoint_)
    return has_tokenizer(path_) ? std::optional(load_tokenizer(path_)) : std::nullopt;
  const std::string& json = checkpoint_->state.tokenizer;
  return json.empty() ? std::nullopt : std::optional(tokenizer_from_json(json, path_));
}

std::optional<OriginText> StoredModel::generation() const {
  if (checkpoint_) {
    const std::string& text = checkpoint_->state.generation;
    if (text.empty()) return std::nullopt;
    return OriginText{text, path_ + ": generation_config.json"};
  }
  std::error_code error;
  const fs::path file = fs::path(path_) / "generation_config.json";
  if (!fs::is_regular_file(file, error)) return std::nullopt;
  return OriginText{read_text_file(file), file.string()};
}

std::unique_ptr<WeightSource> StoredModel::weights() const {
  return checkpoint_ ? checkpoint_weights(path_, *checkpoint_) : open_hf_weights(path_);
}

std::string warning_of_untied(const ModelConfig& config, const std::string& path) {
  if (config.tied_head || !config.has_lm_head() || !config.source.is_object()) return "";
  const bool says =
      config.source.value("tie_word_embeddings", family(config.family).defaults.tied_head);
  if (!says) return "";
  const std::vector<StoredPart> parts = stored_parts(config);
  const auto head = std::find_if(parts.begin(), parts.end(), [](const StoredPart& part) {
    return part.parameter.name == "head.weight";
  });
  return fmt::format(
      "{}: config.json ties the head to the token table, but the files hold {} with other values, "
      "so it is NOT tied, as in transformers 5; set tie_word_embeddings to false to say so",
      path, head->name);
}

bool asks_for_checkpoint(const fs::path& output) {
  return output.extension() == ".h5" || output.extension() == ".hdf5";
}

}  // namespace weft

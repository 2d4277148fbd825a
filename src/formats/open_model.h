// The one door to a model: what a path holds, whether it is a Hugging Face directory, a GGUF file
// or a checkpoint. Nobody outside formats/ asks which.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "formats/checkpoint_file.h"
#include "formats/weight_source.h"
#include "text/tokenizer.h"

namespace weft {

// A text and the place it came from, for errors.
struct OriginText {
  std::string text, origin;
};

class StoredModel {
 public:
  const std::string& path() const { return path_; }
  // What the files hold: where config.json ties the head to the token table but both are there with
  // different values they are two, as in transformers 5.
  const ModelConfig& config() const { return config_; }

  // Each is read when it is asked for; UserErrors name what is missing or wrong.
  std::optional<Tokenizer> tokenizer() const;     // none: it comes without one
  std::optional<OriginText> generation() const;   // generation_config.json, byte for byte
  std::unique_ptr<WeightSource> weights() const;  // opened anew; needs the model no more

  // Whether training may give it what its files do not have: another head, more tokens. A
  // checkpoint is loaded as it is.
  bool takes_new_tensors() const { return !checkpoint_; }

 private:
  friend StoredModel open_model(const std::string& path, const std::string& what);
  std::string path_;
  ModelConfig config_;
  std::optional<CheckpointHeader> checkpoint_;
};

// Reads the config, and no weights but those of two heads. `what` names the path in errors
// ("--model"). UserErrors: not there, none of the three; Damaged where a checkpoint is.
StoredModel open_model(const std::string& path, const std::string& what);

// Whether the config ties the head to the token table while the files hold another one: the
// sentence that says so, else "". `config` may be the model's with another head.
std::string warning_of_untied(const ModelConfig& config, const std::string& path);

// Whether the name of a file that is to be written asks for a checkpoint: it ends in .h5 or .hdf5.
bool asks_for_checkpoint(const std::filesystem::path& output);

}  // namespace weft

// A GGUF file seen as a Hugging Face directory: its config.json, and its tensors under Hugging
// Face's names and layouts.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/gguf/gguf_names.h"
#include "io/weights/gguf.h"

namespace weft {

class GgufModel {
 public:
  // UserErrors name the file: not a GGUF file or a damaged one, an architecture or a tensor that is
  // not known, a key missing or out of range.
  explicit GgufModel(const std::filesystem::path& file);
  const Json& config() const { return config_; }  // as config.json
  const Json& metadata() const { return reader_->metadata(); }
  const std::string& file() const { return reader_->file(); }
  // By the name in transformers' state_dict ("model.layers.3.self_attn.q_proj.weight"); what the
  // converter did to it is undone by read_elements. Valid as long as the model is. A tied head is
  // not there, as in a Hugging Face file.
  std::optional<StoredTensor> find(const std::string& hf_name) const;
  const std::map<std::string, StoredTensor>& tensors() const {
    return reader_->tensors();
  }                                        // as
                                           // stored
  std::vector<std::string> names() const;  // the Hugging Face names of all tensors, sorted

 private:
  std::unique_ptr<GgufReader> reader_;
  const GgufArchitecture* architecture_;
  Json config_;
};

}  // namespace weft

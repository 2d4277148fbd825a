// The tensors of a model's files under Hugging Face's names, whatever the files are: safetensors,
// pytorch_model.bin or GGUF.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "formats/families/families.h"
#include "io/weights/stored_tensor.h"

namespace weft {

// Files stay mapped, and what find() gives stays valid, as long as the source lives.
class TensorSource {
 public:
  virtual ~TensorSource() = default;
  virtual std::optional<StoredTensor> find(const std::string& name) const = 0;
  virtual std::vector<std::string> names() const = 0;
  // All that the files hold, as they name it and lay it out.
  virtual const std::map<std::string, StoredTensor>& tensors() const = 0;
  std::size_t n_tensors() const { return names().size(); }
  virtual bool holds_the_model_alone() const { return false; }  // no buffers, no copies
};

// A directory or a GGUF file. UserErrors name what is missing or wrong, and what else the folder is
// where that can be told: a LoRA adapter, weights of another framework.
std::unique_ptr<TensorSource> open_tensors(const std::filesystem::path& path);
bool has_tensors(const std::filesystem::path& dir);  // whether its weights are of a kind we read
// Whether they are a pickle's (pytorch_model.bin), which opens slower than safetensors.
bool is_torch_folder(const std::filesystem::path& path);
// UserError where the directory is a LoRA adapter, which holds what is added to another model.
void refuse_adapter(const std::filesystem::path& dir);

// A tensor under its name, without the family's prefix (a base model's file), or as another writer
// calls it.
std::optional<StoredTensor> find_tensor(const TensorSource& source, const Family& row,
                                        const std::string& name);
// Where tensor `name` is missing: what the names that are there tell, as an addition to a sentence;
// "" where they tell nothing.
std::string hint_of_names(const TensorSource& source, const std::string& name);

// How most of the elements are stored: "fp32", "bf16", "q4_1".
std::string stored_format(const TensorSource& source);
std::int64_t stored_bytes(const TensorSource& source);  // of all its tensors

}  // namespace weft

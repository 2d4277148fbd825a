// What torch.save wrote of a state dict (pytorch_model.bin): a zip archive of a pickle that
// describes the tensors and of their storages, mapped as they are. No code of the pickle runs.
// Everything it claims is checked against the file before the first tensor is given out.
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "io/weights/stored_tensor.h"

namespace weft {

class TorchReader {
 public:
  // A file, or a folder with pytorch_model.bin or pytorch_model.bin.index.json. UserErrors name the
  // file: the format of before torch 1.6, a pickle of anything but tensors, damage.
  explicit TorchReader(const std::filesystem::path& path);
  ~TorchReader();
  // Null when absent. UserError where its bytes are not what was saved, looked at once.
  const StoredTensor* find(const std::string& name) const;
  const std::map<std::string, StoredTensor>& tensors() const { return tensors_; }

 private:
  class File;
  std::vector<std::unique_ptr<File>> files_;
  std::map<std::string, StoredTensor> tensors_;
};

}  // namespace weft

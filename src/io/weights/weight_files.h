// Which files of a folder hold its weights: one, or the shards that an index lists.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/weights/stored_tensor.h"

namespace weft {

struct WeightFiles {
  std::filesystem::path path;  // what was asked for
  std::vector<std::filesystem::path> files;
  std::map<std::string, std::string> owner;  // by the index: which file a tensor must be in
};

// `path` itself where it is a file; in a folder `single` ("model.safetensors"), else what
// `single`.index.json lists. UserErrors: none of these is there, a bad index.
WeightFiles find_weight_files(const std::filesystem::path& path, const std::string& single);
bool has_weight_files(const std::filesystem::path& folder, const std::string& single);

// One file's tensors to those of the others. UserError where a name is there already.
void add_tensors(std::map<std::string, StoredTensor>& all, std::vector<StoredTensor> tensors);
// UserError where a tensor is not in the file that the index names.
void check_owners(const WeightFiles& files, const std::map<std::string, StoredTensor>& all);

}  // namespace weft

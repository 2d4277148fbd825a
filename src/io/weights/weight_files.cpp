#include "io/weights/weight_files.h"

#include <set>

#include "core/check.h"
#include "io/json.h"

namespace weft {

namespace fs = std::filesystem;

namespace {

void read_index(WeightFiles& list, const fs::path& index_file) {
  std::error_code error;
  const Json index = read_json_object(index_file);
  CHECK_USER(index.contains("weight_map") && index["weight_map"].is_object() &&
                 !index["weight_map"].empty(),
             "{}: weight_map is missing or empty", index_file.string());
  std::set<std::string> names;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    CHECK_USER(file.is_string(), "{}: tensor {} names no file", index_file.string(), tensor);
    const auto name = file.get<std::string>();
    CHECK_USER(!name.empty() && fs::path(name).filename() == name && name != ".." &&
                   name.find('\0') == std::string::npos,
               "{}: tensor {} is in '{}'; files must lie beside the index", index_file.string(),
               tensor, name);
    list.owner[tensor] = name;
    names.insert(name);
  }
  for (const std::string& name : names) {
    CHECK_USER(fs::exists(list.path / name, error), "{}: file {} is named there, but missing",
               index_file.string(), name);
    list.files.push_back(list.path / name);
  }
}

}  // namespace

bool has_weight_files(const fs::path& folder, const std::string& single) {
  std::error_code error;
  return fs::exists(folder / single, error) || fs::exists(folder / (single + ".index.json"), error);
}

WeightFiles find_weight_files(const fs::path& path, const std::string& single) {
  std::error_code error;
  WeightFiles list = {.path = path, .files = {}, .owner = {}};
  if (!fs::is_directory(path, error)) {
    CHECK_USER(fs::exists(path, error), "{}: no such file", path.string());
    list.files.push_back(path);
  } else if (fs::exists(path / single, error)) {
    list.files.push_back(path / single);
  } else {
    const fs::path index_file = path / (single + ".index.json");
    CHECK_USER(fs::exists(index_file, error), "{}: holds neither {} nor {}", path.string(), single,
               index_file.filename().string());
    read_index(list, index_file);
  }
  return list;
}

void add_tensors(std::map<std::string, StoredTensor>& all, std::vector<StoredTensor> tensors) {
  for (StoredTensor& tensor : tensors) {
    const std::string name = tensor.name, file = tensor.file;
    const auto [at, is_new] = all.try_emplace(name, std::move(tensor));
    CHECK_USER(is_new, "{}: tensor {} is in {} too", file, name, at->second.file);
  }
}

void check_owners(const WeightFiles& files, const std::map<std::string, StoredTensor>& all) {
  for (const auto& [tensor, file] : files.owner) {
    const auto found = all.find(tensor);
    CHECK_USER(found != all.end() && fs::path(found->second.file).filename() == file,
               "{}: tensor {} should be in {}, but is not", files.path.string(), tensor, file);
  }
}

}  // namespace weft

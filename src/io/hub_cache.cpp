#include "io/hub_cache.h"

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "core/check.h"
#include "io/files.h"
#include "io/json.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value ? value : "";
}

fs::path with_home(const std::string& path) {
  if (path == "~" || path.starts_with("~/")) return variable("HOME") + path.substr(1);
  return path;
}

// "name" or "org/name", of the characters that the hub allows.
bool is_hub_name(const std::string& name) {
  const auto good_part = [](const std::string& part) {
    return !part.empty() && part[0] != '.' && part[0] != '-' && part.size() <= 96 &&
           part.find("--") == std::string::npos && part.find("..") == std::string::npos &&
           std::all_of(part.begin(), part.end(), [](char c) {
             return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    c == '-' || c == '_' || c == '.';
           });
  };
  const std::size_t slash = name.find('/');
  if (slash == std::string::npos) return good_part(name);
  return good_part(name.substr(0, slash)) && good_part(name.substr(slash + 1));
}

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' '))
    text.pop_back();
  return text;
}

// The commit that was the main branch when the model was downloaded; where only another revision
// was, the one that is there.
fs::path snapshot_of(const fs::path& folder, const std::string& whose) {
  std::error_code error;
  const fs::path snapshots = folder / "snapshots", ref = folder / "refs" / "main";
  if (fs::exists(ref, error)) {
    const std::string commit = trimmed(read_text_file(ref));
    CHECK_USER(is_hub_name(commit) && fs::is_directory(snapshots / commit, error),
               "{}: {} names a snapshot that is not there; download the model again", whose,
               ref.string());
    return snapshots / commit;
  }
  std::vector<fs::path> all;
  for (const auto& entry : fs::directory_iterator(snapshots, error)) all.push_back(entry.path());
  CHECK_USER(all.size() == 1, "{}: {} has {} snapshots and no refs/main; name one of its folders",
             whose, folder.string(), all.size());
  return all[0];
}

}  // namespace

fs::path hub_cache() {
  for (const char* name : {"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"})
    if (const std::string path = variable(name); !path.empty()) return with_home(path);
  if (const std::string home = variable("HF_HOME"); !home.empty()) return with_home(home) / "hub";
  const std::string cache = variable("XDG_CACHE_HOME");
  return (cache.empty() ? with_home("~/.cache") : with_home(cache)) / "huggingface" / "hub";
}

std::string find_model(const std::string& name, const std::string& option) {
  std::error_code error;
  if (name.empty() || fs::exists(name, error) || !is_hub_name(name)) return name;
  const fs::path cache = hub_cache();
  const std::size_t slash = name.find('/');
  const std::string folder =
      "models--" +
      (slash == std::string::npos ? name : name.substr(0, slash) + "--" + name.substr(slash + 1));
  const std::string whose = option + (option.empty() ? "" : " ") + name;
  CHECK_USER(fs::is_directory(cache / folder, error),
             "{}: no such file or folder, and the local Hugging Face cache {} has no {} (nothing "
             "is downloaded; HF_HOME or HF_HUB_CACHE name another cache)",
             whose, cache.string(), folder);
  return snapshot_of(cache / folder, whose).string();
}

}  // namespace weft

// The sources of the tree, for tests that read them.
#pragma once

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace weft::test {

struct Source {
  std::filesystem::path path;  // from the repository's root
  std::string room;            // "kernels", "core", …
  std::string folder;          // from src/: "text/jinja"; "kernels"
  std::vector<std::string> lines;
  bool is_header() const { return path.extension() == ".h"; }
};

inline std::vector<Source> sources() {
  const std::filesystem::path root = WEFT_SOURCE_DIR;
  static const std::set<std::string> kEndings = {".h", ".cpp", ".cu", ".cuh"};
  std::vector<Source> list;
  for (const char* folder : {"src", "kernels", "tests", "benchmarks"}) {
    if (!std::filesystem::exists(root / folder)) continue;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(root / folder)) {
      if (!entry.is_regular_file() || !kEndings.contains(entry.path().extension())) continue;
      Source source;
      source.path = entry.path().lexically_relative(root);
      const auto first = source.path.begin();
      source.room = *first == "src" ? std::next(first)->string() : first->string();
      const std::filesystem::path parent = source.path.parent_path();
      source.folder = (*first == "src" ? parent.lexically_relative("src") : parent).string();
      std::ifstream in(entry.path());
      for (std::string line; std::getline(in, line);) source.lines.push_back(line);
      list.push_back(std::move(source));
    }
  }
  std::sort(list.begin(), list.end(),
            [](const Source& a, const Source& b) { return a.path < b.path; });
  return list;
}

inline bool in_house(const Source& source) {
  return *source.path.begin() == "src" || *source.path.begin() == "kernels";
}

}  // namespace weft::test

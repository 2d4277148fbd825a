#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "core/check.h"
#include "core/utf8.h"
#include "report/run.h"

namespace weft::report {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLog = "run.jsonl";

struct Found {
  std::string name, path;  // path: as long a name as it takes
  std::string log;
};

// The name that a path ends in: "." and "run/" have one too.
std::string last_name(const fs::path& path) {
  std::error_code error;
  fs::path whole = fs::absolute(path, error).lexically_normal();
  if (whole.filename().empty()) whole = whole.parent_path();
  return whole.filename().string();
}

Found of_log(const fs::path& log, const std::string& shown) {
  const bool in_folder = log.filename() == kLog || log.filename() == std::string(kLog) + ".gz";
  std::string name = log.filename().string();
  if (in_folder) {
    name = last_name(log.has_parent_path() ? log.parent_path() : ".");
  } else {
    for (const char* ending : {".gz", ".jsonl"})
      if (name.size() > std::string(ending).size() && name.ends_with(ending))
        name.erase(name.size() - std::string(ending).size());
  }
  return {name, shown, log.string()};
}

bool is_file(const fs::path& path) {
  std::error_code error;
  return fs::is_regular_file(path, error);
}

// The folder's own log, else those of the folders in it.
std::vector<Found> in_folder(const fs::path& folder, const std::string& word) {
  if (is_file(folder / kLog)) return {of_log(folder / kLog, word)};
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error))
    names.push_back(it->path().filename().string());
  CHECK_MACHINE(!error, "{}: the folder cannot be read ({})", word, error.message());
  std::sort(names.begin(), names.end(), natural_less);
  std::vector<Found> found;
  for (const std::string& name : names) {
    const fs::path path = folder / name;
    const std::string shown = (fs::path(word) / name).lexically_normal().string();
    if (is_file(path / kLog)) found.push_back(of_log(path / kLog, shown));
  }
  CHECK_USER(!found.empty(),
             "{}: holds no {}, and no folder in it does; name run folders, their logs, or a folder "
             "of run folders",
             word, kLog);
  return found;
}

}  // namespace

bool natural_less(const std::string& a, const std::string& b) {
  const auto is_digit = [](char c) { return c >= '0' && c <= '9'; };
  std::size_t i = 0, j = 0;
  while (i < a.size() && j < b.size()) {
    if (!is_digit(a[i]) || !is_digit(b[j])) {
      if (a[i] != b[j]) return static_cast<unsigned char>(a[i]) < static_cast<unsigned char>(b[j]);
      ++i, ++j;
      continue;
    }
    const auto number = [&](const std::string& text, std::size_t& at) {
      while (at < text.size() && text[at] == '0') ++at;
      const std::size_t begin = at;
      while (at < text.size() && is_digit(text[at])) ++at;
      return text.substr(begin, at - begin);
    };
    const std::string m = number(a, i), n = number(b, j);
    if (m.size() != n.size()) return m.size() < n.size();
    if (m != n) return m < n;
  }
  return a.size() - i != b.size() - j ? a.size() - i < b.size() - j : a < b;
}

std::vector<Run> read_runs(const std::vector<std::string>& words) {
  std::vector<Found> found;
  for (const std::string& word : words) {
    std::error_code error;
    const fs::path path(word);
    if (fs::is_directory(path, error)) {
      for (Found& f : in_folder(path, word)) found.push_back(std::move(f));
    } else {
      CHECK_USER(fs::exists(path, error), "{}: no such run folder or log", word);
      found.push_back(of_log(path, word));
    }
  }
  // Names that two runs share become the paths that they were found by.
  std::map<std::string, int> uses;
  for (const Found& f : found) ++uses[f.name];
  std::vector<Run> runs;
  for (const Found& f : found) {
    runs.push_back(read_run(f.log));
    runs.back().name = made_utf8(uses[f.name] > 1 ? f.path : f.name);
  }
  return runs;
}

}  // namespace weft::report

#include "formats/checkpoint_folder.h"

#include <algorithm>
#include <charconv>

#include "core/check.h"
#include "io/files.h"

namespace weft {

namespace fs = std::filesystem;

std::int64_t checkpoint_step(const fs::path& file) {
  const std::string name = file.filename().string();
  constexpr std::string_view kBegin = "step-", kEnd = ".h5";
  if (name.size() < kBegin.size() + 8 + kEnd.size() || !name.starts_with(kBegin) ||
      !name.ends_with(kEnd))
    return -1;
  const char* begin = name.data() + kBegin.size();
  const char* end = name.data() + name.size() - kEnd.size();
  std::int64_t step = -1;
  const auto [stop, error] = std::from_chars(begin, end, step);
  return error == std::errc() && stop == end && *begin != '-' ? step : -1;
}

std::vector<fs::path> list_checkpoints(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  fs::directory_iterator at(folder, error);
  for (const fs::directory_iterator end; !error && at != end; at.increment(error))
    if (checkpoint_step(at->path()) >= 0) files.push_back(at->path());
  // A folder that cannot be read may hold everything.
  if (error && error != std::errc::no_such_file_or_directory)
    file_failure(folder, "the folder of checkpoints cannot be read", error.value());
  std::sort(files.begin(), files.end(), [](const fs::path& a, const fs::path& b) {
    return checkpoint_step(a) > checkpoint_step(b);
  });
  return files;
}

fs::path checkpoint_name(const fs::path& folder, std::int64_t step) {
  return folder / fmt::format("step-{:08}.h5", step);
}

}  // namespace weft

// Small files that several processes share: made once, appended to, read where they are there.
// Errors name the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// The whole of it; nothing where it is not there (any more).
std::optional<std::string> read_if_there(const std::filesystem::path& file);
std::string read_part_of_file(const std::filesystem::path& file, std::int64_t begin,
                              std::int64_t end);
std::int64_t size_if_there(const std::filesystem::path& file);  // -1: it is not there
std::vector<std::string> texts_in_folder(const std::filesystem::path& folder);  // by file name

// Whether this process made it; false where it was there.
bool write_new_file(const std::filesystem::path& file, std::string_view content);
// A second name; false where that is another file's.
bool link_file(const std::filesystem::path& file, const std::filesystem::path& name);
void remove_tree(const std::filesystem::path& path);  // a file, or a folder and what is in it

// A file that grows at its end, one process's.
class AppendedFile {
 public:
  explicit AppendedFile(const std::filesystem::path& file);  // made where it is missing
  AppendedFile(const AppendedFile&) = delete;
  AppendedFile& operator=(const AppendedFile&) = delete;
  ~AppendedFile();
  void write(std::string_view bytes);  // the system's before this returns
  void truncate(std::int64_t bytes);
  void sync();

 private:
  std::filesystem::path file_;
  int fd_ = -1;
};

}  // namespace weft

// Files and folders that are whole or not there (and read_text_file and its like, which io/json.h
// declares): written beside their place, synced, put there by one rename. What the system refuses
// keeps its reason, and its kind: a path that cannot be is the user's mistake (UserError), a disk,
// a permission or a device that fails is not (Error).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace weft {

// Throws "FILE: WHAT (reason)" for an errno: UserError or Error, as above.
[[noreturn]] void file_failure(const std::filesystem::path& file, std::string_view what,
                               int reason);

// Renames to a name that nothing has: FILE.aside, FILE.aside.2, … The new name.
std::filesystem::path set_aside(const std::filesystem::path& file);

// A folder that is made beside its place and put there when whole; what it replaces is gone only
// then. Where it is not put in place it goes.
class FolderBeside {
 public:
  explicit FolderBeside(const std::filesystem::path& place);
  ~FolderBeside();
  FolderBeside(const FolderBeside&) = delete;
  FolderBeside& operator=(const FolderBeside&) = delete;
  const std::filesystem::path& path() const { return beside_; }
  void put_in_place();

 private:
  std::filesystem::path place_, beside_;
};

}  // namespace weft

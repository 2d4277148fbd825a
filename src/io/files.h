// Files and folders that are whole or not there: written beside their place, synced, put there by
// one rename. This room is the only one that opens, renames and removes files
// (tests/core/includes_test.cpp). What the system refuses keeps its reason, and its kind: a path
// that cannot be is the user's mistake (UserError), a disk, a permission or a device that fails is
// not (Error). Nothing here is collective.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

namespace weft {

// Throws "FILE: WHAT (reason)" for an errno: UserError or Error, as above.
[[noreturn]] void file_failure(const std::filesystem::path& file, std::string_view what,
                               int reason);

// The whole of it. UserErrors: missing, a folder, a Git LFS pointer.
std::string read_text_file(const std::filesystem::path& file);
// Before anything is computed for it: UserError where the file that `option` names cannot be: its
// folder is missing, or it is a folder itself. An empty name passes.
void check_place(std::string_view option, const std::filesystem::path& file);
// The file is the old one or the new one, never half of it.
void write_file_atomically(const std::filesystem::path& file, std::string_view content);
// Byte for byte, in place of what is there.
void copy_over(const std::filesystem::path& from, const std::filesystem::path& to);
void copy_folder(const std::filesystem::path& from, const std::filesystem::path& to);
// A file or an empty folder. Whether there was one.
bool remove_file(const std::filesystem::path& file);

void make_folder(const std::filesystem::path& folder);  // with its parents, where it is missing
void sync_folder(const std::filesystem::path& folder);  // makes renames in it last

// Renames to a name that nothing has: FILE.aside, FILE.aside.2, … The new name.
std::filesystem::path set_aside(const std::filesystem::path& file);

// Writes to a file descriptor until all is the system's; 0, or the errno that says why not.
int write_all(int fd, std::string_view bytes);

// Removes what FileBeside and FolderBeside leave in `folder` where their process is killed. Nobody
// may write there meanwhile.
void remove_left_beside(const std::filesystem::path& folder);

// A file that is made beside its place (PLACE.PROCESS.tmp: two processes that write one file do not
// touch each other's) and put there when whole; what it replaces is gone only then. Where it is not
// put in place it goes.
class FileBeside {
 public:
  explicit FileBeside(const std::filesystem::path& place);
  ~FileBeside();
  FileBeside(const FileBeside&) = delete;
  FileBeside& operator=(const FileBeside&) = delete;

  // For a library that writes the file by its name.
  const std::filesystem::path& path() const { return beside_; }
  // Makes the file with room for so many bytes. Error where there is none: a full disk, a quota, a
  // limit on file sizes. Where the file system cannot reserve, nothing is known.
  void reserve(std::int64_t bytes);
  // Behind what was written before.
  void write(std::string_view bytes);
  // Synced, renamed, the folder synced.
  void put_in_place();

 private:
  std::filesystem::path place_, beside_;
  int fd_ = -1;
};

// The same for a folder.
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

#include "io/files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/check.h"
#include "io/json.h"
#include "io/lfs_pointer.h"

namespace weft {

namespace fs = std::filesystem;

void file_failure(const fs::path& file, std::string_view what, int reason) {
  static constexpr std::array kMistakes = {ENOENT, ENOTDIR, EISDIR,    ENAMETOOLONG,
                                           ELOOP,  EEXIST,  ENOTEMPTY, EINVAL};
  const std::string text = fmt::format("{}: {} ({})", file.string(), what, std::strerror(reason));
  if (std::find(kMistakes.begin(), kMistakes.end(), reason) != kMistakes.end())
    throw UserError(text);
  throw Error(text);
}

std::string read_text_file(const fs::path& file) {
  std::error_code error;
  const auto status = fs::status(file, error);
  CHECK_USER(status.type() != fs::file_type::not_found, "{}: no such file", file.string());
  CHECK_USER(status.type() != fs::file_type::directory, "{}: is a folder, not a file",
             file.string());
  errno = 0;
  std::ifstream in(file, std::ios::binary);
  if (!in.good()) file_failure(file, "cannot be read", errno);
  std::string text;
  std::vector<char> block(1 << 16);
  do {
    errno = 0;
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    CHECK_MACHINE(!in.bad(), "{}: reading failed ({})", file.string(), std::strerror(errno));
    text.append(block.data(), static_cast<std::size_t>(in.gcount()));
  } while (in);
  refuse_lfs_pointer(file.string(), text);
  return text;
}

namespace {

// write() and fsync(); 0, or the reason why they failed.
int write_all(int fd, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : ENOSPC;
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  return ::fsync(fd) == 0 ? 0 : errno;
}

// Renames, or removes `beside` and throws.
void move_into_place(const fs::path& beside, const fs::path& file) {
  if (::rename(beside.c_str(), file.c_str()) != 0) {
    const int reason = errno;
    ::unlink(beside.c_str());
    file_failure(file, "cannot be put in place", reason);
  }
  sync_folder(file.parent_path());
}

}  // namespace

void make_folder(const fs::path& folder) {
  std::error_code error;
  if (!folder.empty()) fs::create_directories(folder, error);
  if (error) file_failure(folder, "the folder cannot be made", error.value());
  CHECK_USER(folder.empty() || fs::is_directory(folder, error),
             "{}: the folder cannot be made (a file is in its place)", folder.string());
}

void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // some file systems do not open folders; the rename itself has happened
  const int reason = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // Others (EINVAL, ENOTSUP, EROFS) say that this file system cannot sync folders.
  if (reason == EIO || reason == ENOSPC || reason == EDQUOT)
    file_failure(folder, "the folder cannot be synced", reason);
}

void put_in_place(const fs::path& beside, const fs::path& file) {
  const int fd = ::open(beside.c_str(), O_RDONLY | O_CLOEXEC);
  int reason = fd < 0 ? errno : 0;
  if (fd >= 0 && ::fsync(fd) != 0) reason = errno;
  if (fd >= 0) ::close(fd);
  if (reason != 0) {
    ::unlink(beside.c_str());
    file_failure(file, "writing failed", reason);
  }
  move_into_place(beside, file);
}

void reserve_room(const fs::path& file, std::int64_t bytes) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) file_failure(file, "cannot be written", errno);
  const int reason = ::fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno;
  ::close(fd);
  if (reason != ENOSPC && reason != EDQUOT && reason != EFBIG) return;
  ::unlink(file.c_str());
  fs::path name = file;  // as the user knows it
  if (name.extension() == ".tmp") name.replace_extension();
  const std::string process = name.extension().string();
  if (process.size() > 1 && process.find_first_not_of("0123456789", 1) == std::string::npos)
    name.replace_extension();
  machine_error("{}: the disk is full: there is no room for its {} bytes ({})", name.string(),
                bytes, std::strerror(reason));
}

void write_file_atomically(const fs::path& file, std::string_view content) {
  const fs::path beside = fmt::format("{}.{}.tmp", file.string(), ::getpid());
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) file_failure(file, "cannot be written", errno);
  const int reason = write_all(fd, content);
  ::close(fd);
  if (reason != 0) {
    ::unlink(beside.c_str());
    file_failure(file, "writing failed", reason);
  }
  move_into_place(beside, file);
}

fs::path set_aside(const fs::path& file) {
  for (int n = 1;; ++n) {
    const fs::path to =
        fmt::format("{}.aside{}", file.string(), n == 1 ? "" : fmt::format(".{}", n));
    if (::renameat2(AT_FDCWD, file.c_str(), AT_FDCWD, to.c_str(), RENAME_NOREPLACE) == 0) return to;
    if (errno == EEXIST) continue;
    // Where the file system knows no such rename: a second name, then without the first.
    const bool unknown = errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP;
    if (!unknown) file_failure(file, "cannot be set aside", errno);
    if (::link(file.c_str(), to.c_str()) == 0) {
      if (::unlink(file.c_str()) != 0) file_failure(file, "cannot be set aside", errno);
      return to;
    }
    if (errno != EEXIST) file_failure(file, "cannot be set aside", errno);
  }
}

FolderBeside::FolderBeside(const fs::path& place)
    : place_(place), beside_(fmt::format("{}.{}.tmp", place.string(), ::getpid())) {
  std::error_code ignored;
  fs::remove_all(beside_, ignored);  // of a process of this number that was killed
  make_folder(beside_);
}

FolderBeside::~FolderBeside() {
  std::error_code ignored;
  fs::remove_all(beside_, ignored);
}

void FolderBeside::put_in_place() {
  std::error_code error;
  if (!fs::exists(place_, error)) return weft::put_in_place(beside_, place_);
  if (::renameat2(AT_FDCWD, beside_.c_str(), AT_FDCWD, place_.c_str(), RENAME_EXCHANGE) == 0) {
    sync_folder(place_.parent_path());
    return;
  }
  const fs::path old = beside_.string() + ".old";  // where the file system cannot exchange
  if (::rename(place_.c_str(), old.c_str()) != 0) file_failure(place_, "cannot be replaced", errno);
  weft::put_in_place(beside_, place_);
  fs::remove_all(old, error);
}

}  // namespace weft

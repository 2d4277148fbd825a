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
#include <utility>
#include <vector>

#include "core/check.h"
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

void check_place(std::string_view option, const fs::path& file) {
  std::error_code error;
  const fs::path folder = file.parent_path();
  CHECK_USER(folder.empty() || fs::is_directory(folder, error), "{} {}: there is no folder {}",
             option, file.string(), folder.string());
  CHECK_USER(!fs::is_directory(file, error), "{} {}: is a folder, not a file", option,
             file.string());
}

int write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : ENOSPC;
    bytes.remove_prefix(static_cast<std::size_t>(n));
  }
  return 0;
}

void write_file_atomically(const fs::path& file, std::string_view content) {
  FileBeside beside(file);
  beside.write(content);
  beside.put_in_place();
}

void copy_over(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy_file(from, to, fs::copy_options::overwrite_existing, error);
  if (error) file_failure(from, fmt::format("cannot be copied to {}", to.string()), error.value());
}

void copy_folder(const fs::path& from, const fs::path& to) {
  std::error_code error;
  fs::copy(from, to, fs::copy_options::recursive | fs::copy_options::overwrite_existing, error);
  if (error) file_failure(from, fmt::format("cannot be copied to {}", to.string()), error.value());
}

bool remove_file(const fs::path& file) {
  std::error_code error;
  const bool was_there = fs::remove(file, error);
  std::error_code none;  // a read-only file system refuses before it looks
  if (error && !fs::exists(fs::symlink_status(file, none))) return false;
  if (error) file_failure(file, "cannot be removed", error.value());
  return was_there;
}

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

namespace {

fs::path beside(const fs::path& place) {
  return fmt::format("{}.{}.tmp", place.string(), ::getpid());
}

// A file or folder that is whole, under its own name for good.
void rename_to(const fs::path& beside, const fs::path& place) {
  if (::rename(beside.c_str(), place.c_str()) != 0)
    file_failure(place, "cannot be put in place", errno);
  sync_folder(place.parent_path());
}

}  // namespace

// Open MPI tries a file system's locks on FILE.locktest.N beside the file that ranks open together.
void remove_left_beside(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> left;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    if (at->path().extension() == ".tmp" ||
        at->path().filename().string().find(".tmp.locktest.") != std::string::npos)
      left.push_back(at->path());
  for (const fs::path& each : left) fs::remove_all(each, error);  // what stays is in nobody's way
}

FileBeside::FileBeside(const fs::path& place) : place_(place), beside_(beside(place)) {}

FileBeside::~FileBeside() {
  if (fd_ >= 0) ::close(fd_);
  if (!beside_.empty()) ::unlink(beside_.c_str());
}

void FileBeside::reserve(std::int64_t bytes) {
  const int fd = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd < 0) file_failure(place_, "cannot be written", errno);
  const int reason = ::fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno;
  ::close(fd);
  if (reason == ENOSPC || reason == EDQUOT || reason == EFBIG)
    machine_error("{}: the disk is full: there is no room for its {} bytes ({})", place_.string(),
                  bytes, std::strerror(reason));
}

void FileBeside::write(std::string_view bytes) {
  if (fd_ < 0) fd_ = ::open(beside_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (fd_ < 0) file_failure(place_, "cannot be written", errno);
  if (const int reason = write_all(fd_, bytes)) file_failure(place_, "writing failed", reason);
}

void FileBeside::put_in_place() {
  if (fd_ < 0) fd_ = ::open(beside_.c_str(), O_RDONLY | O_CLOEXEC);  // somebody else wrote it
  if (fd_ < 0 || ::fsync(fd_) != 0) file_failure(place_, "writing failed", errno);
  // Some file systems tell here first that the disk is full.
  if (::close(std::exchange(fd_, -1)) != 0) file_failure(place_, "writing failed", errno);
  rename_to(beside_, place_);
  beside_.clear();
}

FolderBeside::FolderBeside(const fs::path& place) : place_(place), beside_(beside(place)) {
  std::error_code ignored;
  fs::remove_all(beside_, ignored);  // of a process of this number that was killed
  make_folder(beside_);
}

FolderBeside::~FolderBeside() {
  std::error_code ignored;
  fs::remove_all(beside_, ignored);
}

void FolderBeside::put_in_place() {
  sync_folder(beside_);
  std::error_code error;
  if (!fs::exists(place_, error)) return rename_to(beside_, place_);
  if (::renameat2(AT_FDCWD, beside_.c_str(), AT_FDCWD, place_.c_str(), RENAME_EXCHANGE) == 0)
    return sync_folder(place_.parent_path());
  const fs::path old = beside_.string() + ".old";  // where the file system cannot exchange
  if (::rename(place_.c_str(), old.c_str()) != 0) file_failure(place_, "cannot be replaced", errno);
  rename_to(beside_, place_);
  fs::remove_all(old, error);
}

}  // namespace weft

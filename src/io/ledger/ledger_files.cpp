#include "io/ledger/ledger_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "core/check.h"
#include "io/files.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

bool is_missing(int reason) { return reason == ENOENT || reason == ESTALE || reason == ENOTDIR; }

// Closes at the end of a scope.
class Opened {
 public:
  Opened(const fs::path& file, int flags) : fd_(::open(file.c_str(), flags | O_CLOEXEC, 0666)) {}
  ~Opened() {
    if (fd_ >= 0) ::close(fd_);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// Bytes [at, …), as many as there are up to `most`; an errno in `reason`.
std::string read_from(int fd, std::int64_t at, std::int64_t most, int& reason) {
  std::string text;
  std::string piece(1 << 16, '\0');
  while (static_cast<std::int64_t>(text.size()) < most) {
    const auto left = static_cast<std::size_t>(most) - text.size();
    const ssize_t n = ::pread(fd, piece.data(), std::min(piece.size(), left),
                              static_cast<off_t>(at + static_cast<std::int64_t>(text.size())));
    if (n < 0 && errno == EINTR) continue;
    reason = n < 0 ? errno : 0;
    if (n <= 0) break;
    text.append(piece.data(), static_cast<std::size_t>(n));
  }
  return text;
}

}  // namespace

std::optional<std::string> read_if_there(const fs::path& file) {
  const Opened in(file, O_RDONLY);
  int reason = in.fd() < 0 ? errno : 0;
  std::string text;
  if (in.fd() >= 0) text = read_from(in.fd(), 0, INT64_MAX, reason);
  if (is_missing(reason)) return std::nullopt;
  if (reason != 0) file_failure(file, "cannot be read", reason);
  return text;
}

std::string read_part_of_file(const fs::path& file, std::int64_t begin, std::int64_t end) {
  const Opened in(file, O_RDONLY);
  int reason = in.fd() < 0 ? errno : 0;
  std::string text;
  if (in.fd() >= 0) text = read_from(in.fd(), begin, end - begin, reason);
  CHECK_MACHINE(reason == 0 && static_cast<std::int64_t>(text.size()) == end - begin,
                "{}: its bytes {} to {} cannot be read", file.string(), begin, end);
  return text;
}

std::int64_t size_if_there(const fs::path& file) {
  struct stat status {};
  return ::stat(file.c_str(), &status) == 0 ? static_cast<std::int64_t>(status.st_size) : -1;
}

std::vector<std::string> texts_in_folder(const fs::path& folder) {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator at(folder, error), end; !error && at != end; at.increment(error))
    files.push_back(at->path());
  std::sort(files.begin(), files.end());
  std::vector<std::string> texts;
  for (const fs::path& file : files)
    if (auto text = read_if_there(file)) texts.push_back(std::move(*text));
  return texts;
}

bool write_new_file(const fs::path& file, std::string_view content) {
  const Opened out(file, O_WRONLY | O_CREAT | O_EXCL);
  if (out.fd() < 0 && errno == EEXIST) return false;
  int reason = out.fd() < 0 ? errno : write_all(out.fd(), content);
  if (reason == 0 && ::fsync(out.fd()) != 0) reason = errno;
  if (reason != 0) file_failure(file, "cannot be written", reason);
  return true;
}

bool link_file(const fs::path& file, const fs::path& name) {
  if (::link(file.c_str(), name.c_str()) == 0) return true;
  if (errno == EEXIST) return false;
  const int reason = errno;
  if (reason != EPERM && reason != EOPNOTSUPP && reason != ENOSYS)
    file_failure(name, "cannot be made", reason);
  // Where there are no links: of two that are renamed to one name the last stays, whole.
  if (::rename(file.c_str(), name.c_str()) != 0) file_failure(name, "cannot be made", errno);
  return true;
}

void remove_tree(const fs::path& path) {
  std::error_code error;
  // What another process makes there meanwhile is swept up in the next round.
  for (int round = 0; round < 5; ++round) {
    fs::remove_all(path, error);
    if (!error) return;
  }
  if (error) file_failure(path, "cannot be removed", error.value());
}

AppendedFile::AppendedFile(const fs::path& file)
    : file_(file), fd_(::open(file.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) {
  if (fd_ < 0) file_failure(file_, "cannot be written", errno);
}

AppendedFile::~AppendedFile() { ::close(fd_); }

void AppendedFile::write(std::string_view bytes) {
  if (const int reason = write_all(fd_, bytes)) file_failure(file_, "cannot be written", reason);
}

void AppendedFile::truncate(std::int64_t bytes) {
  if (::ftruncate(fd_, static_cast<off_t>(bytes)) != 0)
    file_failure(file_, "cannot be written", errno);
}

void AppendedFile::sync() {
  if (::fsync(fd_) != 0 && errno != EINVAL && errno != EROFS)
    file_failure(file_, "cannot be written", errno);
}

}  // namespace weft

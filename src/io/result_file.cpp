#include "io/result_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

#include "core/check.h"
#include "io/files.h"

namespace weft {

ResultFile::ResultFile(const std::string& out) : out_(out) {
  if (out.empty()) {
    fd_ = STDOUT_FILENO;
    return;
  }
  check_place("--out", out);
  fd_ = ::open(out.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  const int reason = errno;
  if (fd_ < 0) file_failure(name(), "cannot be written", reason);
}

ResultFile::~ResultFile() {
  if (!out_.empty() && fd_ >= 0) ::close(fd_);
}

std::string ResultFile::name() const { return out_.empty() ? "stdout" : "--out " + out_; }

void ResultFile::write(std::string_view lines) {
  if (out_.empty()) std::fflush(stdout);  // what was printed before comes before
  if (const int reason = write_all(fd_, lines))
    machine_error("{} cannot be written ({})", name(), std::strerror(reason));
}

void ResultFile::close() {
  if (out_.empty()) return;
  // A pipe or a device cannot be synced, which is no failure.
  const int reason = ::fsync(fd_) == 0 || errno == EINVAL || errno == EROFS ? 0 : errno;
  const int closed = ::close(std::exchange(fd_, -1)) == 0 ? 0 : errno;
  if (reason != 0 || closed != 0)
    machine_error("{} cannot be written ({})", name(),
                  std::strerror(reason != 0 ? reason : closed));
}

}  // namespace weft

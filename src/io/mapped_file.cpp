#include "io/mapped_file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "core/check.h"

namespace weft {

MappedFile::MappedFile(const std::filesystem::path& file, std::size_t least_bytes,
                       const char* kind) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
  CHECK_USER(fd >= 0, "{}: cannot be opened ({})", file.string(), std::strerror(errno));
  struct stat info {};
  const bool is_file = ::fstat(fd, &info) == 0 && S_ISREG(info.st_mode);
  bytes_ = is_file ? static_cast<std::size_t>(info.st_size) : 0;
  void* memory = bytes_ ? ::mmap(nullptr, bytes_, PROT_READ, MAP_PRIVATE, fd, 0) : MAP_FAILED;
  ::close(fd);
  CHECK_USER(is_file, "{}: is not a file", file.string());
  if (memory != MAP_FAILED) data_ = static_cast<const std::byte*>(memory);
  if (bytes_ < least_bytes) {  // no destructor runs after a throw in here
    if (data_) ::munmap(memory, bytes_);
    user_error("{}: has {} bytes, too few for a {} file", file.string(), bytes_, kind);
  }
  CHECK(data_, "{}: cannot be mapped", file.string());
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), bytes_);
}

}  // namespace weft

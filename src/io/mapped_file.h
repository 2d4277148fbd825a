// A read-only mapping of a whole file; not copied, so that pointers into it stay good.
#pragma once

#include <cstddef>
#include <filesystem>

namespace weft {

class MappedFile {
 public:
  // UserErrors name the file: missing, not a file, a Git LFS pointer, fewer than `least_bytes` (too
  // few for a `kind` file). Error: it is there, but cannot be opened or mapped.
  MappedFile(const std::filesystem::path& file, std::size_t least_bytes, const char* kind);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();
  const std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t slot_ = 0;
};

// A page of a mapping that can no longer be read (its file was cut short, its disk or server is
// gone) is SIGBUS to the system; here it reads as zeros, and the mapping is marked. Error that
// names the file where the mapping that `address` lies in is marked: call it after reading, before
// what was read is used.
void check_mapping(const void* address);

// body() reads the mapping, and check_mapping follows: also where it threw, for it may have
// stumbled over zeros.
template <class Body>
void read_mapping(const MappedFile& map, const Body& body) {
  try {
    body();
  } catch (...) {
    check_mapping(map.data());
    throw;
  }
  check_mapping(map.data());
}

}  // namespace weft

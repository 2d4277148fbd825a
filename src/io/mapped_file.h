// A read-only mapping of a whole file; not copied, so that pointers into it stay good.
#pragma once

#include <cstddef>
#include <filesystem>

namespace weft {

class MappedFile {
 public:
  // UserErrors name the file: missing, not a file, fewer than `least_bytes` (too few for a `kind`
  // file).
  MappedFile(const std::filesystem::path& file, std::size_t least_bytes, const char* kind);
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  ~MappedFile();
  const std::byte* data() const { return data_; }
  std::size_t bytes() const { return bytes_; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t bytes_ = 0;
};

}  // namespace weft

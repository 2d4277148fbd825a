// What the sources of io/hdf5 share: handles that close themselves, and HDF5's own words.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <utility>

namespace weft {

using Hdf5Id = std::int64_t;  // hid_t; a source asserts it

// Closes an HDF5 handle of any kind.
class Hdf5Handle {
 public:
  using Close = int (*)(Hdf5Id);
  Hdf5Handle(Hdf5Id id, Close close) : id_(id), close_(close) {}
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), close_(other.close_) {}
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;
  ~Hdf5Handle() {
    if (id_ >= 0) close_(id_);
  }
  operator Hdf5Id() const { return id_; }
  bool ok() const { return id_ >= 0; }

 private:
  Hdf5Id id_;
  Close close_;
};

// Why the last call of HDF5 failed. Asked for at once: every other call forgets it, closing a
// handle too.
struct Hdf5Reason {
  std::string text;     // the innermost entry of HDF5's error stack; the system's words where it
                        // holds some
  bool locked = false;  // the file could not be locked
  bool memory = false;  // HDF5 got no memory
};
Hdf5Reason hdf5_reason();

// What `call` gives, where that is not negative. Else says what the matter is with the file: an
// Error where it is locked, cannot be read from begin to end, or memory lacks; where plain reads
// see all of it, and HDF5 refuses it once more, it is Damaged, and the sentence is `what`.
Hdf5Id reading(const std::filesystem::path& file, const std::string& what,
               const std::function<Hdf5Id()>& call);

// The file from begin to end. Error: why it cannot be opened or read.
void read_plainly(const std::filesystem::path& file);

}  // namespace weft

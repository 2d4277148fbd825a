// HDF5 files. One process makes and reads a file; ranks fill it together, which is the one
// collective call here. No HDF5 header outside io/. Every call names file and object when it fails.
// A file is Damaged only where plain reads see all of it and HDF5 refuses it; one that is locked,
// or cannot be read or written, is an Error; what is not there, or of another kind or shape than is
// asked for, a UserError.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "comm/communicator.h"
#include "core/tensor.h"

namespace weft {

// Contiguous elements [begin, begin + size) of a dataset seen as flat, and where they lie in the
// local buffer.
struct FileRun {
  std::int64_t file_begin, local_begin, size;
};

class Hdf5File {
 public:
  static Hdf5File create(const std::filesystem::path& file);
  static Hdf5File open(const std::filesystem::path& file);  // read only
  static Hdf5File open_for_update(const std::filesystem::path& file);
  // The ranks of a group open the file that its rank 0 names, whose datasets exist; in `body` each
  // writes its own elements, and does nothing else. Collective over the group, also where `body`
  // throws on one rank: all close the file, then every rank throws what the first one did.
  static void fill_together(const std::filesystem::path& rank_0s, Communicator& group,
                            Stream& stream, const std::function<void(Hdf5File&)>& body);
  Hdf5File(Hdf5File&&) noexcept;
  Hdf5File& operator=(Hdf5File&&) noexcept;
  ~Hdf5File();
  void close();  // an Error that the destructor would swallow (disk full)

  // Parent groups are made.
  void create_dataset(const std::string& name, DType dtype, const Dims& shape);
  void create_zeros(
      const std::string& name, DType dtype,
      const Dims& shape);  // reads as zeros, and takes no room in a file of one process
  bool exists(const std::string& name) const;
  std::vector<std::string> list(const std::string& group) const;  // names of its members, sorted
  DType dtype(const std::string& name) const;
  Dims shape(const std::string& name) const;

  // Elements as runs of the flattened dataset, rising in file and buffer. Ranks that fill a file
  // together may have different numbers of runs, or none.
  void write(const std::string& name, ConstView data, std::span<const FileRun> runs);
  void read(const std::string& name, View data, std::span<const FileRun> runs) const;
  void read_all(const std::string& name, View data) const;

  // Text of any length (an attribute holds 64 KiB at most), as a dataset of bytes.
  void write_text(const std::string& name, std::string_view text);
  std::string read_text(const std::string& name) const;

  // UTF-8 strings of any length as a dataset of strings (n); each ends at its first NUL. In a file
  // of one process.
  void write_strings(const std::string& name, const std::vector<std::string>& strings);
  void create_strings(const std::string& name, std::int64_t n);
  // Those from `begin` on.
  void write_strings(const std::string& name, std::int64_t begin,
                     std::span<const std::string> strings);
  // Some of such a dataset, in the order of `at`.
  std::vector<std::string> read_strings(const std::string& name,
                                        std::span<const std::int64_t> at) const;
  void flush();  // what was written is the system's, and the file can be read as it is

  // Attributes of a group or dataset ("/" for the file).
  void set_attribute(const std::string& object, const std::string& key, const std::string& value);
  void set_attribute(const std::string& object, const std::string& key, std::int64_t value);
  void set_attribute(const std::string& object, const std::string& key, double value);
  void set_attribute(const std::string& object, const std::string& key,
                     std::span<const std::int64_t> values);  // (n)
  bool has_attribute(const std::string& object, const std::string& key) const;
  std::string string_attribute(const std::string& object, const std::string& key) const;
  std::int64_t integer_attribute(const std::string& object, const std::string& key) const;
  double number_attribute(const std::string& object, const std::string& key) const;
  const std::filesystem::path& path() const;

 private:
  struct Impl;
  explicit Hdf5File(std::unique_ptr<Impl> impl);
  void close(bool failed);
  std::unique_ptr<Impl> impl_;
};

std::string hdf5_version();

}  // namespace weft

// A zip archive in memory whose entries are stored as they are, as torch.save writes it: APPNOTE
// 6.3, with zip64. Archives in parts and whatever does not lie within the file are UserErrors that
// name it; so are compressed and encrypted entries where they are asked for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>

namespace weft {

struct ZipEntry {
  std::span<const std::byte> data;
  std::uint32_t crc = 0;  // of the data; 0 too where the writer did not compute it
  bool is_stored = true;  // neither compressed nor encrypted
};

class ZipArchive {
 public:
  // `bytes` must outlive it; `file` is for errors.
  ZipArchive(std::string file, std::span<const std::byte> bytes);
  const std::map<std::string, ZipEntry>& entries() const { return entries_; }
  const ZipEntry* find(const std::string& name) const;  // null when absent; UserError: not stored
  // UserError where the data is not what was stored.
  void check_crc(const std::string& name) const;

 private:
  struct Directory;
  Directory find_directory() const;
  void read_directory(const Directory& directory);
  std::span<const std::byte> data_of(const std::string& name, std::uint64_t header,
                                     std::uint64_t size) const;

  std::string file_;
  std::span<const std::byte> bytes_;
  std::map<std::string, ZipEntry> entries_;
};

}  // namespace weft

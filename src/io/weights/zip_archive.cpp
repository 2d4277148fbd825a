#include "io/weights/zip_archive.h"

#include <zlib.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "core/check.h"

namespace weft {
namespace {

constexpr std::uint32_t kLocal = 0x04034b50, kCentral = 0x02014b50, kEnd = 0x06054b50,
                        kEnd64 = 0x06064b50, kLocator64 = 0x07064b50;
constexpr std::size_t kLocalBytes = 30, kCentralBytes = 46, kEndBytes = 22, kEnd64Bytes = 56,
                      kLocator64Bytes = 20;
constexpr std::uint64_t kIn64 = 0xFFFFFFFF;  // the number stands in a zip64 field instead

template <class T>
T number_at(std::span<const std::byte> bytes, std::size_t at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  return value;
}

// Whether so many bytes from `at` lie within.
bool holds(std::span<const std::byte> bytes, std::uint64_t at, std::uint64_t n) {
  return at <= bytes.size() && n <= bytes.size() - at;
}

// The numbers of a zip64 field that the 32-bit ones of an entry stand for, in the field's order.
void widen(std::span<const std::byte> extra, std::initializer_list<std::uint64_t*> numbers,
           const std::string& what) {
  if (std::none_of(numbers.begin(), numbers.end(), [](const auto* n) { return *n == kIn64; }))
    return;
  for (std::size_t at = 0; at + 4 <= extra.size();) {
    const auto id = number_at<std::uint16_t>(extra, at),
               size = number_at<std::uint16_t>(extra, at + 2);
    CHECK_USER(holds(extra, at + 4, size), "{}: a field of it is cut short", what);
    if (id == 1) {
      const std::span<const std::byte> field = extra.subspan(at + 4, size);
      std::size_t from = 0;
      for (std::uint64_t* n : numbers) {
        if (*n != kIn64) continue;
        CHECK_USER(holds(field, from, 8), "{}: its zip64 field is cut short", what);
        *n = number_at<std::uint64_t>(field, from);
        from += 8;
      }
      return;
    }
    at += 4u + size;
  }
}

// Names are printed, so that they may hold nothing that a terminal takes for more than letters.
std::string shown(std::string name) {
  for (char& c : name)
    if (c < ' ' || c > '~') c = '?';
  return name.substr(0, 80);
}

}  // namespace

struct ZipArchive::Directory {
  std::uint64_t begin = 0, bytes = 0, n = 0;
};

ZipArchive::ZipArchive(std::string file, std::span<const std::byte> bytes)
    : file_(std::move(file)), bytes_(bytes) {
  read_directory(find_directory());
}

// From the record at the file's end, which a comment of at most 65,535 bytes may follow.
ZipArchive::Directory ZipArchive::find_directory() const {
  CHECK_USER(bytes_.size() >= kEndBytes, "{}: is too short for a zip archive", file_);
  const std::size_t last = bytes_.size() - kEndBytes, first = last > 0xFFFF ? last - 0xFFFF : 0;
  std::optional<std::size_t> end;
  for (std::size_t at = last + 1; at-- > first && !end;)
    if (number_at<std::uint32_t>(bytes_, at) == kEnd &&
        number_at<std::uint16_t>(bytes_, at + 20) == last - at)
      end = at;
  CHECK_USER(end, "{}: the end of a zip archive is not there; it is truncated or damaged", file_);
  Directory d = {.begin = number_at<std::uint32_t>(bytes_, *end + 16),
                 .bytes = number_at<std::uint32_t>(bytes_, *end + 12),
                 .n = number_at<std::uint16_t>(bytes_, *end + 10)};
  bool parts = number_at<std::uint32_t>(bytes_, *end + 4) != 0;  // two 16-bit numbers
  if (*end >= kLocator64Bytes &&
      number_at<std::uint32_t>(bytes_, *end - kLocator64Bytes) == kLocator64) {
    const auto at = number_at<std::uint64_t>(bytes_, *end - kLocator64Bytes + 8);
    CHECK_USER(holds(bytes_, at, kEnd64Bytes) && number_at<std::uint32_t>(bytes_, at) == kEnd64,
               "{}: its zip64 record is not where it should be; it is damaged", file_);
    d = {.begin = number_at<std::uint64_t>(bytes_, at + 48),
         .bytes = number_at<std::uint64_t>(bytes_, at + 40),
         .n = number_at<std::uint64_t>(bytes_, at + 32)};
    parts = number_at<std::uint64_t>(bytes_, at + 16) != 0;
  }
  CHECK_USER(!parts, "{}: is one part of an archive in several; join them first", file_);
  CHECK_USER(holds(bytes_, d.begin, d.bytes) && d.n <= d.bytes / kCentralBytes,
             "{}: its directory of {} entries does not lie within the file; it is truncated or "
             "damaged",
             file_, d.n);
  return d;
}

void ZipArchive::read_directory(const Directory& directory) {
  const std::span<const std::byte> list = bytes_.subspan(directory.begin, directory.bytes);
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < directory.n; ++i) {
    CHECK_USER(holds(list, at, kCentralBytes) && number_at<std::uint32_t>(list, at) == kCentral,
               "{}: entry {} of its directory is damaged", file_, i);
    const auto flags = number_at<std::uint16_t>(list, at + 8),
               method = number_at<std::uint16_t>(list, at + 10),
               name_bytes = number_at<std::uint16_t>(list, at + 28),
               extra_bytes = number_at<std::uint16_t>(list, at + 30),
               comment_bytes = number_at<std::uint16_t>(list, at + 32);
    CHECK_USER(
        holds(list, at + kCentralBytes, std::uint64_t{name_bytes} + extra_bytes + comment_bytes),
        "{}: entry {} of its directory is cut short", file_, i);
    const std::string name(reinterpret_cast<const char*>(list.data()) + at + kCentralBytes,
                           name_bytes);
    const std::string what = file_ + ": its entry " + shown(name);
    std::uint64_t stored = number_at<std::uint32_t>(list, at + 20),
                  size = number_at<std::uint32_t>(list, at + 24),
                  header = number_at<std::uint32_t>(list, at + 42);
    widen(list.subspan(at + kCentralBytes + name_bytes, extra_bytes), {&size, &stored, &header},
          what);
    ZipEntry entry = {data_of(name, header, stored), number_at<std::uint32_t>(list, at + 16),
                      (flags & 1) == 0 && method == 0 && stored == size};
    CHECK_USER(entries_.try_emplace(name, entry).second, "{} stands there twice", what);
    at += kCentralBytes + name_bytes + extra_bytes + comment_bytes;
  }
}

// The local header repeats what the directory says; what counts is how long it is itself.
std::span<const std::byte> ZipArchive::data_of(const std::string& name, std::uint64_t header,
                                               std::uint64_t size) const {
  const std::string what = file_ + ": its entry " + shown(name);
  CHECK_USER(
      holds(bytes_, header, kLocalBytes) && number_at<std::uint32_t>(bytes_, header) == kLocal,
      "{} is not where the directory says; it is truncated or damaged", what);
  const std::uint64_t name_bytes = number_at<std::uint16_t>(bytes_, header + 26),
                      extra_bytes = number_at<std::uint16_t>(bytes_, header + 28),
                      begin = header + kLocalBytes + name_bytes + extra_bytes;
  CHECK_USER(name_bytes == name.size() && holds(bytes_, header + kLocalBytes, name_bytes) &&
                 std::memcmp(bytes_.data() + header + kLocalBytes, name.data(), name_bytes) == 0,
             "{} has another name in its own header; it is damaged", what);
  CHECK_USER(holds(bytes_, begin, size),
             "{} claims {} bytes, which the file does not hold; it is truncated or damaged", what,
             size);
  return bytes_.subspan(begin, size);
}

const ZipEntry* ZipArchive::find(const std::string& name) const {
  const auto at = entries_.find(name);
  if (at == entries_.end()) return nullptr;
  CHECK_USER(at->second.is_stored,
             "{}: its entry {} is compressed or encrypted; only what is stored as it is, as "
             "torch.save does, is read",
             file_, shown(name));
  return &at->second;
}

void ZipArchive::check_crc(const std::string& name) const {
  const ZipEntry* entry = find(name);
  CHECK(entry, "{}: no entry {}", file_, name);
  if (entry->crc == 0) return;
  const auto found =
      ::crc32_z(0, reinterpret_cast<const Bytef*>(entry->data.data()), entry->data.size());
  CHECK_USER(found == entry->crc, "{}: its entry {} is damaged (CRC {:08x}, should be {:08x})",
             file_, shown(name), found, entry->crc);
}

}  // namespace weft

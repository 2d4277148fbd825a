// Small tables that a device's kernels read, made by the host call after call (of pointers, of
// settings): a ring of pinned memory with a twin on the device, so that no copy waits for its
// stream or reads host memory that is gone.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>

#include "core/device.h"

namespace weft::cuda {

class UploadRing {
 public:
  // A copy of the bytes on the stream's device, 64-byte aligned, for the work that is enqueued on
  // the stream before the next upload; `from` may be reused on return. Always the same stream.
  const void* upload(const void* from, std::size_t bytes, Stream& stream);
  std::size_t capacity_bytes() const { return 2 * half_bytes_; }
  // Of the device at most, for uploads of so many bytes or fewer: while it grows there are two.
  static std::size_t most_bytes(std::size_t largest_upload);

 private:
  void grow(std::size_t half_bytes, Stream& stream);

  // Filled in turn. A half is filled again once the event that was recorded behind its last upload
  // has been reached; the device's twin is written in the stream's own order.
  std::shared_ptr<std::byte> host_, device_;
  std::optional<Event> left_[2];  // empty: not filled since the ring grew
  std::size_t half_bytes_ = 0, used_ = 0;
  int half_ = 0;
};

// A copy of the table on the stream's device, for the launches before the next one.
template <class Table>
auto uploaded(const Table& table, Stream& stream) {
  const std::span rows(table);
  using Row = typename decltype(rows)::value_type;
  return static_cast<const Row*>(
      stream.attached<UploadRing>().upload(rows.data(), rows.size_bytes(), stream));
}

}  // namespace weft::cuda

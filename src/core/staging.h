// What the host fills and a device reads: ids, lengths, labels, tables. On the CPU both are the
// same memory; for a GPU the host fills pinned memory, of which what was laid out together goes
// over in one copy.
#pragma once

#include <cstddef>
#include <memory>
#include <vector>

#include "core/arena.h"

namespace weft {

struct Staged {
  View host, device;
  bool empty() const { return device.empty(); }
  Staged rows(std::int64_t begin, std::int64_t end) const {
    return {host.rows(begin, end), device.rows(begin, end)};
  }
};

class Staging {
 public:
  // The arena's next tensor, and where the host fills it. Of a measuring arena only the former.
  Staged alloc(Arena& arena, DType dtype, const Dims& dims);
  // Before the host fills again: returns when no upload reads host memory any more.
  void wait();
  void upload(Stream& stream);  // everything that was laid out, enqueued
  // Of what is laid out: an upload reads one of `n` copies of it, which it makes in turn, and waits
  // for the n-th before it; so the host may fill again at once, and wait() returns at once. Not
  // where uploads are captured for a graph.
  void upload_copies(Device device, int n);
  void clear();  // forgets what was laid out, when no upload reads it any more
  // Of all that was laid out since clear(), measured too; and room for so many on the host, so that
  // a layout of no more allocates nothing. A GPU's alone.
  std::size_t bytes() const { return laid_out_; }
  void reserve(Device device, std::size_t bytes);

 private:
  struct Part {
    std::byte* device;
    std::byte* host;
    std::size_t bytes;
  };
  std::vector<Part> parts_;
  std::shared_ptr<std::byte> host_;
  std::vector<std::shared_ptr<std::byte>> outgrown_;
  std::size_t capacity_ = 0, used_ = 0, laid_out_ = 0;
  std::unique_ptr<Event> uploaded_;
  struct Copy {
    std::shared_ptr<std::byte> host;  // the parts, one behind another
    std::unique_ptr<Event> uploaded;  // null: not used yet
  };
  std::vector<Copy> copies_;
  std::size_t next_copy_ = 0;
};

}  // namespace weft

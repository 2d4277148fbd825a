// What the host reads and writes of a tensor, wherever that is: the tensor itself on the CPU,
// elsewhere a copy. For what happens once; ids and labels go through core/staging.h.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <vector>

#include "core/tensor.h"

namespace weft {

class HostCopy {
 public:
  // Complete on return, until the next call. The stream is the one that computes x.
  ConstView of(ConstView x, Stream& stream);
  // Likewise of fp32 or bf16, widened to fp32.
  ConstView floats(ConstView x, Stream& stream);
  void reserve(Device device, std::size_t bytes);  // so that of() allocates nothing for as many

  // The same in two parts: start() enqueues the copy, finish() waits for it, and for nothing that
  // the stream was given later.
  void start(ConstView x, Stream& stream);
  ConstView finish();

 private:
  std::shared_ptr<void> memory_;
  ConstView started_;
  std::unique_ptr<Event> copied_;
  std::size_t capacity_ = 0;
  std::vector<float> widened_;
};

// A tensor's values on the host, in order, a piece at a time: values [begin, begin + n) as (n).
// On the CPU all of them at once, where they lie; elsewhere through two pinned buffers of
// kPieceBytes that the stream keeps, so that a piece travels while the host is busy with another.
constexpr std::size_t kPieceBytes = std::size_t{8} << 20;  // at its full speed long before
void read_pieces(ConstView x, Stream& stream,
                 const std::function<void(std::int64_t begin, ConstView piece)>& use);
// fill() writes all of a piece. x has them when the stream has come there.
void write_pieces(View x, Stream& stream,
                  const std::function<void(std::int64_t begin, View piece)>& fill);

// What the host writes of a tensor: its own memory on the CPU, elsewhere a buffer.
class HostWrite {
 public:
  explicit HostWrite(View x);
  View host() const { return host_; }  // its values are not x's
  void finish(Stream& stream);         // x has them when the stream has come there; in pieces

 private:
  View x_, host_;
  std::shared_ptr<void> memory_;
};

}  // namespace weft

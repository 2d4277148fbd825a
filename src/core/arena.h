// Memory planned before the first step. The same layout function runs twice: on a measuring arena
// (no memory, gives the bytes the planner prints) and on the real one; so plan and program cannot
// differ.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "core/tensor.h"

namespace weft {

class Arena {
 public:
  // A measuring arena: alloc() returns views of a null-based address that must not be touched.
  Arena() = default;
  // A real one: `bytes` of zeroed memory of the device, 64-byte aligned, on the CPU touched by
  // first use. `name` appears in errors and reports.
  Arena(std::string name, std::size_t bytes, Device device = {});

  // Next `dims` elements, 64-byte aligned. Throws when the plan was too small.
  View alloc(DType dtype, const Dims& dims);

  std::size_t mark() const { return used_; }
  void release(std::size_t mark) { used_ = mark; }  // frees all that was allocated since mark()
  std::size_t used_bytes() const { return used_; }
  std::size_t peak_bytes() const { return peak_; }
  std::size_t capacity_bytes() const { return capacity_; }
  bool measuring() const { return base_ == nullptr; }
  const std::string& name() const { return name_; }
  Device device() const { return device_; }

 private:
  std::string name_ = "measuring";
  Device device_;
  std::shared_ptr<std::byte> base_;
  std::size_t capacity_ = 0, used_ = 0, peak_ = 0;
};

// Bytes that `layout(arena)` will take.
template <class Layout>
std::size_t measure(Layout&& layout) {
  Arena arena;
  layout(arena);
  return arena.peak_bytes();
}

}  // namespace weft

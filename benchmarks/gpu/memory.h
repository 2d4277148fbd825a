// Where the tensors of a case live: random data on the GPU, or addresses that nothing may touch
// (for launches that are only logged).
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"

namespace weft::gpu_bench {

// Random numbers in the GPU's memory that tensors are filled from, each from another place on.
class Patterns {
 public:
  explicit Patterns(Stream& stream);
  void fill(View x, bool positive,
            Stream& stream);  // fp32 or bf16: normal, variance 1, or its absolute value

 private:
  std::shared_ptr<void> fp32_, fp32_positive_, bf16_;
  std::size_t next_ = 0;  // element of the pattern
};

class Memory {
 public:
  Memory(Stream& stream, Patterns* patterns)
      : stream_(stream), patterns_(patterns) {}  // without patterns: addresses only

  bool pretended() const { return patterns_ == nullptr; }
  std::size_t bytes() const { return bytes_; }  // of all tensors so far

  View normal(DType dtype, const Dims& shape);     // fp32, bf16
  View positive(const Dims& shape);                // fp32
  View ids(std::int64_t n, std::int64_t end);      // (n) i32 in [0, end)
  View counted(std::int64_t n, std::int64_t end);  // (n) i32: 0, 1, … end - 1, 0, …
  View integers(const std::vector<std::int32_t>& values);

 private:
  View take(DType dtype, const Dims& shape);

  Stream& stream_;
  Patterns* patterns_;
  std::vector<std::shared_ptr<void>> blocks_;
  std::size_t bytes_ = 0;
  std::uint64_t seed_ = 1;
};

}  // namespace weft::gpu_bench

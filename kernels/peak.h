// Measured peaks of this rank's cores, the yardsticks of every report. On a machine that others use
// too one sample says little: the best of many, taken beside the work, is the peak.
#pragma once

#include <algorithm>
#include <string>

#include "core/arena.h"
#include "kernels/ops.h"

namespace weft {

// The library whose products are measured: ops.h's of the CPU, "cuBLASLt" of a GPU.
std::string matmul_library(Device device);

// The best rate seen so far, whatever the unit. What the work itself reached was possible too, so a
// share is never above 1: the peak rises instead.
class BestRate {
 public:
  void sample(double rate) { rate_ = std::max(rate_, rate); }
  double rate() const { return rate_; }  // 0 before the first sample
  double share(double rate) {
    sample(rate);
    return rate_ > 0 ? rate / rate_ : 0;
  }

 private:
  double rate_ = 0;
};

// Samples of the matmul library's rate, each a product that is large enough for it to be near its
// best: about ten milliseconds on two cores.
class MatmulProbe {
 public:
  MatmulProbe(Precision precision, Stream& stream);
  double sample();  // FLOP/s
  // Of a GPU, scratch with them: the CPU's are part of a bare process.
  static std::size_t plan_bytes(Precision precision, Device device);

 private:
  Precision precision_;
  Stream& stream_;
  Arena arena_;
  View a_, b_, c_;  // (n, n)
};

// Samples of the rate at which memory far larger than the caches is read.
class ReadProbe {
 public:
  explicit ReadProbe(Stream& stream);
  double sample();  // bytes/s
  static std::size_t plan_bytes();

 private:
  Stream& stream_;
  Arena arena_;
  ConstView values_;
  View total_;  // (1)
};

// Bytes/s of reading this memory (fp32) over and over for so long: what lasts, where a shared
// machine gives more for a moment.
double sustained_read_bytes_per_s(ConstView memory, double seconds, Stream& stream);

}  // namespace weft

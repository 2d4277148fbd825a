// Measured peaks of this rank's cores, the yardsticks of every report. Each takes about a tenth of
// a second.
#pragma once

#include "kernels/ops.h"

namespace weft {

// FLOP/s of the matmul library on a matrix product large enough to be at its best.
double measured_matmul_flops(Precision precision, Stream& stream);
// Bytes/s of reading memory far larger than the caches, at its best.
double measured_read_bytes_per_s(Stream& stream);
// Bytes/s of reading this memory (fp32) over and over for so long: what lasts, where a shared
// machine gives more for a moment.
double sustained_read_bytes_per_s(ConstView memory, double seconds, Stream& stream);

}  // namespace weft

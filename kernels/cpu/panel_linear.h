// y = x wᵀ + bias over a matrix in panels (kernels/panels.h), at memory bandwidth for few rows and
// at the FMA units' speed for many. Each output is summed in one order, which depends on nothing
// but the number of inputs: over them one after the other, in parts that are added up, the bias
// last. Whatever rows are computed together, and whatever outputs a rank has, bits are the same.
#pragma once

#include <cstdint>

#include "kernels/scratch.h"

namespace weft::cpu {

constexpr std::int64_t kPanelPart = 512;  // inputs that are summed together, at most

void panel_linear(float* y,        // (N, O)
                  const float* x,  // (N, I)
                  ConstView w,     // (O, I) in panels, or as it is, which
                                   // costs turning it: fp32, bf16 or fp16
                  const float* bias /* (O) or null */, std::int64_t N, Stream& stream);

std::size_t panel_linear_scratch_bytes(int n_threads);

}  // namespace weft::cpu

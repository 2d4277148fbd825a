// y = x wᵀ + bias, for few rows at memory bandwidth: each weight is read once and widened in
// registers. A row's result does not depend on how many rows there are. Also the small row and
// element loops that matmul.cpp needs.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace weft::cpu {

constexpr std::int64_t kStreamLinearRows = 8;  // more rows than this go to the matmul library

void stream_linear(float* y,        // (N, O)
                   const float* x,  // (N, I)
                   ConstView w,     // (O, I) fp32, bf16 or fp16
                   const float* bias /* (O) or null */, std::int64_t N, Precision precision,
                   Stream& stream);

// Of its scratch.
std::size_t stream_linear_scratch_bytes(std::int64_t N, std::int64_t O, std::int64_t I,
                                        DType weight, Precision precision);

// y[i] = x[i] rounded to the nearest bf16
void round_to_bf16(float* y, const float* x, std::int64_t n, Stream& stream);

// sums[o] += Σ_n x[n][o] over x (N, O), in the order of n
void add_column_sums(float* sums, const float* x, std::int64_t N, std::int64_t O, Stream& stream);

}  // namespace weft::cpu

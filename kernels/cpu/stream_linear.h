// y = x wᵀ + bias for a few rows at memory bandwidth: each weight is read once and widened in
// registers. Also the small row and element loops that matmul.cpp needs.
#pragma once

#include <cstdint>

#include "kernels/scratch.h"

namespace weft::cpu {

constexpr std::int64_t kStreamLinearRows = 8;  // at most: more go to the matmul library

// Features [begin, end) of y (N, ldy), and the bias of all of them (or null).
struct StreamOutputs {
  float* y;
  std::int64_t ldy;
  const float* bias;
  std::int64_t begin, end;
};

void stream_linear(float* y,        // (N, O)
                   const float* x,  // (N, I)
                   ConstView w,     // (O, I) fp32, bf16 or fp16
                   const float* bias /* (O) or null */, std::int64_t N, Precision precision,
                   Stream& stream);

// Of its scratch, for N rows at most.
std::size_t stream_linear_scratch_bytes(const LinearSizes& sizes);

// y[i] = x[i] rounded to the nearest bf16
void round_to_bf16(float* y, const float* x, std::int64_t n, Stream& stream);

// sums[o] += Σ_n x[n][o] over x (N, O), in the order of n
void add_column_sums(float* sums, const float* x, std::int64_t N, std::int64_t O, Stream& stream);

}  // namespace weft::cpu

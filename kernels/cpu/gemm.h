// One matrix product of the matmul library: gemm_onednn.cpp, or gemm_cblas.cpp where oneDNN is
// absent (CMake chooses).
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/tensor.h"

namespace weft::cpu {

//   c (M, N) = op(a) (M, K) · op(b) (K, N) + bias (N)     or   c += op(a) op(b)
// All row-major and dense; op transposes: a is then stored (K, M), b (N, K).
struct GemmShape {
  std::int64_t M = 0, N = 0, K = 0;
  bool transpose_a = false, transpose_b = false;
  bool accumulate = false;    // c is added to
  DType inputs = DType::f32;  // f32, or bf16 where gemm_has_bf16()
  friend bool operator==(const GemmShape&, const GemmShape&) = default;
};

void gemm(float* c, const void* a, const void* b, const float* bias /* or null */,
          const GemmShape& shape, Stream& stream);

// Whether bf16 inputs are multiplied faster than fp32 ones on this CPU (AMX, AVX-512 BF16).
bool gemm_has_bf16();

}  // namespace weft::cpu

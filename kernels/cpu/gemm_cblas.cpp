#include <cblas.h>

#include <algorithm>

#include "core/check.h"
#include "kernels/cpu/gemm.h"
#include "kernels/ops.h"

namespace weft {

std::string matmul_library() {
#ifdef OPENBLAS_VERSION
  return std::string(OPENBLAS_VERSION);
#else
  return "CBLAS";
#endif
}

}  // namespace weft

namespace weft::cpu {

bool gemm_has_bf16() { return false; }

void gemm(float* c, const void* a, const void* b, const float* bias, const GemmShape& s, Stream&) {
  CHECK(s.inputs == DType::f32, "CBLAS multiplies fp32 only, not {}", dtype_name(s.inputs));
  if (s.M == 0 || s.N == 0) return;
  if (bias)
    for (std::int64_t m = 0; m < s.M; ++m) std::copy(bias, bias + s.N, c + m * s.N);
  const auto transpose = [](bool t) { return t ? CblasTrans : CblasNoTrans; };
  const auto dim = [](std::int64_t n) { return static_cast<int>(n); };
  cblas_sgemm(CblasRowMajor, transpose(s.transpose_a), transpose(s.transpose_b), dim(s.M), dim(s.N),
              dim(s.K), 1.0f, static_cast<const float*>(a), dim(s.transpose_a ? s.M : s.K),
              static_cast<const float*>(b), dim(s.transpose_b ? s.K : s.N),
              s.accumulate || bias ? 1.0f : 0.0f, c, dim(s.N));
}

}  // namespace weft::cpu

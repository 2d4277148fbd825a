// The part of cuBLASLt that Weft calls, found when it is first needed: it has 542 MB, and a build
// for GPUs starts where it is absent.
#pragma once

#include <cublasLt.h>

#include "core/check.h"

#define CUBLAS_LT_CHECK(call)                                                               \
  do {                                                                                      \
    const cublasStatus_t said = (call);                                                     \
    CHECK(said == CUBLAS_STATUS_SUCCESS, "{}: {} ({})", #call,                              \
          ::weft::cuda::cublas_lt().cublasLtGetStatusString(said), static_cast<int>(said)); \
  } while (false)

namespace weft::cuda {

// clang-format off
#define WEFT_FOR_EACH_CUBLAS_LT(X)                                                              \
  X(cublasLtCreate) X(cublasLtDestroy) X(cublasLtGetStatusString) X(cublasLtMatmul)             \
  X(cublasLtMatmulAlgoGetHeuristic)                                                             \
  X(cublasLtMatmulDescCreate) X(cublasLtMatmulDescDestroy) X(cublasLtMatmulDescSetAttribute)    \
  X(cublasLtMatmulPreferenceCreate) X(cublasLtMatmulPreferenceDestroy)                          \
  X(cublasLtMatmulPreferenceSetAttribute)                                                       \
  X(cublasLtMatrixLayoutCreate) X(cublasLtMatrixLayoutDestroy)
// clang-format on

struct CublasLt {
#define WEFT_CUBLAS_LT_MEMBER(function) decltype(&::function) function;
  WEFT_FOR_EACH_CUBLAS_LT(WEFT_CUBLAS_LT_MEMBER)
#undef WEFT_CUBLAS_LT_MEMBER
};

const CublasLt& cublas_lt();  // a UserError where it cannot be loaded

}  // namespace weft::cuda

#include "kernels/cuda/cublas_lt.cuh"

#include "kernels/backends.h"

// cublas_lt_absence(), WEFT_FIND_IN_CUBLAS_LT(function): of the library, or of the emulation
#include "cublas_lt_body.h"

namespace weft {

namespace cuda {

const CublasLt& cublas_lt() {
#define WEFT_CUBLAS_LT_FOUND(function) .function = WEFT_FIND_IN_CUBLAS_LT(function),
  static const CublasLt found = {WEFT_FOR_EACH_CUBLAS_LT(WEFT_CUBLAS_LT_FOUND)};
#undef WEFT_CUBLAS_LT_FOUND
  return found;
}

}  // namespace cuda

std::string cuda_missing_library() { return cuda::cublas_lt_absence(); }

}  // namespace weft

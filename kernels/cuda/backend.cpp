#include "kernels/backends.h"

namespace weft {

namespace cuda {
#define WEFT_DECLARE_OP(op) decltype(::weft::op) op;
WEFT_FOR_EACH_OP(WEFT_DECLARE_OP)
#undef WEFT_DECLARE_OP
}  // namespace cuda

const Backend& cuda_backend() {
#define WEFT_CUDA_OP(op) .op = cuda::op,
  static constexpr Backend table = {WEFT_FOR_EACH_OP(WEFT_CUDA_OP)};
#undef WEFT_CUDA_OP
  return table;
}

bool cuda_available() { return gpu_count() > 0; }

bool cuda_takes_head_dim(std::int64_t head_dim) {
  return head_dim % 8 == 0 && head_dim >= 16 && head_dim <= 256;
}

}  // namespace weft

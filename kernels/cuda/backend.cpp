#include <algorithm>

#include "kernels/backends.h"
#include "kernels/cuda/product.h"
#include "kernels/cuda/upload_ring.h"
#include "kernels/scratch.h"

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

std::size_t cuda_backward_scratch_bytes(const BackwardSizes& s) {
  const std::int64_t N = std::max<std::int64_t>(s.B * s.T, 1),
                     heads = std::max<std::int64_t>(s.n_heads, 1);
  return std::max({cuda::linear_backward_scratch_bytes(N, s.widest),
                   cuda::activation_backward_scratch_bytes(N, s.widest),
                   cuda::norm_backward_scratch_bytes(N, s.width, 2),
                   cuda::attention_backward_scratch_bytes(s.B, s.T, heads),
                   cuda::head_norm_backward_scratch_bytes(N, heads, s.head_dim),
                   cuda::embedding_backward_scratch_bytes(N),
                   cuda::sum_of_squares_scratch_bytes(s.elems, s.n_tensors)});
}

std::size_t cuda_workspace_bytes(std::int64_t n_tensors) {
  return cuda::kProductWorkspace +
         cuda::UploadRing::most_bytes(cuda::optimizer_table_bytes(n_tensors));
}

}  // namespace weft

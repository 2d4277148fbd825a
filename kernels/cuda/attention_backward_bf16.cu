#include "kernels/cuda/attention_backward_kernel.cuh"

namespace weft::cuda {

void attention_backward_bf16(const BackwardTensors& t, const AttentionProblem& p, Stream& stream) {
  if (p.D <= 32)
    launch_backward<__nv_bfloat16, 32>(t, p, stream);
  else if (p.D <= 64)
    launch_backward<__nv_bfloat16, 64>(t, p, stream);
  else
    launch_backward<__nv_bfloat16, 96>(t, p, stream);
}

}  // namespace weft::cuda

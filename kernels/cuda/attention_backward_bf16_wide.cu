#include "kernels/cuda/attention_backward_kernel.cuh"

namespace weft::cuda {

void attention_backward_bf16_wide(const BackwardTensors& t, const AttentionProblem& p,
                                  Stream& stream) {
  if (p.D <= 128)
    launch_backward<__nv_bfloat16, 128>(t, p, stream);
  else if (p.D <= 192)
    launch_backward<__nv_bfloat16, 192>(t, p, stream);
  else
    launch_backward<__nv_bfloat16, 256>(t, p, stream);
}

}  // namespace weft::cuda

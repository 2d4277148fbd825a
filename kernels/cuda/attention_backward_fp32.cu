#include "kernels/cuda/attention_backward_kernel.cuh"

namespace weft::cuda {

void attention_backward_fp32(const BackwardTensors& t, const AttentionProblem& p, Stream& stream) {
  if (p.D <= 64)
    launch_backward<float, 64>(t, p, stream);
  else if (p.D <= 128)
    launch_backward<float, 128>(t, p, stream);
  else
    launch_backward<float, 256>(t, p, stream);
}

}  // namespace weft::cuda

#include "kernels/cuda/dropout.cuh"

#include <algorithm>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/random.cuh"
#include "kernels/cuda/vector.cuh"

namespace weft::cuda {

// Sequences are blockIdx.y, gridDim.y apart; a thread takes kN of a sequence's `elems` elements.
template <class T, int kN>
__global__ void __launch_bounds__(256)
    add_dropout_kernel(T* out, const T* x, const T* delta, std::int64_t sequences,
                       std::int64_t elems, DropoutMask mask) {
  const std::int64_t e = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kN;
  if (e >= elems) return;
  for (std::int64_t s = blockIdx.y; s < sequences; s += gridDim.y) {
    const std::int64_t at = s * elems + e;
    float d[kN], sum[kN] = {};
    load(d, delta + at);
    if (x) load(sum, x + at);
    if (mask.threshold) {
      float factor[kN];
      dropout_factors(factor, mask, s, e);
#pragma unroll
      for (int i = 0; i < kN; ++i) d[i] *= factor[i];
    }
#pragma unroll
    for (int i = 0; i < kN; ++i) sum[i] += d[i];
    store(out + at, sum);
  }
}

void add_dropout(View out, ConstView x, ConstView delta, const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = delta.dims<3>();
  const std::int64_t elems = T * C;
  const Work work = {static_cast<double>(out.bytes()) * (x.empty() ? 2 : 3),
                     static_cast<double>(out.elems()) * (x.empty() ? 1 : 2)};
  for_act(out.dtype(), [&, sequences = B](auto zero) {
    using Act = decltype(zero);
    for_pack<kRun<Act>>(packs(elems, out.data(), x.data(), delta.data()), [&](auto n) {
      const LaunchShape shape = {{n_blocks(ceil_div(elems, 256 * n)),
                                  static_cast<unsigned>(std::min<std::int64_t>(sequences, 65535))},
                                 {256}};
      launch(add_dropout_kernel<Act, n()>, shape, work, stream, pointer<Act>(out), pointer<Act>(x),
             pointer<Act>(delta), sequences, elems, dropout_mask(drop));
    });
  });
}

void dropout(View y, ConstView x, const Dropout& drop, Stream& stream) {
  if (drop.p > 0)
    add_dropout(y, ConstView(), x, drop, stream);
  else if (y.data() != x.data())
    copy_bytes(y.data(), x.data(), x.bytes(), stream);
}

}  // namespace weft::cuda

#include <algorithm>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"

namespace weft::cuda {

constexpr int kHeadsPerThread = 4;  // share a thread's cosines and sines

struct RopeShape {
  std::int64_t tokens;
  int rows, dim;    // R, D: a token's heads and their width
  int heads, half;  // of which these are turned, by this many pairs: P/2
  int slices;       // of the heads: slice s takes heads s, s + slices, …
  int tokens_per_block;
};

// (a, b) <- (a cos - b sin, b cos + a sin) for kN elements: kN pairs (i, i + half), or kN/2
// neighbours (scalar: one pair).
template <class T, int kN, bool kInterleaved>
__global__ void __launch_bounds__(256) rope_kernel(T* heads, const std::int32_t* positions,
                                                   const float* table, RopeShape s, float sign) {
  constexpr int kPairs = kInterleaved && kN > 1 ? kN / 2 : kN;
  const int packs = s.half / kPairs, items = packs * s.slices;  // a token's threads
  const std::int64_t first_token = static_cast<std::int64_t>(blockIdx.x) * s.tokens_per_block;
  for (int item = static_cast<int>(threadIdx.x); item < items * s.tokens_per_block;
       item += static_cast<int>(blockDim.x)) {
    const std::int64_t token = first_token + item / items;
    if (token >= s.tokens) return;
    const int pair = item % packs * kPairs, slice = item % items / packs;
    const float* row = table + static_cast<std::int64_t>(positions[token]) * 2 * s.half + pair;
    float cosine[kPairs], sine[kPairs];
    load(cosine, row);
    load(sine, row + s.half);
    for (int h = slice; h < s.heads; h += s.slices) {
      T* head = heads + (token * s.rows + h) * s.dim;
      if constexpr (kInterleaved && kN > 1) {
        float x[kN];
        load(x, head + 2 * pair);
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          const float a = x[2 * i], b = x[2 * i + 1], turned = sign * sine[i];
          x[2 * i] = a * cosine[i] - b * turned;
          x[2 * i + 1] = b * cosine[i] + a * turned;
        }
        store(head + 2 * pair, x);
      } else {
        T* at_a = head + (kInterleaved ? 2 * pair : pair);
        T* at_b = at_a + (kInterleaved ? 1 : s.half);
        float a[kPairs], b[kPairs];
        load(a, at_a);
        load(b, at_b);
#pragma unroll
        for (int i = 0; i < kPairs; ++i) {
          const float turned = sign * sine[i], turned_a = a[i] * cosine[i] - b[i] * turned;
          b[i] = b[i] * cosine[i] + a[i] * turned;
          a[i] = turned_a;
        }
        store(at_a, a);
        store(at_b, b);
      }
    }
  }
}

void turn(View heads, ConstView positions, ConstView table, const RopeArgs& args, float sign,
          Stream& stream) {
  const auto [N, R, D] = heads.dims<3>();
  const auto half = static_cast<int>(table.dim(2));
  if (args.n_heads == 0) return;
  RopeShape s = {N,         as_int(R),
                 as_int(D), args.n_heads,
                 half,      static_cast<int>(ceil_div(args.n_heads, kHeadsPerThread)),
                 1};
  const double pairs = static_cast<double>(N) * args.n_heads * half;
  const Work work = {pairs * 4 * static_cast<double>(dtype_bytes(heads.dtype())) +
                         static_cast<double>(N) * (4 + 8 * half),
                     pairs * 6};
  // A pack of neighbours is 8 elements, 4 pairs; else 8 pairs.
  const bool packed = packs(D, heads.data(), table.data()) &&
                      half % (args.interleaved ? kPackElems / 2 : kPackElems) == 0;
  for_act(heads.dtype(), [&](auto zero) {
    using Act = decltype(zero);
    for_pack<kPackElems>(packed, [&](auto n) {
      const int pairs_per_thread = args.interleaved && n > 1 ? n / 2 : n;
      const int items = half / pairs_per_thread * s.slices;
      s.tokens_per_block = std::max(1, 256 / items);
      const LaunchShape shape = {{n_blocks(ceil_div(s.tokens, s.tokens_per_block))}, {256}};
      launch(args.interleaved ? rope_kernel<Act, n(), true> : rope_kernel<Act, n(), false>, shape,
             work, stream, pointer<Act>(heads), pointer<std::int32_t>(positions),
             pointer<float>(table), s, sign);
    });
  });
}

void rope(View heads, ConstView positions, ConstView table, const RopeArgs& args, Stream& stream) {
  turn(heads, positions, table, args, 1, stream);
}
void rope_backward(View heads, ConstView positions, ConstView table, const RopeArgs& args,
                   Stream& stream) {
  turn(heads, positions, table, args, -1, stream);
}

}  // namespace weft::cuda

// Attention's probabilities written out, for who looks at them: a block a row. Its scores stand
// where the probabilities will, until their maximum and their sum are known.
#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"
#include "kernels/work.h"

namespace weft::cuda {

constexpr int kWeightsThreads = 128;

struct WeightsShape {
  int T, rows, dim;    // rows: R, heads of a token
  int head, key_head;  // of the R
  AttentionArgs args;
};

template <class T, int kN>
__global__ void __launch_bounds__(kWeightsThreads, 8)
    attention_weights_kernel(float* weights,  // (T, T)
                             const T* qk,     // (T, R, D)
                             WeightsShape s) {
  float* shared = shared_memory<float>();  // (kReduceFloats), (D)
  float* q = shared + kReduceFloats<1>;
  const int i = static_cast<int>(blockIdx.x), thread = static_cast<int>(threadIdx.x);
  const std::int64_t stride = static_cast<std::int64_t>(s.rows) * s.dim;
  const T *query = qk + i * stride + s.head * s.dim, *keys = qk + s.key_head * s.dim;
  float* row = weights + static_cast<std::int64_t>(i) * s.T;
  const int right = s.args.causal ? 0 : s.args.window_right;
  const int begin = s.args.window_left < 0 ? 0 : max(0, i - s.args.window_left),
            end = right < 0 ? s.T : min(s.T, i + right + 1);

  for (int d = thread; d < s.dim; d += kWeightsThreads) q[d] = widen(query[d]);
  __syncthreads();
  float most = -INFINITY;
  for (int j = begin + thread; j < end; j += kWeightsThreads) {
    const T* key = keys + j * stride;
    float score = 0;
    for (int d = 0; d < s.dim; d += kN) {
      float k[kN];
      load(k, key + d);
#pragma unroll
      for (int e = 0; e < kN; ++e) score += q[d + e] * k[e];
    }
    score *= s.args.scale;
    if (s.args.softcap > 0) score = s.args.softcap * tanhf(score / s.args.softcap);
    row[j] = score;
    most = fmaxf(most, score);
  }
  most = block_max(most, shared);
  float sum = 0;
  for (int j = begin + thread; j < end; j += kWeightsThreads) sum += row[j] = expf(row[j] - most);
  sum = block_sum(sum, shared);
  // j - begin runs through the same threads as above: each finds its own scores.
  for (int j = begin + thread; j < end; j += kWeightsThreads) row[j] /= sum;
  for (int j = thread; j < begin; j += kWeightsThreads) row[j] = 0;
  for (int j = end + thread; j < s.T; j += kWeightsThreads) row[j] = 0;
}

void attention_weights(View weights, ConstView qk, std::span<const int> heads,
                       const AttentionArgs& args, Stream& stream) {
  const auto [T, R, D] = qk.dims<3>();
  const double pairs =
      attention_pairs(0, T, T, args.window_left, args.causal ? 0 : args.window_right);
  const auto elem_bytes = static_cast<double>(dtype_bytes(qk.dtype()));
  const Work work = {static_cast<double>(T * T) * 4 + static_cast<double>(2 * T * D) * elem_bytes,
                     kForwardFlopsOfPair / 2 * static_cast<double>(D) * pairs};
  const LaunchShape shape = {{n_blocks(T)},
                             {kWeightsThreads},
                             (kReduceFloats<1> + static_cast<std::size_t>(D)) * sizeof(float)};
  const bool packed = packs(D, qk.data());
  float* map = pointer<float>(weights);
  for (const int head : heads) {
    const WeightsShape s = {as_int(T),
                            as_int(R),
                            as_int(D),
                            head,
                            args.n_heads + head / (args.n_heads / args.n_kv_heads),
                            args};
    for_act(qk.dtype(), [&](auto zero) {
      using Act = decltype(zero);
      for_pack<kRun<Act>>(packed, [&](auto n) {
        launch(attention_weights_kernel<Act, n()>, shape, work, stream, map, pointer<Act>(qk), s);
      });
    });
    map += T * T;
  }
}

}  // namespace weft::cuda

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/logits_row.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"

namespace weft::cuda {
namespace {

// exp as the dtype deserves it: bf16 logits are uncertain by far more than the 1e-6 that the GPU's
// own exp2 loses.
template <class T>
__device__ __forceinline__ float exponential(float x) {
  return sizeof(T) == 2 ? __expf(x) : expf(x);
}

// max and Σ exp(z - max) of some of a row's logits; of none: -inf and 0.
struct Softmax {
  float max, sum;
};

// exp(-inf - -inf) is 0 here: what holds nothing but -inf adds nothing.
__device__ __forceinline__ float finite_or_zero(float max) {
  return max == kMinusInfinity ? 0.0f : max;
}

__device__ __forceinline__ Softmax join(const Softmax& a, const Softmax& b) {
  const float max = fmaxf(a.max, b.max), shift = finite_or_zero(max);
  return {max, a.sum * expf(a.max - shift) + b.sum * expf(b.max - shift)};
}

}  // namespace

// A block a row; one pass with a running maximum. A pack's terms are added up before they join the
// thread's sum, and the threads' sums in a tree, so that no sum is longer than a few hundred terms.
template <class T>
__global__ void __launch_bounds__(512)
    cross_entropy_stats_kernel(float* __restrict__ stats,       // (N, 3)
                               const T* __restrict__ logits,    // (N, W), of which V count
                               const int* __restrict__ labels,  // (N)
                               long long first_vocab, int V, int W, float softcap) {
  auto* partial = shared_memory<Softmax>();  // (32)
  const long long n = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32,
            threads = static_cast<int>(blockDim.x);
  const LogitsRow<const T> row(logits + n * W, V);
  constexpr int kPack = LogitsRow<const T>::kPack;
  const bool caps = softcap != 0;

  Softmax own = {kMinusInfinity, 0};
  for (int p = thread; p < row.packs; p += threads) {
    float z[kPack];
    row.load(z, p);
    float max = own.max;
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      if (caps && z[i] != kMinusInfinity) z[i] = softcap * tanhf(z[i] / softcap);
      max = fmaxf(max, z[i]);
    }
    const float shift = finite_or_zero(max);
    float sum = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) sum += exponential<T>(z[i] - shift);
    own.sum = (own.max == max ? own.sum : own.sum * exponential<T>(own.max - shift)) + sum;
    own.max = max;
  }

#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Softmax other = {__shfl_xor_sync(kFullWarp, own.max, lanes),
                           __shfl_xor_sync(kFullWarp, own.sum, lanes)};
    own = join(own, other);
  }
  if (lane == 0) partial[warp] = own;
  __syncthreads();
  if (warp != 0) return;
  own = lane < threads / 32 ? partial[lane] : Softmax{kMinusInfinity, 0};
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Softmax other = {__shfl_xor_sync(kFullWarp, own.max, lanes),
                           __shfl_xor_sync(kFullWarp, own.sum, lanes)};
    own = join(own, other);
  }
  if (lane != 0) return;
  const long long label = labels[n] - first_vocab;
  float at_label = 0;
  if (labels[n] != kIgnoreLabel && label >= 0 && label < V) {
    at_label = widen(row.row[label]);
    if (caps) at_label = softcap * tanhf(at_label / softcap);
  }
  stats[3 * n] = own.max;
  stats[3 * n + 1] = own.sum;
  stats[3 * n + 2] = at_label;
}

__global__ void __launch_bounds__(128)
    cross_entropy_combine_kernel(float* __restrict__ loss,         // (N)
                                 float* __restrict__ lse,          // (N)
                                 const float* __restrict__ stats,  // (shards, N, 3)
                                 const int* __restrict__ labels,   // (N)
                                 int shards, long long N) {
  const long long n = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (n >= N) return;
  float max = kMinusInfinity;
  for (int s = 0; s < shards; ++s) max = fmaxf(max, stats[(s * N + n) * 3]);
  double sum = 0, label_logit = 0;
  for (int s = 0; s < shards; ++s) {
    const float* shard = stats + (s * N + n) * 3;
    if (!(shard[1] == 0))
      sum += static_cast<double>(shard[1]) *
             exp(static_cast<double>(shard[0]) - static_cast<double>(max));
    label_logit += static_cast<double>(shard[2]);
  }
  const double total = static_cast<double>(max) + log(sum);
  lse[n] = static_cast<float>(total);
  loss[n] = labels[n] == kIgnoreLabel ? 0.0f : static_cast<float>(total - label_logit);
}

// A block a row, in place: read once, written once.
template <class T>
__global__ void __launch_bounds__(512)
    cross_entropy_backward_kernel(T* __restrict__ logits,          // (N, W), of which V count
                                  const float* __restrict__ lse,   // (N)
                                  const int* __restrict__ labels,  // (N)
                                  long long first_vocab, int V, int W, float scale, float softcap) {
  const long long n = blockIdx.x;
  const LogitsRow<T> row(logits + n * W, V);
  constexpr int kPack = LogitsRow<T>::kPack;
  for (int v = V + static_cast<int>(threadIdx.x); v < W; v += static_cast<int>(blockDim.x))
    row.row[v] = narrow<T>(0.0f);
  const bool ignored = labels[n] == kIgnoreLabel, caps = softcap != 0;
  const long long label = labels[n] - first_vocab;
  const float row_lse = lse[n];
  for (int p = static_cast<int>(threadIdx.x); p < row.packs; p += static_cast<int>(blockDim.x)) {
    float x[kPack];
    if (!ignored) row.load(x, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      if (ignored) {
        x[i] = 0;
        continue;
      }
      float z = x[i], slope = scale;
      if (caps) {
        const float t = tanhf(z / softcap);
        z = softcap * t;
        slope *= 1 - t * t;
      }
      const float p_label = row.column(p) + i == label ? 1.0f : 0.0f;
      x[i] = slope * (exponential<T>(z - row_lse) - p_label);
    }
    row.store(x, p);
  }
}

namespace {

// Enough threads for a pack each, at most 512.
unsigned row_threads(std::int64_t V, std::size_t elem_bytes) {
  return static_cast<unsigned>(std::clamp<std::int64_t>(
      ceil_div(V * static_cast<std::int64_t>(elem_bytes), 16 * 32) * 32, 32, 512));
}

template <class T>
void stats_of(View stats, ConstView logits, ConstView labels, VocabColumns columns, float softcap,
              Stream& stream) {
  const std::int64_t N = logits.dim(0), W = logits.dim(1), V = columns.n;
  const auto elems = static_cast<double>(N * V);
  launch(cross_entropy_stats_kernel<T>,
         {n_blocks(N), row_threads(V, sizeof(T)), 32 * sizeof(Softmax)},
         {elems * sizeof(T) + 16.0 * static_cast<double>(N), 4 * elems}, stream,
         pointer<float>(stats), static_cast<const T*>(logits.data()), pointer<std::int32_t>(labels),
         columns.first, as_int(V), as_int(W), softcap);
}

template <class T>
void backward_of(View logits, ConstView lse, ConstView labels, VocabColumns columns, float scale,
                 float softcap, Stream& stream) {
  const std::int64_t N = logits.dim(0), W = logits.dim(1), V = columns.n;
  const auto elems = static_cast<double>(N * V), all = static_cast<double>(N * W);
  launch(cross_entropy_backward_kernel<T>, {n_blocks(N), row_threads(V, sizeof(T))},
         {(elems + all) * sizeof(T) + 8.0 * static_cast<double>(N), 4 * elems}, stream,
         static_cast<T*>(logits.data()), pointer<float>(lse), pointer<std::int32_t>(labels),
         columns.first, as_int(V), as_int(W), scale, softcap);
}

}  // namespace

void cross_entropy_stats(View stats, ConstView logits, ConstView labels, VocabColumns columns,
                         float softcap, Stream& stream) {
  if (logits.dtype() == DType::f32)
    stats_of<float>(stats, logits, labels, columns, softcap, stream);
  else
    stats_of<__nv_bfloat16>(stats, logits, labels, columns, softcap, stream);
}

void cross_entropy_combine(View loss, View lse, ConstView stats, ConstView labels, Stream& stream) {
  const std::int64_t shards = stats.dim(0), N = stats.dim(1);
  launch(cross_entropy_combine_kernel, {n_blocks(ceil_div(N, 128)), 128},
         {static_cast<double>(N * (12 * shards + 12)), 0}, stream, pointer<float>(loss),
         pointer<float>(lse), pointer<float>(stats), pointer<std::int32_t>(labels),
         static_cast<int>(shards), N);
}

void cross_entropy_backward(View logits, ConstView lse, ConstView labels, VocabColumns columns,
                            float scale, float softcap, Stream& stream) {
  if (logits.dtype() == DType::f32)
    backward_of<float>(logits, lse, labels, columns, scale, softcap, stream);
  else
    backward_of<__nv_bfloat16>(logits, lse, labels, columns, scale, softcap, stream);
}

}  // namespace weft::cuda

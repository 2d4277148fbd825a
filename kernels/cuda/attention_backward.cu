// What both backward kernels need of every query, and the choice of their instances.
#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/attention_backward_kernel.cuh"
#include "kernels/scratch.h"

namespace weft::cuda {

// Eight lanes a query and head; queries past T get what makes their probabilities vanish.
template <class T>
__global__ void __launch_bounds__(256)
    attention_stats_kernel(float* stats,      // (B, H, 2, padded_T)
                           const T* dout,     // (B, T, H, D)
                           const T* out,      // (B, T, H, D)
                           const float* lse,  // (B, H, T)
                           std::int64_t n_rows, int padded_T, int T_, int H, int D) {
  constexpr int kChunk = 16 / static_cast<int>(sizeof(T));
  const std::int64_t n = static_cast<std::int64_t>(blockIdx.x) * 32 + threadIdx.x / 8;
  const int part = static_cast<int>(threadIdx.x) % 8, h = static_cast<int>(n % H),
            t = static_cast<int>(n / H % padded_T);
  const std::int64_t b = n / H / padded_T;
  const bool there = n < n_rows && t < T_;
  float dot = 0;
  if (there) {
    const std::int64_t row = ((b * T_ + t) * H + h) * D;
    for (int c = part * kChunk; c < D; c += 8 * kChunk) {
      const uint4 packed_a = *reinterpret_cast<const uint4*>(dout + row + c),
                  packed_b = *reinterpret_cast<const uint4*>(out + row + c);
      const T *a = reinterpret_cast<const T*>(&packed_a),
              *o = reinterpret_cast<const T*>(&packed_b);
#pragma unroll
      for (int i = 0; i < kChunk; ++i)
        dot = fmaf(static_cast<float>(a[i]), static_cast<float>(o[i]), dot);
    }
  }
#pragma unroll
  for (int lanes = 1; lanes < 8; lanes *= 2) dot += __shfl_xor_sync(kFullWarp, dot, lanes);
  if (part != 0 || n >= n_rows) return;
  const float log_sum = there ? lse[(b * H + h) * T_ + t] : -kInfinity;
  float* to = stats + ((b * H + h) * 2) * padded_T + t;
  to[0] = log_sum == -kInfinity
              ? kInfinity
              : log_sum * kLog2E;  // a query that sees no key has probability 0 everywhere
  to[padded_T] = log_sum == -kInfinity ? 0.0f : dot;  // padding may hold anything
}

namespace {
std::int64_t padded_rows(std::int64_t T) { return ceil_div(T, kStatsRows) * kStatsRows; }
}  // namespace

std::size_t attention_backward_scratch_bytes(std::int64_t B, std::int64_t T, std::int64_t n_heads) {
  return static_cast<std::size_t>(B * n_heads * padded_rows(T)) * 2 * sizeof(float);
}

void attention_backward(View dqkv, ConstView dout, ConstView out, ConstView lse, ConstView qkv,
                        ConstView lengths, const AttentionArgs& args, Stream& stream) {
  expect_aligned("attention_backward", dqkv, dout, out, qkv);
  const AttentionProblem p = attention_problem("attention_backward", qkv, lengths, args);
  const std::int64_t B = qkv.dim(0), padded_T = padded_rows(p.T), n_rows = B * p.H * padded_T;
  auto* stats = static_cast<float*>(stream.scratch(attention_backward_scratch_bytes(B, p.T, p.H)));
  const LaunchShape shape = {dim3(n_blocks(ceil_div(n_rows, 32))), dim3(256)};
  const Work work = {static_cast<double>(dout.bytes() + out.bytes() + lse.bytes()) +
                         8.0 * static_cast<double>(n_rows),
                     2.0 * static_cast<double>(out.elems())};
  const bool narrow = qkv.dtype() == DType::bf16;
  if (narrow)
    launch(attention_stats_kernel<__nv_bfloat16>, shape, work, stream, stats,
           static_cast<const __nv_bfloat16*>(dout.data()),
           static_cast<const __nv_bfloat16*>(out.data()), static_cast<const float*>(lse.data()),
           n_rows, as_int(padded_T), p.T, p.H, p.D);
  else
    launch(attention_stats_kernel<float>, shape, work, stream, stats,
           static_cast<const float*>(dout.data()), static_cast<const float*>(out.data()),
           static_cast<const float*>(lse.data()), n_rows, as_int(padded_T), p.T, p.H, p.D);
  const BackwardTensors tensors = {dqkv, dout, stats, qkv, as_int(padded_T)};
  if (!narrow)
    attention_backward_fp32(tensors, p, stream);
  else if (p.D <= 96)
    attention_backward_bf16(tensors, p, stream);
  else
    attention_backward_bf16_wide(tensors, p, stream);
}

}  // namespace weft::cuda

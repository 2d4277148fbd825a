#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/upload_ring.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace weft::cuda {

decltype(::weft::fill) fill;  // moving.cu

// All tensors of a call are one launch. Each is cut into chunks, numbered through; a block does one
// chunk and finds its tensor in a table.
constexpr int kOptimizerThreads = 256, kOptimizerPack = 4;
constexpr std::int64_t kChunk = 8192;  // a multiple of kOptimizerThreads·kOptimizerPack

struct AdamWEntry {
  float *weight, *m, *v;  // (elems)
  const float* grad;      // (elems)
  __nv_bfloat16* copy;    // (elems), or null
  long long elems, first_chunk;
  float keep;    // 1 - lr·weight_decay, or 1
  bool aligned;  // packs may be loaded at once
};

struct SquaresEntry {
  const float* x;  // (elems)
  long long elems, first_chunk;
  bool aligned;
};

// As the CPU's:  w = w·keep - step·m / (sqrt(v)·root + eps)
struct AdamWStep {
  float beta1, beta2, step, root, eps;
};

namespace {

// The entry whose chunks hold `chunk`; the same for the whole block.
template <class Entry>
__device__ __forceinline__ const Entry& entry_of(const Entry* table, int n, long long chunk) {
  int low = 0, high = n;  // first_chunk of low is at most `chunk`, that of high is past it
  while (high - low > 1) {
    const int middle = (low + high) / 2;
    if (table[middle].first_chunk <= chunk)
      low = middle;
    else
      high = middle;
  }
  return table[low];
}

__device__ __forceinline__ void adamw_update(float& w, float& m, float& v, float g, float scale,
                                             float keep, const AdamWStep& f) {
  g *= scale;
  m = fmaf(f.beta1, m, (1 - f.beta1) * g);
  v = fmaf(f.beta2, v, (1 - f.beta2) * (g * g));
  w = w * keep - f.step * m / fmaf(sqrtf(v), f.root, f.eps);
}

}  // namespace

__global__ void __launch_bounds__(kOptimizerThreads)
    adamw_kernel(const AdamWEntry* __restrict__ table,  // (n)
                 int n,
                 const float* __restrict__ grad_scale,  // (1), or null
                 AdamWStep f) {
  const AdamWEntry& t = entry_of(table, n, blockIdx.x);
  const long long begin = (blockIdx.x - t.first_chunk) * kChunk;
  const int size = static_cast<int>(min(t.elems - begin, static_cast<long long>(kChunk)));
  float *weight = t.weight + begin, *m_at = t.m + begin, *v_at = t.v + begin;
  const float* grad = t.grad + begin;
  __nv_bfloat16* copy = t.copy ? t.copy + begin : nullptr;
  const float keep = t.keep, scale = grad_scale ? *grad_scale : 1.0f;
  const int whole = t.aligned ? size / kOptimizerPack * kOptimizerPack : 0;
  for (int i = static_cast<int>(threadIdx.x) * kOptimizerPack; i < whole;
       i += kOptimizerThreads * kOptimizerPack) {
    float w[kOptimizerPack], m[kOptimizerPack], v[kOptimizerPack], g[kOptimizerPack];
    load(w, weight + i);
    load(m, m_at + i);
    load(v, v_at + i);
    load(g, grad + i);
#pragma unroll
    for (int k = 0; k < kOptimizerPack; ++k) adamw_update(w[k], m[k], v[k], g[k], scale, keep, f);
    store(weight + i, w);
    store(m_at + i, m);
    store(v_at + i, v);
    if (copy) store(copy + i, w);
  }
  for (int i = whole + static_cast<int>(threadIdx.x); i < size; i += kOptimizerThreads) {
    adamw_update(weight[i], m_at[i], v_at[i], grad[i], scale, keep, f);
    if (copy) copy[i] = narrow<__nv_bfloat16>(weight[i]);
  }
}

// sums[chunk] = Σ x² of one chunk. A thread's elements do not depend on alignment: neither do the
// bits.
__global__ void __launch_bounds__(kOptimizerThreads)
    square_chunks_kernel(double* __restrict__ sums,               // (chunks)
                         const SquaresEntry* __restrict__ table,  // (n)
                         int n) {
  const SquaresEntry t = entry_of(table, n, blockIdx.x);
  const long long begin = (blockIdx.x - t.first_chunk) * kChunk, end = min(t.elems, begin + kChunk);
  double sum = 0;
#pragma unroll 4
  for (long long i = begin + threadIdx.x * kOptimizerPack; i < end;
       i += kOptimizerThreads * kOptimizerPack) {
    float x[kOptimizerPack];
    if (t.aligned && i + kOptimizerPack <= end) {
      load(x, t.x + i);
    } else {
#pragma unroll
      for (int k = 0; k < kOptimizerPack; ++k) x[k] = i + k < end ? t.x[i + k] : 0.0f;
    }
#pragma unroll
    for (int k = 0; k < kOptimizerPack; ++k)
      sum = fma(static_cast<double>(x[k]), static_cast<double>(x[k]), sum);
  }
  sum = block_sum_of_doubles(sum, shared_memory<double>());
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block: total = Σ sums.
__global__ void __launch_bounds__(1024)
    sum_chunks_kernel(double* __restrict__ total,       // (1)
                      const double* __restrict__ sums,  // (chunks)
                      long long chunks) {
  double sum = 0;
  for (long long i = threadIdx.x; i < chunks; i += blockDim.x) sum += sums[i];
  sum = block_sum_of_doubles(sum, shared_memory<double>());
  if (threadIdx.x == 0) *total = sum;
}

// scale = min(1, max_norm / (√square + 1e-6)); NaN stays
__global__ void clip_scale_kernel(float* scale,          // (1)
                                  const double* square,  // (1)
                                  double max_norm) {
  if (threadIdx.x > 0) return;
  const double ratio = max_norm / (sqrt(*square) + 1e-6);
  *scale = max_norm > 0 && !(ratio > 1) ? static_cast<float>(ratio) : 1.0f;
}

void adamw(std::span<const AdamWTensor> tensors, ConstView grad_scale, const AdamWArgs& args,
           Stream& stream) {
  const double correction1 =
      1 - std::pow(static_cast<double>(args.beta1), static_cast<double>(args.step));
  const double correction2 =
      1 - std::pow(static_cast<double>(args.beta2), static_cast<double>(args.step));
  const AdamWStep step = {args.beta1, args.beta2, static_cast<float>(args.lr / correction1),
                          static_cast<float>(1 / std::sqrt(correction2)), args.eps};
  std::vector<AdamWEntry> table;
  std::int64_t chunks = 0;
  Work work;
  for (const AdamWTensor& t : tensors) {
    const std::int64_t elems = t.weight.elems();
    if (elems == 0) continue;
    auto* copy =
        t.weight_bf16.empty() ? nullptr : static_cast<__nv_bfloat16*>(t.weight_bf16.data());
    const bool packs = aligned(t.weight.data(), t.m.data(), t.v.data(), t.grad.data(), copy);
    table.push_back({pointer<float>(t.weight), pointer<float>(t.m), pointer<float>(t.v),
                     pointer<float>(t.grad), copy, elems, chunks,
                     t.decay ? 1.0f - args.lr * args.weight_decay : 1.0f, packs});
    chunks += ceil_div(elems, kChunk);
    work.bytes += static_cast<double>(elems) * (copy ? 30 : 28);
    work.flops += 13 * static_cast<double>(elems);
  }
  if (table.empty()) return;
  const AdamWEntry* entries = uploaded(table, stream);
  launch(adamw_kernel, {static_cast<unsigned>(chunks), kOptimizerThreads}, work, stream, entries,
         static_cast<int>(table.size()), grad_scale.empty() ? nullptr : pointer<float>(grad_scale),
         step);
}

namespace {
std::size_t bytes_of_sums(std::int64_t chunks) {
  return static_cast<std::size_t>(chunks) * sizeof(double);
}
}  // namespace

// Each tensor may end in a part of a chunk.
std::size_t sum_of_squares_scratch_bytes(std::int64_t elems, std::int64_t n_tensors) {
  return bytes_of_sums(ceil_div(elems, kChunk) + n_tensors);
}

std::size_t optimizer_table_bytes(std::int64_t n_tensors) {
  return static_cast<std::size_t>(n_tensors) * std::max(sizeof(AdamWEntry), sizeof(SquaresEntry));
}

void sum_of_squares(View total, std::span<const ConstView> tensors, Stream& stream) {
  std::vector<SquaresEntry> table;
  std::int64_t chunks = 0;
  Work work;
  for (const ConstView& x : tensors) {
    if (x.elems() == 0) continue;
    table.push_back({pointer<float>(x), x.elems(), chunks, aligned(x.data())});
    chunks += ceil_div(x.elems(), kChunk);
    work.bytes += 4 * static_cast<double>(x.elems());
    work.flops += 2 * static_cast<double>(x.elems());
  }
  if (table.empty()) return cuda::fill(total, 0, stream);
  auto* sums = static_cast<double*>(stream.scratch(bytes_of_sums(chunks)));
  const SquaresEntry* entries = uploaded(table, stream);
  launch(square_chunks_kernel,
         {static_cast<unsigned>(chunks), kOptimizerThreads, 32 * sizeof(double)}, work, stream,
         sums, entries, static_cast<int>(table.size()));
  launch(sum_chunks_kernel, {1, 1024, 32 * sizeof(double)},
         {8.0 * static_cast<double>(chunks), static_cast<double>(chunks)}, stream,
         pointer<double>(total), sums, chunks);
}

void clip_scale(View scale, ConstView square, double max_norm, Stream& stream) {
  launch(clip_scale_kernel, {1, 32}, {12, 4}, stream, pointer<float>(scale),
         pointer<double>(square), max_norm);
}

}  // namespace weft::cuda

#include <algorithm>

#include "core/check.h"
#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/column_sum.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace weft::cuda {

constexpr int kBlockWarps = 8;
constexpr int kMaxHeadDim = 256;
// A lane's runs of kN elements of a head.
template <int kN>
constexpr int kHeadRuns = kMaxHeadDim / (32 * kN) > 0 ? kMaxHeadDim / (32 * kN) : 1;

struct HeadShape {
  std::int64_t tokens;
  int rows, dim, groups;  // R, D, G
  int pitch;              // of a head's weights: 0 where all heads have the same
  HeadNormArgs norm;
};

// A row of (N, R, D): a token's i-th normed head.
__device__ __forceinline__ std::int64_t head_at(const HeadShape& s, std::int64_t token, int i) {
  return (token * s.rows + s.norm.first_row + i) * s.dim;
}

// Σ over what a head's norm spans: its own column of a row of (N, G), or all of them. Every lane
// gets it.
__device__ __forceinline__ float spanned_sum(const HeadShape& s, const float* row, int i,
                                             int lane) {
  if (!s.norm.whole) return row[i];
  float sum = 0;
  for (int g = lane; g < s.groups; g += 32) sum += row[g];
  return warp_sum(sum);
}

__device__ __forceinline__ float spanned_elems(const HeadShape& s) {
  return static_cast<float>(s.norm.whole ? s.groups * s.dim : s.dim);
}

__device__ __forceinline__ float spanned_rstd(const HeadShape& s, const float* squares, int i,
                                              int lane) {
  return 1.0f / sqrtf(spanned_sum(s, squares, i, lane) / spanned_elems(s) + s.norm.eps);
}

// A warp fills one number of (N, G): Σ a², or with a weight Σ a·(offset + weight)·raw.
template <class T, int kN>
__global__ void __launch_bounds__(32 * kBlockWarps)
    head_dots_kernel(float* out, const T* heads, const T* raw, const float* weight, HeadShape s) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const unsigned at = blockIdx.x * kBlockWarps + threadIdx.x / 32;
  const auto each = static_cast<unsigned>(s.groups);
  if (at >= static_cast<unsigned>(s.tokens) * each) return;
  const std::int64_t token = at / each;
  const int i = static_cast<int>(at % each) - s.norm.place;
  float sum = 0;
  if (i >= (weight ? 0 : s.norm.n_repeated) && i < s.norm.n_heads) {
    const T* a = heads + head_at(s, token, i);
    const T* b = weight ? raw + (token * s.norm.n_heads + i) * s.dim : a;
    for (int d = lane * kN; d < s.dim; d += 32 * kN) {
      float x[kN], y[kN];
      load(x, a + d);
      load(y, b + d);
      if (weight) {
        float w[kN];
        load(w, weight + i * s.pitch + d);
#pragma unroll
        for (int j = 0; j < kN; ++j) x[j] *= s.norm.offset + w[j];
      }
#pragma unroll
      for (int j = 0; j < kN; ++j) sum += x[j] * y[j];
    }
    sum = warp_sum(sum);
  }
  if (lane == 0) out[at] = sum;
}

// A warp norms one head of one token.
template <class T, int kN>
__global__ void __launch_bounds__(32 * kBlockWarps)
    head_norm_kernel(T* heads, T* raw, const float* squares, const float* weight, HeadShape s) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const unsigned at = blockIdx.x * kBlockWarps + threadIdx.x / 32;
  const auto each = static_cast<unsigned>(s.norm.n_heads);
  if (at >= static_cast<unsigned>(s.tokens) * each) return;
  const std::int64_t token = at / each;
  const int i = static_cast<int>(at % each);
  const float rstd = spanned_rstd(s, squares + token * s.groups, i, lane);
  T* head = heads + head_at(s, token, i);
  for (int d = lane * kN; d < s.dim; d += 32 * kN) {
    float x[kN], w[kN];
    load(x, head + d);
    if (raw) store(raw + static_cast<std::int64_t>(at) * s.dim + d, x);
    load(w, weight + i * s.pitch + d);
#pragma unroll
    for (int j = 0; j < kN; ++j) x[j] *= rstd * (s.norm.offset + w[j]);
    store(head + d, x);
  }
}

template <class T>
struct HeadBackwardArgs {
  T* dheads;
  float* partial;  // (groups of tokens, h, D): of dweight
  const T* raw;
  const float *squares, *dots, *weight;
  std::int64_t tokens_per_group;
};

// A block takes one head of one group of tokens, its warps a token each at a time; lanes keep their
// columns of dweight, which are then added up warp after warp.
template <class T, int kN>
__global__ void __launch_bounds__(32 * kBlockWarps)
    head_norm_backward_kernel(HeadBackwardArgs<T> a, HeadShape s) {
  float* sums = shared_memory<float>();  // (kBlockWarps, D)
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            i = static_cast<int>(blockIdx.y);
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * a.tokens_per_group;
  const std::int64_t end =
      begin + a.tokens_per_group < s.tokens ? begin + a.tokens_per_group : s.tokens;
  float dweight[kHeadRuns<kN>][kN] = {};
  for (std::int64_t token = begin + warp; token < end; token += kBlockWarps) {
    const float rstd = spanned_rstd(s, a.squares + token * s.groups, i, lane);
    const float dots = spanned_sum(s, a.dots + token * s.groups, i, lane);
    const float mean = i < s.norm.n_repeated ? 0 : rstd * rstd * (dots / spanned_elems(s));
    T* dhead = a.dheads + head_at(s, token, i);
    const T* raw = a.raw + (token * s.norm.n_heads + i) * s.dim;
#pragma unroll
    for (int run = 0; run < kHeadRuns<kN>; ++run) {
      const int d = (run * 32 + lane) * kN;
      if (d >= s.dim) break;
      float dy[kN], x[kN], w[kN];
      load(dy, dhead + d);
      load(x, raw + d);
      load(w, a.weight + i * s.pitch + d);
#pragma unroll
      for (int j = 0; j < kN; ++j) {
        dweight[run][j] += dy[j] * x[j] * rstd;
        dy[j] = rstd * (dy[j] * (s.norm.offset + w[j]) - x[j] * mean);
      }
      store(dhead + d, dy);
    }
  }
#pragma unroll
  for (int run = 0; run < kHeadRuns<kN>; ++run) {
    const int d = (run * 32 + lane) * kN;
    if (d >= s.dim) break;
#pragma unroll
    for (int j = 0; j < kN; ++j) sums[warp * s.dim + d + j] = dweight[run][j];
  }
  __syncthreads();
  float* partial = a.partial + (static_cast<std::int64_t>(blockIdx.x) * gridDim.y + i) * s.dim;
  for (int d = static_cast<int>(threadIdx.x); d < s.dim; d += 32 * kBlockWarps) {
    float sum = 0;
    for (int w = 0; w < kBlockWarps; ++w) sum += sums[w * s.dim + d];
    partial[d] = sum;
  }
}

namespace {

HeadShape shape_of(ConstView heads, ConstView groups, const HeadNormArgs& args) {
  const auto [N, R, D] = heads.dims<3>();
  return {N,   as_int(R), as_int(D), static_cast<int>(groups.dim(1)), args.whole ? as_int(D) : 0,
          args};
}

// The normed heads read (and written) so many times, and (N, G) once.
Work work_of(const HeadShape& s, DType act, int moved, double flops_of_elem) {
  const double elems = static_cast<double>(s.tokens) * s.norm.n_heads * s.dim;
  return {moved * elems * static_cast<double>(dtype_bytes(act)) +
              static_cast<double>(s.tokens) * s.groups * 4,
          flops_of_elem * elems};
}

// A warp each; they are counted in 32 bits, whose division needs no call.
LaunchShape warps(std::int64_t n) {
  CHECK(n < std::int64_t{1} << 31, "{} heads at once; allowed: fewer than 2^31", n);
  return {{n_blocks(ceil_div(n, kBlockWarps))}, {32 * kBlockWarps}, 0};
}

void dots_of(View out, ConstView heads, ConstView raw, ConstView weight, const HeadNormArgs& args,
             Stream& stream) {
  const HeadShape s = shape_of(heads, out, args);
  const bool packed = packs(s.dim, heads.data(), raw.data(), weight.data());
  for_act(heads.dtype(), [&](auto zero) {
    using Act = decltype(zero);
    for_pack<kRun<Act>>(packed, [&](auto n) {
      launch(head_dots_kernel<Act, n()>, warps(s.tokens * s.groups),
             work_of(s, heads.dtype(), weight.empty() ? 1 : 2, weight.empty() ? 2 : 4), stream,
             pointer<float>(out), pointer<Act>(heads), pointer<Act>(raw), pointer<float>(weight),
             s);
    });
  });
}

// They depend on the shape alone, and so does the order in which dweight is added up.
std::int64_t groups_of(std::int64_t N, std::int64_t n_heads) {
  return std::clamp<std::int64_t>(N / (4 * kBlockWarps), 1, ceil_div(1024, n_heads));
}

}  // namespace

std::size_t head_norm_backward_scratch_bytes(std::int64_t N, std::int64_t n_heads,
                                             std::int64_t head_dim) {
  return static_cast<std::size_t>(groups_of(N, n_heads) * n_heads * head_dim) * sizeof(float);
}

void head_squares(View squares, ConstView heads, const HeadNormArgs& args, Stream& stream) {
  dots_of(squares, heads, ConstView(), ConstView(), args, stream);
}

void head_dots(View dots, ConstView dheads, ConstView raw, ConstView weight,
               const HeadNormArgs& args, Stream& stream) {
  dots_of(dots, dheads, raw, weight, args, stream);
}

void head_norm(View heads, View raw, ConstView squares, ConstView weight, const HeadNormArgs& args,
               Stream& stream) {
  const HeadShape s = shape_of(heads, squares, args);
  const bool packed = packs(s.dim, heads.data(), raw.data(), weight.data());
  for_act(heads.dtype(), [&](auto zero) {
    using Act = decltype(zero);
    for_pack<kRun<Act>>(packed, [&](auto n) {
      launch(head_norm_kernel<Act, n()>, warps(s.tokens * s.norm.n_heads),
             work_of(s, heads.dtype(), raw.empty() ? 2 : 3, 3), stream, pointer<Act>(heads),
             pointer<Act>(raw), pointer<float>(squares), pointer<float>(weight), s);
    });
  });
}

void head_norm_backward(View dheads, Gradient dweight, ConstView raw, ConstView squares,
                        ConstView dots, ConstView weight, const HeadNormArgs& args,
                        Stream& stream) {
  const HeadShape s = shape_of(dheads, squares, args);
  const int h = args.n_heads;
  const std::int64_t groups = groups_of(s.tokens, h);
  const std::int64_t tokens_per_group = ceil_div(s.tokens, groups);
  auto* partial =
      static_cast<float*>(stream.scratch(head_norm_backward_scratch_bytes(s.tokens, h, s.dim)));
  const bool packed = packs(s.dim, dheads.data(), raw.data(), weight.data());
  for_act(dheads.dtype(), [&](auto zero) {
    using Act = decltype(zero);
    for_pack<kRun<Act>>(packed, [&](auto n) {
      const LaunchShape shape = {{static_cast<unsigned>(groups), static_cast<unsigned>(h)},
                                 {32 * kBlockWarps},
                                 kBlockWarps * static_cast<std::size_t>(s.dim) * sizeof(float)};
      const HeadBackwardArgs<Act> a = {pointer<Act>(dheads), partial,
                                       pointer<Act>(raw),    pointer<float>(squares),
                                       pointer<float>(dots), pointer<float>(weight),
                                       tokens_per_group};
      launch(head_norm_backward_kernel<Act, n()>, shape, work_of(s, dheads.dtype(), 3, 8), stream,
             a, s);
    });
  });
  // (groups, h, D) are the rows of h·D columns of one norm, or of D columns that heads share.
  add_column_sums(dweight, {}, partial, args.whole ? groups : groups * h, weight.elems(), stream);
}

}  // namespace weft::cuda

#include <algorithm>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/column_sum.cuh"
#include "kernels/cuda/dropout.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/random.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/scratch.h"

namespace weft::cuda {

// Of a row, what a thread keeps in registers: rows up to 32 warps · 32 · 8 = 8192 wide (4096 where
// elements are moved one by one, which takes more registers); longer rows are read again.
template <int kN>
constexpr int kThreadElems = kN == 1 ? 4 : 8;

// How rows are laid over a block: teams of warps, a row each.
struct Teams {
  int warps;  // of a team
  int count;  // of teams in a block

  // Blocks of about `block_warps`, no more teams than rows.
  Teams(std::int64_t rows, std::int64_t C, int thread_elems, int block_warps)
      : warps(static_cast<int>(std::min<std::int64_t>(ceil_div(C, 32 * thread_elems), 32))),
        count(static_cast<int>(
            std::clamp<std::int64_t>(block_warps / warps, 1, std::max<std::int64_t>(rows, 1)))) {}
  unsigned threads() const { return static_cast<unsigned>(32 * warps * count); }
};

// The columns of one thread: kN at a time, `stride` apart.
template <int kN, bool kHeld>
struct Columns {
  static constexpr int kKept = kHeld ? kThreadElems<kN> / kN : 1;  // runs kept in registers
  int first, stride, C;

  __device__ __forceinline__ Columns(int thread, int threads, int n_columns)
      : first(thread * kN), stride(threads * kN), C(n_columns) {}
  __device__ __forceinline__ int runs() const {
    if constexpr (kHeld)
      return kKept;
    else
      return first < C ? (C - first + stride - 1) / stride : 0;
  }
  __device__ __forceinline__ int column(int j) const { return first + j * stride; }
};

template <class T>
struct NormArgs {
  T *y, *sum;
  float *mean, *rstd;
  const T *x, *delta;
  const float *weight, *bias;
  std::int64_t rows, rows_per_sequence;
  int C;
  float offset, eps;
  DropoutMask mask;
  int team_warps;
};

// Statistics are those of the sum as it is stored, so that backward, which reads it, agrees.
template <class T, int kN, bool kLayer, bool kHeld>
__global__ void __launch_bounds__(1024, 1) add_norm_kernel(NormArgs<T> a) {
  float* shared = shared_memory<float>();
  const int team_threads = a.team_warps * 32, team = static_cast<int>(threadIdx.x) / team_threads,
            teams = static_cast<int>(blockDim.x) / team_threads;
  const int thread = static_cast<int>(threadIdx.x) - team * team_threads;
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * teams + team;
  const Columns<kN, kHeld> columns(thread, team_threads, row < a.rows ? a.C : 0);
  const std::int64_t at = row * a.C;
  const T* stored = a.sum ? a.sum : a.x;
  float s[Columns<kN, kHeld>::kKept][kN];

  float total[1] = {0};
#pragma unroll
  for (int j = 0; j < columns.runs(); ++j) {
    float(&v)[kN] = s[kHeld ? j : 0];
    const int c = columns.column(j);
    if (c >= columns.C) break;
    load(v, a.x + at + c);
    if (a.delta) {
      float d[kN];
      load(d, a.delta + at + c);
      if (a.mask.threshold) {
        float factor[kN];
        dropout_factors(factor, a.mask, row / a.rows_per_sequence,
                        row % a.rows_per_sequence * a.C + c);
#pragma unroll
        for (int i = 0; i < kN; ++i) d[i] *= factor[i];
      }
#pragma unroll
      for (int i = 0; i < kN; ++i) v[i] = rounded<T>(v[i] + d[i]);
    }
    if (a.sum && (a.delta || a.sum != a.x)) store(a.sum + at + c, v);
#pragma unroll
    for (int i = 0; i < kN; ++i) total[0] += kLayer ? v[i] : v[i] * v[i];
  }
  team_sum(total, a.team_warps, shared);
  float mean = 0;
  if constexpr (kLayer) {
    mean = total[0] / static_cast<float>(a.C);
    total[0] = 0;
#pragma unroll
    for (int j = 0; j < columns.runs(); ++j) {
      float(&v)[kN] = s[kHeld ? j : 0];
      const int c = columns.column(j);
      if (c >= columns.C) break;
      if constexpr (!kHeld) load(v, stored + at + c);
#pragma unroll
      for (int i = 0; i < kN; ++i) total[0] += (v[i] - mean) * (v[i] - mean);
    }
    team_sum(total, a.team_warps, shared);
  }
  const float rstd = 1.0f / sqrtf(total[0] / static_cast<float>(a.C) + a.eps);
#pragma unroll
  for (int j = 0; j < columns.runs(); ++j) {
    float(&v)[kN] = s[kHeld ? j : 0];
    const int c = columns.column(j);
    if (c >= columns.C) break;
    if constexpr (!kHeld) load(v, stored + at + c);
    float w[kN], b[kN] = {};
    load(w, a.weight + c);
    if (kLayer && a.bias) load(b, a.bias + c);
#pragma unroll
    for (int i = 0; i < kN; ++i) v[i] = (v[i] - mean) * rstd * (a.offset + w[i]) + b[i];
    store(a.y + at + c, v);
  }
  if (thread > 0 || row >= a.rows) return;
  if (kLayer) a.mean[row] = mean;
  a.rstd[row] = rstd;
}

template <class T>
struct NormBackwardArgs {
  T *dsum, *ddelta;
  float* partial;  // (groups, n_sums, C): of dweight, then of dbias
  const T *dy, *sum;
  const float *mean, *rstd, *weight;
  std::int64_t rows, rows_per_sequence, rows_per_group;
  int C, n_sums;
  float offset;
  DropoutMask mask;
  int team_warps;
};

// x̂ of a run
template <class T, int kN>
__device__ __forceinline__ void load_normed(float (&hat)[kN], const T* sum, float mean,
                                            float rstd) {
  load(hat, sum);
#pragma unroll
  for (int i = 0; i < kN; ++i) hat[i] = (hat[i] - mean) * rstd;
}

// g of a run
template <int kN>
__device__ __forceinline__ void load_scaled(float (&g)[kN], const float (&dy)[kN],
                                            const float* weight, float offset) {
  float w[kN];
  load(w, weight);
#pragma unroll
  for (int i = 0; i < kN; ++i) g[i] = dy[i] * (offset + w[i]);
}

// p <- (p, or 0 the first time) + a·b, or + a
template <int kN>
__device__ __forceinline__ void add_run(float* p, const float (&a)[kN], const float (&b)[kN],
                                        bool first_time) {
  float sum[kN] = {};
  if (!first_time) load(sum, p);
#pragma unroll
  for (int i = 0; i < kN; ++i) sum[i] += a[i] * b[i];
  store(p, sum);
}
template <int kN>
__device__ __forceinline__ void add_run(float* p, const float (&a)[kN], bool first_time) {
  float sum[kN] = {};
  if (!first_time) load(sum, p);
#pragma unroll
  for (int i = 0; i < kN; ++i) sum[i] += a[i];
  store(p, sum);
}

// after <- before (or 0) + mine, of the thread's columns.
template <int kN, int kKept>
__device__ __forceinline__ void add_columns(float* after, const float* before,
                                            const float (&mine)[kKept][kN],
                                            const Columns<kN, true>& columns) {
#pragma unroll
  for (int j = 0; j < kKept; ++j) {
    const int c = columns.column(j);
    if (c >= columns.C) break;
    float sum[kN] = {};
    if (before) load(sum, before + c);
#pragma unroll
    for (int i = 0; i < kN; ++i) sum[i] += mine[j][i];
    store(after + c, sum);
  }
}

// A block takes one group of rows, its teams one row each at a time; threads keep their columns of
// dweight and dbias. With x̂ = (sum - mean)·rstd and g = dy·(offset + weight):  dsum += rstd·(g -
// mean(g) - x̂·mean(g·x̂));  dweight += dy·x̂;  dbias += dy.
template <class T, int kN, bool kLayer, bool kHeld>
__global__ void __launch_bounds__(1024, 1) norm_backward_kernel(NormBackwardArgs<T> a) {
  using Runs = Columns<kN, kHeld>;
  constexpr int kSums = kLayer ? 2 : 1;  // Σ g·x̂, Σ g
  float* shared = shared_memory<float>();
  const int team_threads = a.team_warps * 32, team = static_cast<int>(threadIdx.x) / team_threads,
            teams = static_cast<int>(blockDim.x) / team_threads;
  const int thread = static_cast<int>(threadIdx.x) - team * team_threads;
  const std::int64_t begin = static_cast<std::int64_t>(blockIdx.x) * a.rows_per_group;
  const std::int64_t end = begin + a.rows_per_group < a.rows ? begin + a.rows_per_group : a.rows;
  float* partial = a.partial + static_cast<std::int64_t>(blockIdx.x) * a.n_sums * a.C;
  float g[Runs::kKept][kN], hat[Runs::kKept][kN], dweight[Runs::kKept][kN] = {},
                                                  dbias[Runs::kKept][kN] = {};

  for (std::int64_t first = begin; first < end; first += teams) {
    const std::int64_t row = first + team, at = row * a.C;
    const Runs columns(thread, team_threads, row < end ? a.C : 0);
    const float rstd = row < end ? a.rstd[row] : 0, mean = kLayer && row < end ? a.mean[row] : 0;
    float total[kSums] = {};
#pragma unroll
    for (int j = 0; j < columns.runs(); ++j) {
      const int k = kHeld ? j : 0, c = columns.column(j);
      if (c >= columns.C) break;
      float dy[kN];
      load(dy, a.dy + at + c);
      load_normed(hat[k], a.sum + at + c, mean, rstd);
      if constexpr (!kHeld) {  // rows this long have one team, whose thread alone touches these
                               // columns
        add_run(partial + c, dy, hat[0], first == begin);
        if (a.n_sums == 2) add_run(partial + a.C + c, dy, first == begin);
      }
      load_scaled(g[k], dy, a.weight + c, a.offset);
#pragma unroll
      for (int i = 0; i < kN; ++i) {
        total[0] += g[k][i] * hat[k][i];
        if constexpr (kLayer) total[1] += g[k][i];
        if constexpr (kHeld) dweight[k][i] += dy[i] * hat[k][i];
        if constexpr (kHeld && kLayer) dbias[k][i] += dy[i];
      }
    }
    team_sum(total, a.team_warps, shared);
    const float gx_mean = total[0] / static_cast<float>(a.C),
                g_mean = kLayer ? total[kSums - 1] / static_cast<float>(a.C) : 0;
#pragma unroll
    for (int j = 0; j < columns.runs(); ++j) {
      const int k = kHeld ? j : 0, c = columns.column(j);
      if (c >= columns.C) break;
      if constexpr (!kHeld) {
        load(g[0], a.dy + at + c);
        load_scaled(g[0], g[0], a.weight + c, a.offset);
        load_normed(hat[0], a.sum + at + c, mean, rstd);
      }
      float d[kN];
      load(d, a.dsum + at + c);
#pragma unroll
      for (int i = 0; i < kN; ++i) d[i] += rstd * (g[k][i] - g_mean - hat[k][i] * gx_mean);
      store(a.dsum + at + c, d);
      if (!a.ddelta) continue;
      if (a.mask.threshold) {
        float factor[kN];
        dropout_factors(factor, a.mask, row / a.rows_per_sequence,
                        row % a.rows_per_sequence * a.C + c);
#pragma unroll
        for (int i = 0; i < kN; ++i) d[i] *= factor[i];
      }
      store(a.ddelta + at + c, d);
    }
  }

  if constexpr (kHeld) {  // the teams' sums, one team after the other
    const Runs columns(thread, team_threads, a.C);
    float* sums = shared + kReduceFloats<kSums>;  // (n_sums, C)
    for (int turn = 0; turn < teams; ++turn) {
      if (team == turn) {
        const float* before = turn > 0 ? sums : nullptr;
        float* after = turn == teams - 1 ? partial : sums;
        add_columns(after, before, dweight, columns);
        if (kLayer && a.n_sums == 2)
          add_columns(after + a.C, before ? before + a.C : nullptr, dbias, columns);
      }
      __syncthreads();
    }
  }
}

namespace {

// f(elements at a time, whether a row stays in registers), both integral constants.
template <class T, class F>
void for_row(bool packed, std::int64_t C, const F& f) {
  for_pack<kRun<T>>(packed, [&](auto n) {
    if (C <= 32 * 32 * kThreadElems<n()>)
      f(n, std::true_type());
    else
      f(n, std::false_type());
  });
}

template <bool kLayer>
void add_norm(View y, View sum, View mean, View rstd, ConstView x, ConstView delta,
              ConstView weight, ConstView bias, float offset, float eps, const Dropout& drop,
              Stream& stream) {
  if (y.empty()) {
    if (!delta.empty())
      add_dropout(sum, x, delta, drop, stream);
    else if (!sum.empty() && sum.data() != x.data())
      copy_bytes(sum.data(), x.data(), x.bytes(), stream);
    return;
  }
  const auto [B, T, C] = x.dims<3>();
  const std::int64_t N = B * T;
  const int moved = 2 + (delta.empty() ? 0 : 1) +
                    (!delta.empty() || (!sum.empty() && sum.data() != x.data()) ? 1 : 0);
  const Work work = {static_cast<double>(moved) * static_cast<double>(x.bytes()) +
                         static_cast<double>(N * 8 + C * 8),
                     8 * static_cast<double>(x.elems())};
  const bool packed =
      packs(C, y.data(), sum.data(), x.data(), delta.data(), weight.data(), bias.data());
  for_act(x.dtype(), [&, T = T, C = C](auto zero) {
    using Act = decltype(zero);
    NormArgs<Act> args = {pointer<Act>(y),
                          pointer<Act>(sum),
                          pointer<float>(mean),
                          pointer<float>(rstd),
                          pointer<Act>(x),
                          pointer<Act>(delta),
                          pointer<float>(weight),
                          pointer<float>(bias),
                          N,
                          T,
                          as_int(C),
                          offset,
                          eps,
                          dropout_mask(drop),
                          0};
    for_row<Act>(packed, C, [&](auto n, auto in_registers) {
      const Teams teams(N, C, kThreadElems<n()>, 8);
      args.team_warps = teams.warps;
      const LaunchShape shape = {{n_blocks(ceil_div(N, teams.count))},
                                 {teams.threads()},
                                 kReduceFloats<1> * sizeof(float)};
      launch(add_norm_kernel<Act, n(), kLayer, in_registers()>, shape, work, stream, args);
    });
  });
}

// The groups depend on N alone: sums do not know the device. 512 of them fill the largest, and
// cost a tenth of the rows' traffic at 16 rows each.
std::int64_t rows_of_group(std::int64_t N) {
  return ceil_div(N, std::clamp<std::int64_t>(ceil_div(N, 16), 1, 512));
}

template <bool kLayer>
void norm_backward(View dsum, View ddelta, Gradient dweight, Gradient dbias, ConstView dy,
                   ConstView sum, ConstView mean, ConstView rstd, ConstView weight, float offset,
                   const Dropout& drop, Stream& stream) {
  if (dy.empty()) {
    if (!ddelta.empty()) dropout(ddelta, dsum, drop, stream);
    return;
  }
  const auto [B, T, C] = dsum.dims<3>();
  const std::int64_t N = B * T, rows_per_group = rows_of_group(N),
                     groups = ceil_div(N, rows_per_group);
  const int n_sums = dbias.empty() ? 1 : 2;
  auto* partial = static_cast<float*>(stream.scratch(norm_backward_scratch_bytes(N, C, n_sums)));
  const Work work = {(ddelta.empty() ? 4.0 : 5.0) * static_cast<double>(dsum.bytes()) +
                         static_cast<double>(N * 8 + C * 4 * (1 + n_sums * groups)),
                     16 * static_cast<double>(dsum.elems())};
  const bool packed = packs(C, dsum.data(), ddelta.data(), dy.data(), sum.data(), weight.data());
  for_act(dsum.dtype(), [&, T = T, C = C](auto zero) {
    using Act = decltype(zero);
    NormBackwardArgs<Act> args = {pointer<Act>(dsum),
                                  pointer<Act>(ddelta),
                                  partial,
                                  pointer<Act>(dy),
                                  pointer<Act>(sum),
                                  pointer<float>(mean),
                                  pointer<float>(rstd),
                                  pointer<float>(weight),
                                  N,
                                  T,
                                  rows_per_group,
                                  as_int(C),
                                  n_sums,
                                  offset,
                                  dropout_mask(drop),
                                  0};
    for_row<Act>(packed, C, [&](auto n, auto in_registers) {
      const Teams teams(rows_per_group, C, kThreadElems<n()>, 16);
      args.team_warps = teams.warps;
      const std::size_t shared_floats =
          kReduceFloats<2> + (teams.count > 1 ? static_cast<std::size_t>(n_sums * C) : 0);
      const LaunchShape shape = {
          {static_cast<unsigned>(groups)}, {teams.threads()}, shared_floats * sizeof(float)};
      launch(norm_backward_kernel<Act, n(), kLayer, in_registers()>, shape, work, stream, args);
    });
  });
  add_column_sums(dweight, dbias, partial, groups, C, stream);
}

}  // namespace

std::size_t norm_backward_scratch_bytes(std::int64_t N, std::int64_t C, int n_sums) {
  return static_cast<std::size_t>(ceil_div(N, rows_of_group(N)) * n_sums * C) * sizeof(float);
}

void add_layer_norm(View y, View sum, View mean, View rstd, ConstView x, ConstView delta,
                    ConstView weight, ConstView bias, float eps, const Dropout& drop,
                    Stream& stream) {
  add_norm<true>(y, sum, mean, rstd, x, delta, weight, bias, 0, eps, drop, stream);
}

void add_layer_norm_backward(View dsum, View ddelta, Gradient dweight, Gradient dbias, ConstView dy,
                             ConstView sum, ConstView mean, ConstView rstd, ConstView weight,
                             const Dropout& drop, Stream& stream) {
  norm_backward<true>(dsum, ddelta, dweight, dbias, dy, sum, mean, rstd, weight, 0, drop, stream);
}

void add_rms_norm(View y, View sum, View rstd, ConstView x, ConstView delta, ConstView weight,
                  float offset, float eps, const Dropout& drop, Stream& stream) {
  add_norm<false>(y, sum, View(), rstd, x, delta, weight, ConstView(), offset, eps, drop, stream);
}

void add_rms_norm_backward(View dsum, View ddelta, Gradient dweight, ConstView dy, ConstView sum,
                           ConstView rstd, ConstView weight, float offset, const Dropout& drop,
                           Stream& stream) {
  norm_backward<false>(dsum, ddelta, dweight, View(), dy, sum, ConstView(), rstd, weight, offset,
                       drop, stream);
}

}  // namespace weft::cuda

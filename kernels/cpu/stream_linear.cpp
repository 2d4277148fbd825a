#include "kernels/cpu/stream_linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stream_linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <omp.h>

#include <algorithm>
#include <type_traits>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// Lanes weights of any storage type, widened to fp32.
HWY_INLINE hn::Vec<F> load(F d, const float* w) { return hn::LoadU(d, w); }
HWY_INLINE hn::Vec<F> load(F d, const BFloat16* w) {
  const hn::Rebind<hwy::bfloat16_t, F> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::bfloat16_t*>(w)));
}
HWY_INLINE hn::Vec<F> load(F d, const Float16* w) {
  const hn::Rebind<hwy::float16_t, F> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(w)));
}
inline float widen(float w) { return w; }
inline float widen(BFloat16 w) { return to_float(w); }
inline float widen(Float16 w) { return to_float(w); }
template <class W>
HWY_INLINE void widen_row(float* HWY_RESTRICT to, const W* HWY_RESTRICT from, std::int64_t n) {
  const F d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load(d, from + i), d, to + i);
  for (; i < n; ++i) to[i] = widen(from[i]);
}

// The sum of a vector's lanes: of each four of them first, then of the fours. Of four vectors side
// by side the same with half of the shuffles.
#if HWY_TARGET == HWY_SCALAR || HWY_HAVE_SCALABLE
HWY_INLINE float sum_of(F d, hn::Vec<F> v) { return hn::GetLane(hn::SumOfLanes(d, v)); }
HWY_INLINE void sums_of(F d, const hn::Vec<F> (&v)[4], float* to) {
  for (int r = 0; r < 4; ++r) to[r] = sum_of(d, v[r]);
}
#else
template <class D>
HWY_INLINE hn::Vec<hn::FixedTag<float, 4> > sum_of_fours(D d, hn::Vec<D> v) {
  if constexpr (hn::MaxLanes(D()) == 4) {
    return v;
  } else {
    const hn::Half<D> half;
    return sum_of_fours(half, hn::Add(hn::LowerHalf(half, v), hn::UpperHalf(half, v)));
  }
}
HWY_INLINE float sum_of(F d, hn::Vec<F> v) {
  const auto pairs = hn::Add(v, hn::Shuffle1032(v));
  return hn::GetLane(sum_of_fours(d, hn::Add(pairs, hn::Shuffle2301(pairs))));
}
HWY_INLINE void sums_of(F d, const hn::Vec<F> (&v)[4], float* to) {
  const hn::Repartition<double, F> wide;
  const auto pairs = [&](hn::Vec<F> a, hn::Vec<F> b) HWY_ATTR {
    return hn::BitCast(wide, hn::Add(hn::InterleaveLower(d, a, b), hn::InterleaveUpper(d, a, b)));
  };
  const auto low = pairs(v[0], v[1]), high = pairs(v[2], v[3]);
  const auto fours = hn::Add(hn::BitCast(d, hn::InterleaveLower(wide, low, high)),
                             hn::BitCast(d, hn::InterleaveUpper(wide, low, high)));
  hn::StoreU(sum_of_fours(d, fours), hn::FixedTag<float, 4>(), to);
}
#endif

// R rows of w against N rows of x over K features: y[n][o] for o in [0, R), or added to it. One
// accumulator a pair, whatever R and N are.
template <int R, int N, class W>
HWY_INLINE void dot_rows(float* HWY_RESTRICT y, std::int64_t ldy, const float* HWY_RESTRICT x,
                         std::int64_t ldx, const W* HWY_RESTRICT w, std::int64_t ldw,
                         std::int64_t K, bool add) {
  const F d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<F> sums[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[r][n] = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + lanes <= K; i += lanes) {
    hn::Vec<F> weights[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) weights[r] = load(d, w + r * ldw + i);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const hn::Vec<F> inputs = hn::LoadU(d, x + n * ldx + i);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) sums[r][n] = hn::MulAdd(weights[r], inputs, sums[r][n]);
    }
  }
#pragma GCC unroll 8
  for (int n = 0; n < N; ++n) {
    float whole[R];
    if constexpr (R == 4) {
      sums_of(d, {sums[0][n], sums[1][n], sums[2][n], sums[3][n]}, whole);
    } else {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) whole[r] = sum_of(d, sums[r][n]);
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      float sum = whole[r];
      for (std::int64_t j = i; j < K; ++j) sum += widen(w[r * ldw + j]) * x[n * ldx + j];
      float& to = y[n * ldy + r];
      to = add ? to + sum : sum;
    }
  }
}

// body(first, size) for the parts of [0, I), one at least, that sums run over by themselves.
template <class Body>
HWY_INLINE void each_part(std::int64_t I, const Body& body) {
  std::int64_t k = 0;
  do {
    body(k, std::min(kStreamPart, I - k));
    k += kStreamPart;
  } while (k < I);
}

void add_bias(const StreamOutputs& to, std::int64_t N) {
  if (!to.bias) return;
  for (std::int64_t n = 0; n < N; ++n)
    for (std::int64_t o = to.begin; o < to.end; ++o) to.y[n * to.ldy + o] += to.bias[o];
}

template <int N, class W>
void few_rows(const StreamOutputs& to, const float* x, const W* w, std::int64_t I) {
  // One row of x is bound by memory: w is then read strictly in sequence, which its prefetchers
  // like best (measured: a tenth more than eight rows of w at a time). For more, as many sums at a
  // time as the registers hold beside their factors.
  constexpr int kSums = HWY_TARGET == HWY_AVX3 ? 24 : 12;
  constexpr int R = N == 1 ? 1 : std::max(1, std::min(8, kSums / N));
  std::int64_t o = to.begin;
  for (; o + R <= to.end; o += R)
    each_part(I, [&](std::int64_t k, std::int64_t K) HWY_ATTR {
      dot_rows<R, N>(to.y + o, to.ldy, x + k, I, w + o * I + k, I, K, k > 0);
    });
  for (; o < to.end; ++o)
    each_part(I, [&](std::int64_t k, std::int64_t K) HWY_ATTR {
      dot_rows<1, N>(to.y + o, to.ldy, x + k, I, w + o * I + k, I, K, k > 0);
    });
  add_bias(to, N);
}

template <class W>
void any_few_rows(const StreamOutputs& to, const float* x, const W* w, std::int64_t I,
                  std::int64_t N) {
  switch (N) {
    case 1:
      return few_rows<1>(to, x, w, I);
    case 2:
      return few_rows<2>(to, x, w, I);
    case 3:
      return few_rows<3>(to, x, w, I);
    case 4:
      return few_rows<4>(to, x, w, I);
    case 5:
      return few_rows<5>(to, x, w, I);
    case 6:
      return few_rows<6>(to, x, w, I);
    case 7:
      return few_rows<7>(to, x, w, I);
    case 8:
      return few_rows<8>(to, x, w, I);
  }
}

// Of many rows, as many pairs at once as the registers hold beside their factors.
constexpr int kBlockRows = HWY_TARGET == HWY_AVX3 ? 6 : 4,
              kBlockFeatures = HWY_TARGET == HWY_AVX3 ? 4 : 3;

// Rows of w that meet all rows of x before the next ones do: they stay in a cache, and a block of x
// in the first one.
template <class W>
constexpr std::int64_t kChunkFeatures = std::is_same_v<W, float> ? 48 : kBlockFeatures;

// n_features rows of w against n_rows of x.
template <int N = kBlockRows>
HWY_INLINE void chunk_rows(float* y, std::int64_t ldy, const float* x, std::int64_t ldx,
                           std::int64_t n_rows, const float* w, std::int64_t ldw,
                           std::int64_t n_features, std::int64_t K, bool add) {
  std::int64_t n = 0;
  for (; n + N <= n_rows; n += N) {
    float* to = y + n * ldy;
    const float* from = x + n * ldx;
    std::int64_t o = 0;
    for (; o + kBlockFeatures <= n_features; o += kBlockFeatures)
      dot_rows<kBlockFeatures, N>(to + o, ldy, from, ldx, w + o * ldw, ldw, K, add);
    for (; o < n_features; ++o) dot_rows<1, N>(to + o, ldy, from, ldx, w + o * ldw, ldw, K, add);
  }
  if constexpr (N > 1)
    if (n < n_rows)
      chunk_rows<N - 1>(y + n * ldy, ldy, x + n * ldx, ldx, n_rows - n, w, ldw, n_features, K, add);
}

// A panel of many rows: a part of x is packed, which keeps its rows out of each other's cache sets,
// and what it meets of w is widened once for all of them.
template <class W>
void panel_rows(const StreamOutputs& to, const float* x, const W* w, std::int64_t I, std::int64_t N,
                float* packed) {
  constexpr std::int64_t kLd = kStreamPart + 16;
  each_part(I, [&](std::int64_t k, std::int64_t K) HWY_ATTR {
    for (std::int64_t n = 0; n < N; ++n) std::copy_n(x + n * I + k, K, packed + n * kLd);
    for (std::int64_t o = to.begin; o < to.end; o += kChunkFeatures<W>) {
      const std::int64_t n_features = std::min(kChunkFeatures<W>, to.end - o);
      const W* rows = w + o * I + k;
      if constexpr (std::is_same_v<W, float>) {
        chunk_rows(to.y + o, to.ldy, packed, kLd, N, rows, I, n_features, K, k > 0);
      } else {
        float wide[kBlockFeatures * kStreamPart];
        for (std::int64_t r = 0; r < n_features; ++r)
          widen_row(wide + r * kStreamPart, rows + r * I, K);
        chunk_rows(to.y + o, to.ldy, packed, kLd, N, wide, kStreamPart, n_features, K, k > 0);
      }
    }
  });
  add_bias(to, N);
}

template <class W>
void rows_of(const StreamOutputs& to, const float* x, const W* w, std::int64_t I, std::int64_t N,
             float* packed) {
  if (packed)
    panel_rows(to, x, w, I, N, packed);
  else
    any_few_rows(to, x, w, I, N);
}

// Up to kStreamLinearRows rows, or a panel of them where there is memory to pack it.
void StreamRows(const StreamOutputs& to, const float* x, const void* w, DType dtype, std::int64_t I,
                std::int64_t N, float* packed) {
  if (dtype == DType::f32)
    rows_of(to, x, static_cast<const float*>(w), I, N, packed);
  else if (dtype == DType::bf16)
    rows_of(to, x, static_cast<const BFloat16*>(w), I, N, packed);
  else
    rows_of(to, x, static_cast<const Float16*>(w), I, N, packed);
}

void ColumnSums(float* sums, const float* x, std::int64_t N, std::int64_t O, std::int64_t begin,
                std::int64_t end) {
  const F d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t o = begin;
  for (; o + 4 * lanes <= end; o += 4 * lanes) {
    hn::Vec<F> s[4];
    for (int k = 0; k < 4; ++k) s[k] = hn::Zero(d);
    for (std::int64_t n = 0; n < N; ++n)
      for (int k = 0; k < 4; ++k) s[k] = hn::Add(s[k], hn::LoadU(d, x + n * O + o + k * lanes));
    for (int k = 0; k < 4; ++k)
      hn::StoreU(hn::Add(s[k], hn::LoadU(d, sums + o + k * lanes)), d, sums + o + k * lanes);
  }
  for (; o < end; ++o) {
    float s = 0;
    for (std::int64_t n = 0; n < N; ++n) s += x[n * O + o];
    sums[o] += s;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(StreamRows);
HWY_EXPORT(ColumnSums);

namespace {

constexpr std::size_t kPackedElems = kStreamPanel * (kStreamPart + 16);

// Of rows beyond few, a panel is packed by each thread.
std::size_t packed_bytes(std::int64_t N, int n_threads) {
  return N <= kStreamLinearRows
             ? 0
             : kPackedElems * sizeof(float) * static_cast<std::size_t>(n_threads);
}

}  // namespace

std::size_t stream_linear_scratch_bytes(const LinearSizes& s, int n_threads) {
  if (s.precision != Precision::bf16) return packed_bytes(s.N, n_threads);
  return static_cast<std::size_t>(s.N * s.I + (s.weight == DType::bf16 ? 0 : s.O * s.I)) *
         sizeof(float);
}

void stream_linear(float* y, const float* x, ConstView w, const float* bias, std::int64_t N,
                   Precision precision, Stream& stream) {
  const std::int64_t O = w.dim(0), I = w.dim(1);
  auto* scratch = static_cast<float*>(stream.scratch(stream_linear_scratch_bytes(
      {.N = N, .O = O, .I = I, .weight = w.dtype(), .precision = precision}, stream.n_threads())));
  if (precision == Precision::bf16) {  // rounds both factors; scratch holds the rounded x, and w
                                       // where it is not bf16 already
    const bool narrow = w.dtype() == DType::bf16;
    round_to_bf16(scratch, x, N * I, stream);
    x = scratch;
    if (!narrow) {
      const View weights(scratch + N * I, Dims{O, I});
      cpu::convert(weights, w, stream);
      round_to_bf16(weights.as<float>(), weights.as<float>(), O * I, stream);
      w = weights;
    }
  }
  const auto rows = [&](std::int64_t n, std::int64_t n_rows, std::int64_t begin, std::int64_t end,
                        float* packed) {
    HWY_DYNAMIC_DISPATCH(StreamRows)
    ({y + n * O, O, bias, begin, end}, x + n * I, w.data(), w.dtype(), I, n_rows, packed);
  };
  // Pieces of some 200 KB, or as many as keep the team busy.
  const std::int64_t busy = 4 * stream.n_threads();
  if (N <= kStreamLinearRows) {
    const std::int64_t fair = O / busy / 8 * 8;
    const std::int64_t grain = std::clamp<std::int64_t>(
        fair, 8, std::max<std::int64_t>(8, 49152 / std::max<std::int64_t>(I, 1) / 8 * 8));
    return parallel_tasks(stream, (O + grain - 1) / grain, [&](std::int64_t piece) {
      rows(0, N, piece * grain, std::min(O, (piece + 1) * grain), nullptr);
    });
  }
  // Each piece packs its panel, so there are no more of them than that takes.
  const std::int64_t panels = (N + kStreamPanel - 1) / kStreamPanel,
                     fair = O * panels / busy / 8 * 8,
                     grain = std::clamp<std::int64_t>(fair, 48, std::max<std::int64_t>(O, 48)),
                     pieces = (O + grain - 1) / grain;
  parallel_tasks(stream, panels * pieces, [&](std::int64_t task) {
    const std::int64_t n = task / pieces * kStreamPanel, begin = task % pieces * grain;
    rows(n, std::min(kStreamPanel, N - n), begin, std::min(O, begin + grain),
         scratch + kPackedElems * static_cast<std::size_t>(omp_get_thread_num()));
  });
}

void round_to_bf16(float* y, const float* x, std::int64_t n, Stream& stream) {
  parallel_for(stream, n, 1 << 14, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) y[i] = to_float(to_bfloat16(x[i]));
  });
}

void add_column_sums(float* sums, const float* x, std::int64_t N, std::int64_t O, Stream& stream) {
  parallel_for(stream, O, 64, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(ColumnSums)(sums, x, N, O, begin, end);
  });
}

}  // namespace weft::cpu
#endif

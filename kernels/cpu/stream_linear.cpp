#include "kernels/cpu/stream_linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stream_linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/widen-inl.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

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

// R rows of w against N rows of x over I features: y[n][o] for o in [0, R). One accumulator a pair,
// whatever R and N are.
template <int R, int N, class W>
HWY_INLINE void dot_rows(float* HWY_RESTRICT y, std::int64_t ldy, const float* HWY_RESTRICT x,
                         const W* HWY_RESTRICT w, std::int64_t I) {
  const F d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<F> sums[R][N];
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) sums[r][n] = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + lanes <= I; i += lanes) {
    hn::Vec<F> weights[R];
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) weights[r] = load(d, w + r * I + i);
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      const hn::Vec<F> inputs = hn::LoadU(d, x + n * I + i);
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
      for (std::int64_t j = i; j < I; ++j) sum += widen(w[r * I + j]) * x[n * I + j];
      y[n * ldy + r] = sum;
    }
  }
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
  constexpr int kSums = HWY_TARGET <= HWY_AVX3 ? 24 : 12;
  constexpr int R = N == 1 ? 1 : std::max(1, std::min(8, kSums / N));
  std::int64_t o = to.begin;
  for (; o + R <= to.end; o += R) dot_rows<R, N>(to.y + o, to.ldy, x, w + o * I, I);
  for (; o < to.end; ++o) dot_rows<1, N>(to.y + o, to.ldy, x, w + o * I, I);
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

// Up to kStreamLinearRows rows.
void StreamRows(const StreamOutputs& to, const float* x, const void* w, DType dtype, std::int64_t I,
                std::int64_t N) {
  if (dtype == DType::f32)
    any_few_rows(to, x, static_cast<const float*>(w), I, N);
  else if (dtype == DType::bf16)
    any_few_rows(to, x, static_cast<const BFloat16*>(w), I, N);
  else
    any_few_rows(to, x, static_cast<const Float16*>(w), I, N);
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

std::size_t stream_linear_scratch_bytes(const LinearSizes& s) {
  if (s.precision != Precision::bf16) return 0;
  return static_cast<std::size_t>(s.N * s.I + (s.weight == DType::bf16 ? 0 : s.O * s.I)) *
         sizeof(float);
}

void stream_linear(float* y, const float* x, ConstView w, const float* bias, std::int64_t N,
                   Precision precision, Stream& stream) {
  const std::int64_t O = w.dim(0), I = w.dim(1);
  auto* scratch = static_cast<float*>(stream.scratch(stream_linear_scratch_bytes(
      {.N = N, .O = O, .I = I, .weight = w.dtype(), .precision = precision})));
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
  // Pieces of some 200 KB, or as many as keep the team busy.
  const std::int64_t fair = O / (4 * stream.n_threads()) / 8 * 8;
  const std::int64_t grain = std::clamp<std::int64_t>(
      fair, 8, std::max<std::int64_t>(8, 49152 / std::max<std::int64_t>(I, 1) / 8 * 8));
  parallel_tasks(stream, (O + grain - 1) / grain, [&](std::int64_t piece) {
    HWY_DYNAMIC_DISPATCH(StreamRows)
    ({y, O, bias, piece * grain, std::min(O, (piece + 1) * grain)}, x, w.data(), w.dtype(), I, N);
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

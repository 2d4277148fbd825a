#include "kernels/cpu/stream_linear.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/stream_linear.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>

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

// R rows of w against N rows of x: y[n][o] for o in [0, R). One accumulator a pair, whatever R and
// N are.
template <int R, int N, class W>
HWY_INLINE void dot_rows(float* HWY_RESTRICT y, std::int64_t ldy, const float* HWY_RESTRICT x,
                         const W* HWY_RESTRICT w, const float* bias, std::int64_t I) {
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
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 8
    for (int n = 0; n < N; ++n) {
      float sum = hn::GetLane(hn::SumOfLanes(d, sums[r][n]));
      for (std::int64_t j = i; j < I; ++j) sum += widen(w[r * I + j]) * x[n * I + j];
      y[n * ldy + r] = sum + (bias ? bias[r] : 0.0f);
    }
}

template <int N, class W>
void rows_of(float* y, std::int64_t ldy, const float* x, const W* w, const float* bias,
             std::int64_t I, std::int64_t begin, std::int64_t end) {
  // One row of x is bound by memory: w is then read strictly in sequence, which its prefetchers
  // like best (measured: a tenth more than eight rows of w at a time). For more, as many sums at a
  // time as the registers hold beside their factors.
  constexpr int kSums = HWY_TARGET == HWY_AVX3 ? 24 : 12;
  constexpr int R = N == 1 ? 1 : std::max(1, std::min(8, kSums / N));
  std::int64_t o = begin;
  for (; o + R <= end; o += R)
    dot_rows<R, N>(y + o, ldy, x, w + o * I, bias ? bias + o : nullptr, I);
  for (; o < end; ++o) dot_rows<1, N>(y + o, ldy, x, w + o * I, bias ? bias + o : nullptr, I);
}

template <class W>
void any_rows(float* y, std::int64_t ldy, const float* x, const W* w, const float* bias,
              std::int64_t I, std::int64_t N, std::int64_t begin, std::int64_t end) {
  switch (N) {
    case 1:
      return rows_of<1>(y, ldy, x, w, bias, I, begin, end);
    case 2:
      return rows_of<2>(y, ldy, x, w, bias, I, begin, end);
    case 3:
      return rows_of<3>(y, ldy, x, w, bias, I, begin, end);
    case 4:
      return rows_of<4>(y, ldy, x, w, bias, I, begin, end);
    case 5:
      return rows_of<5>(y, ldy, x, w, bias, I, begin, end);
    case 6:
      return rows_of<6>(y, ldy, x, w, bias, I, begin, end);
    case 7:
      return rows_of<7>(y, ldy, x, w, bias, I, begin, end);
    case 8:
      return rows_of<8>(y, ldy, x, w, bias, I, begin, end);
  }
}

// Output features [begin, end).
void StreamRows(float* y, std::int64_t ldy, const float* x, const void* w, DType dtype,
                const float* bias, std::int64_t I, std::int64_t N, std::int64_t begin,
                std::int64_t end) {
  if (dtype == DType::f32)
    any_rows(y, ldy, x, static_cast<const float*>(w), bias, I, N, begin, end);
  else if (dtype == DType::bf16)
    any_rows(y, ldy, x, static_cast<const BFloat16*>(w), bias, I, N, begin, end);
  else
    any_rows(y, ldy, x, static_cast<const Float16*>(w), bias, I, N, begin, end);
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

std::size_t stream_linear_scratch_bytes(std::int64_t N, std::int64_t O, std::int64_t I,
                                        DType weight, Precision precision) {
  if (precision != Precision::bf16) return 0;
  return static_cast<std::size_t>(N * I + (weight == DType::bf16 ? 0 : O * I)) * sizeof(float);
}

void stream_linear(float* y, const float* x, ConstView w, const float* bias, std::int64_t N,
                   Precision precision, Stream& stream) {
  const std::int64_t O = w.dim(0), I = w.dim(1);
  if (precision == Precision::bf16) {  // rounds both factors; scratch holds the rounded x, and w
                                       // where it is not bf16 already
    const bool narrow = w.dtype() == DType::bf16;
    auto* rounded = static_cast<float*>(
        stream.scratch(stream_linear_scratch_bytes(N, O, I, w.dtype(), precision)));
    round_to_bf16(rounded, x, N * I, stream);
    x = rounded;
    if (!narrow) {
      const View weights(rounded + N * I, Dims{O, I});
      cpu::convert(weights, w, stream);
      round_to_bf16(weights.as<float>(), weights.as<float>(), O * I, stream);
      w = weights;
    }
  }
  // Pieces of some 200 KB, or as many as keep the team busy.
  const std::int64_t grain = std::clamp<std::int64_t>(
      O / (4 * stream.n_threads()) / 8 * 8, 8,
      std::max<std::int64_t>(8, 49152 / std::max<std::int64_t>(I, 1) / 8 * 8));
  parallel_tasks(stream, (O + grain - 1) / grain, [&](std::int64_t piece) {
    const std::int64_t begin = piece * grain, end = std::min(O, begin + grain);
    for (std::int64_t n = 0; n < N; n += kStreamLinearRows)  // a piece of w stays in the cache
      HWY_DYNAMIC_DISPATCH(StreamRows)
    (y + n * O, O, x + n * I, w.data(), w.dtype(), bias, I, std::min(kStreamLinearRows, N - n),
     begin, end);
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

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <cstring>

#include "kernels/backends.h"
#include "kernels/cpu/arguments.h"
#include "kernels/cpu/dropout_mask-inl.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// Σ f(i) over [0, n): vectors of i through `vector(i)`, the rest through `scalar(i)`.
template <class VectorF, class ScalarF>
HWY_INLINE float sum_over(std::int64_t n, const VectorF& vector, const ScalarF& scalar) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto s0 = hn::Zero(d), s1 = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    s0 = hn::Add(s0, vector(i));
    s1 = hn::Add(s1, vector(i + L));
  }
  for (; i + L <= n; i += L) s0 = hn::Add(s0, vector(i));
  float sum = hn::GetLane(hn::SumOfLanes(d, hn::Add(s0, s1)));
  for (; i < n; ++i) sum += scalar(i);
  return sum;
}

// sum = x + factor·delta. Any of sum == x, delta null, factor null is allowed.
void add_row(float* sum, const float* x, const float* delta, const float* factor, std::int64_t C) {
  if (!delta) {
    if (sum != x) std::memcpy(sum, x, static_cast<std::size_t>(C) * sizeof(float));
  } else if (!factor) {
    for (std::int64_t c = 0; c < C; ++c) sum[c] = x[c] + delta[c];
  } else {
    for (std::int64_t c = 0; c < C; ++c) sum[c] = x[c] + factor[c] * delta[c];
  }
}

// The weight as it multiplies; a layer norm's bits owe nothing to the offset.
template <bool kRms>
HWY_INLINE hn::Vec<F> weight_at(const float* weight, float offset, std::int64_t i) {
  const F d;
  if constexpr (kRms)
    return hn::Add(hn::Set(d, offset), hn::LoadU(d, weight + i));
  else
    return hn::LoadU(d, weight + i);
}

// Vectors of x̂ = (sum - mean)·rstd.
template <bool kRms>
HWY_INLINE hn::Vec<F> normed_at(const float* sum, hn::Vec<F> mean, hn::Vec<F> rstd,
                                std::int64_t i) {
  const F d;
  if constexpr (kRms)
    return hn::Mul(hn::LoadU(d, sum + i), rstd);
  else
    return hn::Mul(hn::Sub(hn::LoadU(d, sum + i), mean), rstd);
}

template <bool kRms>
void add_norm_row(const NormRow& r, float offset, float eps, const Dropout& drop, float* factor) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t C = r.C;
  const bool drops = r.delta && drop.p > 0;
  if (drops)
    dropout_factors(factor, dropout_key(drop), static_cast<std::uint64_t>(r.sequence), r.first_elem,
                    C);
  if (r.sum) add_row(r.sum, r.x, r.delta, drops ? factor : nullptr, C);
  if (!r.y) return;
  const float* s = r.sum ? r.sum : r.x;
  float mean = 0;
  if constexpr (!kRms)
    mean = sum_over(
               C, [&](std::int64_t i) { return hn::LoadU(d, s + i); },
               [&](std::int64_t i) { return s[i]; }) /
           static_cast<float>(C);
  const auto mean_v = hn::Set(d, mean);
  const float variance =
      sum_over(
          C,
          [&](std::int64_t i) {
            const auto centred = kRms ? hn::LoadU(d, s + i) : hn::Sub(hn::LoadU(d, s + i), mean_v);
            return hn::Mul(centred, centred);
          },
          [&](std::int64_t i) { return (s[i] - mean) * (s[i] - mean); }) /
      static_cast<float>(C);
  const float rstd = 1.0f / std::sqrt(variance + eps);
  const auto rstd_v = hn::Set(d, rstd);
  std::int64_t c = 0;
  for (; c + L <= C; c += L) {
    auto y = hn::Mul(normed_at<kRms>(s, mean_v, rstd_v, c), weight_at<kRms>(r.weight, offset, c));
    if (r.bias) y = hn::Add(y, hn::LoadU(d, r.bias + c));
    hn::StoreU(y, d, r.y + c);
  }
  for (; c < C; ++c)
    r.y[c] = (s[c] - mean) * rstd * (offset + r.weight[c]) + (r.bias ? r.bias[c] : 0.0f);
  if (!kRms) *r.mean = mean;
  *r.rstd = rstd;
}

// `factor` is scratch of C floats.
void AddNormRow(const NormRow& r, const NormKind& kind, float eps, const Dropout& drop,
                float* factor) {
  if (kind.rms)
    add_norm_row<true>(r, kind.offset, eps, drop, factor);
  else
    add_norm_row<false>(r, 0, eps, drop, factor);
}

// With x̂ = (sum - mean)·rstd and g = dy·weight:  dsum += rstd·(g - mean(g) - x̂·mean(g·x̂));
// dweight += dy·x̂;  dbias += dy. An rms norm has no mean, and so no mean(g).
template <bool kRms>
void norm_backward_row(const NormGradRow& r, float offset) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto [dsum, dweight, dbias, dy, sum, weight, mean, rstd, C] = r;
  const auto mean_v = hn::Set(d, mean), rstd_v = hn::Set(d, rstd);
  const auto normed = [&, sum = sum](std::int64_t i) {
    return normed_at<kRms>(sum, mean_v, rstd_v, i);
  };
  const auto g = [&, dy = dy, weight = weight](std::int64_t i) {
    return hn::Mul(hn::LoadU(d, dy + i), weight_at<kRms>(weight, offset, i));
  };
  const auto g_one = [=, dy = dy, weight = weight](std::int64_t i) {
    return dy[i] * (offset + weight[i]);
  };
  const float n = static_cast<float>(C);
  const float g_mean = kRms ? 0 : sum_over(C, g, g_one) / n;
  const float gx_mean = sum_over(
                            C, [&](std::int64_t i) { return hn::Mul(g(i), normed(i)); },
                            [&, sum = sum, mean = mean, rstd = rstd](std::int64_t i) {
                              return g_one(i) * (sum[i] - mean) * rstd;
                            }) /
                        n;
  const auto g_mean_v = hn::Set(d, g_mean), gx_mean_v = hn::Set(d, gx_mean);
  std::int64_t c = 0;
  for (; c + L <= C; c += L) {
    const auto x = normed(c), dy_c = hn::LoadU(d, dy + c);
    const auto inner = hn::Sub(kRms ? g(c) : hn::Sub(g(c), g_mean_v), hn::Mul(x, gx_mean_v));
    hn::StoreU(hn::MulAdd(rstd_v, inner, hn::LoadU(d, dsum + c)), d, dsum + c);
    hn::StoreU(hn::MulAdd(dy_c, x, hn::LoadU(d, dweight + c)), d, dweight + c);
    if (dbias) hn::StoreU(hn::Add(dy_c, hn::LoadU(d, dbias + c)), d, dbias + c);
  }
  for (; c < C; ++c) {
    const float x = (sum[c] - mean) * rstd;
    dsum[c] += rstd * (g_one(c) - g_mean - x * gx_mean);
    dweight[c] += dy[c] * x;
    if (dbias) dbias[c] += dy[c];
  }
}

void NormBackwardRow(const NormGradRow& r, const NormKind& kind) {
  if (kind.rms)
    norm_backward_row<true>(r, kind.offset);
  else
    norm_backward_row<false>(r, 0);
}

void DropGradientRow(float* ddelta, const float* dsum, const Dropout& drop, std::int64_t sequence,
                     std::int64_t first_elem, std::int64_t C, float* factor) {
  dropout_factors(factor, dropout_key(drop), static_cast<std::uint64_t>(sequence), first_elem, C);
  for (std::int64_t c = 0; c < C; ++c) ddelta[c] = factor[c] * dsum[c];
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(AddNormRow);
HWY_EXPORT(NormBackwardRow);
HWY_EXPORT(DropGradientRow);

namespace {
template <class V>
auto* row_or_null(const V& x, std::int64_t offset) {
  return x.empty() ? nullptr : x.template as<float>() + offset;
}

void add_norm(View y, View sum, View mean, View rstd, ConstView x, ConstView delta,
              ConstView weight, ConstView bias, const NormKind& kind, float eps,
              const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = x.dims<3>();
  const std::int64_t grain = row_grain(C), pieces = (B * T + grain - 1) / grain;
  const bool drops = !delta.empty() && drop.p > 0;
  auto* factors = drops ? static_cast<float*>(
                              stream.scratch(static_cast<std::size_t>(pieces * C) * sizeof(float)))
                        : nullptr;
  parallel_for(stream, B * T, grain, [&, T = T, C = C](std::int64_t begin, std::int64_t end) {
    float* factor = drops ? factors + begin / grain * C : nullptr;
    for (std::int64_t r = begin; r < end; ++r) {
      const NormRow row = {row_or_null(y, r * C),
                           row_or_null(sum, r * C),
                           row_or_null(mean, r),
                           row_or_null(rstd, r),
                           row_or_null(x, r * C),
                           row_or_null(delta, r * C),
                           row_or_null(weight, 0),
                           row_or_null(bias, 0),
                           C,
                           drop.first_sample + r / T,
                           r % T * C};
      HWY_DYNAMIC_DISPATCH(AddNormRow)(row, kind, eps, drop, factor);
    }
  });
}

void add_norm_backward(View dsum, View ddelta, Gradient dweight, Gradient dbias, ConstView dy,
                       ConstView sum, ConstView mean, ConstView rstd, ConstView weight,
                       const NormKind& kind, const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = dsum.dims<3>();
  const std::int64_t N = B * T;
  // dweight and dbias are summed in pieces that depend on N alone, then added up in order.
  const std::int64_t pieces = std::clamp<std::int64_t>(N / 32, 1, 64),
                     grain = (N + pieces - 1) / std::max<std::int64_t>(pieces, 1);
  const std::size_t bytes = static_cast<std::size_t>(3 * pieces * C) * sizeof(float);
  auto* partial = static_cast<float*>(stream.scratch(bytes));
  std::memset(partial, 0, bytes);
  parallel_for(stream, N, std::max<std::int64_t>(grain, 1),
               [&, T = T, C = C](std::int64_t begin, std::int64_t end) {
                 float* dw = partial + begin / grain * 3 * C;
                 for (std::int64_t r = begin; r < end; ++r) {
                   float* ds = dsum.as<float>() + r * C;
                   if (!dy.empty()) {
                     const NormGradRow row = {ds,
                                              dw,
                                              dbias.empty() ? nullptr : dw + C,
                                              dy.as<float>() + r * C,
                                              sum.as<float>() + r * C,
                                              weight.as<float>(),
                                              kind.rms ? 0 : mean.as<float>()[r],
                                              rstd.as<float>()[r],
                                              C};
                     HWY_DYNAMIC_DISPATCH(NormBackwardRow)(row, kind);
                   }
                   if (ddelta.empty()) continue;
                   float* dd = ddelta.as<float>() + r * C;
                   if (drop.p > 0) HWY_DYNAMIC_DISPATCH(DropGradientRow)
                   (dd, ds, drop, drop.first_sample + r / T, r % T * C, C, dw + 2 * C);
                   else std::memcpy(dd, ds, static_cast<std::size_t>(C) * sizeof(float));
                 }
               });
  if (dy.empty()) return;
  join_pieces(dweight, partial, pieces, 3 * C, C);
  if (!dbias.empty()) join_pieces(dbias, partial + C, pieces, 3 * C, C);
}

}  // namespace

void add_layer_norm(View y, View sum, View mean, View rstd, ConstView x, ConstView delta,
                    ConstView weight, ConstView bias, float eps, const Dropout& drop,
                    Stream& stream) {
  add_norm(y, sum, mean, rstd, x, delta, weight, bias, {}, eps, drop, stream);
}

void add_layer_norm_backward(View dsum, View ddelta, Gradient dweight, Gradient dbias, ConstView dy,
                             ConstView sum, ConstView mean, ConstView rstd, ConstView weight,
                             const Dropout& drop, Stream& stream) {
  add_norm_backward(dsum, ddelta, dweight, dbias, dy, sum, mean, rstd, weight, {}, drop, stream);
}

void add_rms_norm(View y, View sum, View rstd, ConstView x, ConstView delta, ConstView weight,
                  float offset, float eps, const Dropout& drop, Stream& stream) {
  add_norm(y, sum, View(), rstd, x, delta, weight, ConstView(), {true, offset}, eps, drop, stream);
}

void add_rms_norm_backward(View dsum, View ddelta, Gradient dweight, ConstView dy, ConstView sum,
                           ConstView rstd, ConstView weight, float offset, const Dropout& drop,
                           Stream& stream) {
  add_norm_backward(dsum, ddelta, dweight, View(), dy, sum, ConstView(), rstd, weight,
                    {true, offset}, drop, stream);
}

}  // namespace weft::cpu
#endif

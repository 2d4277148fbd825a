#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/loss.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/soft_cap.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// z of a vector of logits, and dz/dlogit from it.
struct Uncapped {
  HWY_INLINE hn::Vec<F> z(F, hn::Vec<F> logit) const { return logit; }
  HWY_INLINE hn::Vec<F> times_slope(F, hn::Vec<F> x, hn::Vec<F>) const { return x; }
};
struct Capped {
  float cap;
  HWY_INLINE hn::Vec<F> z(F d, hn::Vec<F> logit) const {
    return hn::Mul(hn::Set(d, cap), hn::Tanh(d, hn::Div(logit, hn::Set(d, cap))));
  }
  HWY_INLINE hn::Vec<F> times_slope(F d, hn::Vec<F> x, hn::Vec<F> z) const {
    const auto tanh = hn::Div(z, hn::Set(d, cap));
    return hn::Mul(x, hn::NegMulAdd(tanh, tanh, hn::Set(d, 1.0f)));
  }
};

// stats = {max, Σ exp(z - max)} of one row. The cap is monotone: the largest z is that of the
// largest logit.
template <class Cap>
void row_stats(float* stats, const float* logits, std::int64_t V, float softcap, const Cap& cap) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  float max = -std::numeric_limits<float>::infinity();
  auto max_v = hn::Set(d, max);
  std::int64_t v = 0;
  for (; v + L <= V; v += L) max_v = hn::Max(max_v, hn::LoadU(d, logits + v));
  max = hn::GetLane(hn::MaxOfLanes(d, max_v));
  for (; v < V; ++v) max = std::max(max, logits[v]);
  max = capped(max, softcap);
  max_v = hn::Set(d, max);
  // A double sum over runs of vectors: 50,000 fp32 terms of one sign would lose digits.
  double sum = 0;
  constexpr std::int64_t kRun = 64;
  for (v = 0; v + L <= V;) {
    auto run = hn::Zero(d);
    for (std::int64_t k = 0; k < kRun && v + L <= V; ++k, v += L)
      run = hn::Add(run, hn::Exp(d, hn::Sub(cap.z(d, hn::LoadU(d, logits + v)), max_v)));
    sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, run)));
  }
  for (; v < V; ++v) sum += std::exp(capped(logits[v], softcap) - max);
  stats[0] = max;
  stats[1] = static_cast<float>(sum);
}

void RowStats(float* stats, const float* logits, std::int64_t V, float softcap) {
  if (softcap == 0)
    row_stats(stats, logits, V, softcap, Uncapped());
  else
    row_stats(stats, logits, V, softcap, Capped{softcap});
}

// logits <- scale·exp(z - lse)·dz/dlogit
template <class Cap>
void row_softmax(float* logits, float lse, float scale, std::int64_t V, float softcap,
                 const Cap& cap) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto lse_v = hn::Set(d, lse), scale_v = hn::Set(d, scale);
  std::int64_t v = 0;
  for (; v + L <= V; v += L) {
    const auto z = cap.z(d, hn::LoadU(d, logits + v));
    hn::StoreU(cap.times_slope(d, hn::Mul(scale_v, hn::Exp(d, hn::Sub(z, lse_v))), z), d,
               logits + v);
  }
  for (; v < V; ++v)
    logits[v] = scale * std::exp(capped(logits[v], softcap) - lse) * cap_slope(logits[v], softcap);
}

void RowSoftmax(float* logits, float lse, float scale, std::int64_t V, float softcap) {
  if (softcap == 0)
    row_softmax(logits, lse, scale, V, softcap, Uncapped());
  else
    row_softmax(logits, lse, scale, V, softcap, Capped{softcap});
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(RowStats);
HWY_EXPORT(RowSoftmax);

void cross_entropy_stats(View stats, ConstView logits, ConstView labels, VocabColumns columns,
                         float softcap, Stream& stream) {
  const std::int64_t N = logits.dim(0), W = logits.dim(1), V = columns.n;
  const auto* label = labels.as<std::int32_t>();
  parallel_for(stream, N, row_grain(V), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      float* out = stats.as<float>() + 3 * n;
      const float* row = logits.as<float>() + n * W;
      HWY_DYNAMIC_DISPATCH(RowStats)(out, row, V, softcap);
      const std::int64_t v = label[n] - columns.first;
      out[2] = label[n] != kIgnoreLabel && v >= 0 && v < V ? capped(row[v], softcap) : 0.0f;
    }
  });
}

void cross_entropy_combine(View loss, View lse, ConstView stats, ConstView labels, Stream&) {
  const std::int64_t shards = stats.dim(0), N = stats.dim(1);
  const auto* in = stats.as<float>();
  for (std::int64_t n = 0; n < N; ++n) {
    float max = -std::numeric_limits<float>::infinity();
    for (std::int64_t s = 0; s < shards; ++s) max = std::max(max, in[(s * N + n) * 3]);
    double sum = 0, label_logit = 0;
    for (std::int64_t s = 0; s < shards; ++s) {
      const float* shard = in + (s * N + n) * 3;
      if (shard[1] > 0)
        sum += static_cast<double>(shard[1]) * std::exp(static_cast<double>(shard[0]) - max);
      label_logit += shard[2];
    }
    const double total = max + std::log(sum);
    lse.as<float>()[n] = static_cast<float>(total);
    loss.as<float>()[n] = labels.as<std::int32_t>()[n] == kIgnoreLabel
                              ? 0.0f
                              : static_cast<float>(total - label_logit);
  }
}

void cross_entropy_backward(View logits, ConstView lse, ConstView labels, VocabColumns columns,
                            float scale, float softcap, Stream& stream) {
  const std::int64_t N = logits.dim(0), W = logits.dim(1), V = columns.n;
  const auto* label = labels.as<std::int32_t>();
  parallel_for(stream, N, row_grain(V), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      float* row = logits.as<float>() + n * W;
      std::fill(row + V, row + W, 0.0f);
      if (label[n] == kIgnoreLabel) {
        std::fill(row, row + V, 0.0f);
        continue;
      }
      const std::int64_t v = label[n] - columns.first;
      const bool here = v >= 0 && v < V;
      const float slope = here ? cap_slope(row[v], softcap) : 0.0f;
      HWY_DYNAMIC_DISPATCH(RowSoftmax)(row, lse.as<float>()[n], scale, V, softcap);
      if (here) row[v] -= scale * slope;
    }
  });
}

}  // namespace weft::cpu
#endif

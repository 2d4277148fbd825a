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

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// stats = {max, Σ exp(logit - max)} of one row.
void RowStats(float* stats, const float* logits, std::int64_t V) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  float max = -std::numeric_limits<float>::infinity();
  auto max_v = hn::Set(d, max);
  std::int64_t v = 0;
  for (; v + L <= V; v += L) max_v = hn::Max(max_v, hn::LoadU(d, logits + v));
  max = hn::GetLane(hn::MaxOfLanes(d, max_v));
  for (; v < V; ++v) max = std::max(max, logits[v]);
  max_v = hn::Set(d, max);
  // A double sum over runs of vectors: 50,000 fp32 terms of one sign would lose digits.
  double sum = 0;
  constexpr std::int64_t kRun = 64;
  for (v = 0; v + L <= V;) {
    auto run = hn::Zero(d);
    for (std::int64_t k = 0; k < kRun && v + L <= V; ++k, v += L) run = hn::Add(run, hn::Exp(d, hn::Sub(hn::LoadU(d, logits + v), max_v)));
    sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, run)));
  }
  for (; v < V; ++v) sum += std::exp(logits[v] - max);
  stats[0] = max;
  stats[1] = static_cast<float>(sum);
}

// logits <- scale·exp(logits - lse)
void RowSoftmax(float* logits, float lse, float scale, std::int64_t V) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto lse_v = hn::Set(d, lse), scale_v = hn::Set(d, scale);
  std::int64_t v = 0;
  for (; v + L <= V; v += L) hn::StoreU(hn::Mul(scale_v, hn::Exp(d, hn::Sub(hn::LoadU(d, logits + v), lse_v))), d, logits + v);
  for (; v < V; ++v) logits[v] = scale * std::exp(logits[v] - lse);
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(RowStats);
HWY_EXPORT(RowSoftmax);

void cross_entropy_stats(View stats, ConstView logits, ConstView labels, std::int64_t first_vocab, Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  const auto* label = labels.as<std::int32_t>();
  parallel_for(stream, N, row_grain(V), [&, V = V](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      float* out = stats.as<float>() + 3 * n;
      const float* row = logits.as<float>() + n * V;
      HWY_DYNAMIC_DISPATCH(RowStats)(out, row, V);
      const std::int64_t v = label[n] - first_vocab;
      out[2] = label[n] != kIgnoreLabel && v >= 0 && v < V ? row[v] : 0.0f;
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
      if (shard[1] > 0) sum += static_cast<double>(shard[1]) * std::exp(static_cast<double>(shard[0]) - max);
      label_logit += shard[2];
    }
    const double total = max + std::log(sum);
    lse.as<float>()[n] = static_cast<float>(total);
    loss.as<float>()[n] = labels.as<std::int32_t>()[n] == kIgnoreLabel ? 0.0f : static_cast<float>(total - label_logit);
  }
}

void cross_entropy_backward(View logits, ConstView lse, ConstView labels, std::int64_t first_vocab, float scale, Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  const auto* label = labels.as<std::int32_t>();
  parallel_for(stream, N, row_grain(V), [&, V = V](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      float* row = logits.as<float>() + n * V;
      if (label[n] == kIgnoreLabel) {
        std::fill(row, row + V, 0.0f);
        continue;
      }
      HWY_DYNAMIC_DISPATCH(RowSoftmax)(row, lse.as<float>()[n], scale, V);
      const std::int64_t v = label[n] - first_vocab;
      if (v >= 0 && v < V) row[v] -= scale;
    }
  });
}

}  // namespace weft::cpu
#endif

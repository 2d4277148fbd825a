#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.h"
#include "core/rng.h"

namespace weft {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

std::int32_t index_of_max(std::span<const float> x) { return static_cast<std::int32_t>(std::max_element(x.begin(), x.end()) - x.begin()); }

}  // namespace

void Sampler::process(const Generation& g, std::span<const std::int32_t> seen, std::int64_t n_prompt) {
  if (g.repetition_penalty != 1) {
    const auto penalty = static_cast<float>(g.repetition_penalty);
    std::vector<std::int32_t> distinct(seen.begin(), seen.end());
    std::sort(distinct.begin(), distinct.end());
    distinct.erase(std::unique(distinct.begin(), distinct.end()), distinct.end());
    for (std::int32_t id : distinct) {
      float& s = scores_[static_cast<std::size_t>(id)];
      s = s < 0 ? s * penalty : s / penalty;
    }
  }
  if (const auto n = static_cast<std::size_t>(g.no_repeat_ngram_size); n > 0 && seen.size() + 1 >= n) {
    const auto tail = seen.last(n - 1);  // what the next token would complete
    for (std::size_t i = 0; i + n <= seen.size(); ++i)
      if (std::equal(tail.begin(), tail.end(), seen.begin() + static_cast<std::ptrdiff_t>(i)))
        scores_[static_cast<std::size_t>(seen[i + n - 1])] = kMinusInfinity;
  }
  if (static_cast<std::int64_t>(seen.size()) - n_prompt < g.min_new_tokens)
    for (std::int32_t id : g.eos)
      if (id >= 0 && static_cast<std::size_t>(id) < scores_.size()) scores_[static_cast<std::size_t>(id)] = kMinusInfinity;
}

void Sampler::keep_top_k(std::int64_t k) {
  const auto V = static_cast<std::int64_t>(scores_.size());
  if (k <= 0 || k >= V) return;
  std::vector<float> sorted = scores_;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const float least = sorted[static_cast<std::size_t>(k - 1)];
  for (float& s : scores_)
    if (s < least) s = kMinusInfinity;
}

// Drops the least likely tokens while what is dropped stays within 1 - p; at least one stays.
void Sampler::keep_top_p(double p) {
  if (p >= 1) return;
  softmax();
  order_.resize(scores_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) { return scores_[static_cast<std::size_t>(a)] < scores_[static_cast<std::size_t>(b)]; });
  double dropped = 0;
  for (std::size_t i = 0; i + 1 < order_.size(); ++i) {
    const auto id = static_cast<std::size_t>(order_[i]);
    dropped += probabilities_[id];
    if (dropped > 1 - p) break;
    scores_[id] = kMinusInfinity;
  }
}

// Keeps the tokens whose surprise is nearest the entropy, until they hold the mass (Meister et al. 2022).
void Sampler::keep_typical(double mass) {
  if (mass >= 1) return;
  softmax();
  double entropy = 0;
  for (double p : probabilities_)
    if (p > 0) entropy -= p * std::log(p);
  const auto distance = [&](std::int32_t id) {
    const double p = probabilities_[static_cast<std::size_t>(id)];
    return p > 0 ? std::abs(-std::log(p) - entropy) : std::numeric_limits<double>::infinity();
  };
  order_.resize(scores_.size());
  std::iota(order_.begin(), order_.end(), 0);
  std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) { return distance(a) < distance(b); });
  double held = 0;
  std::size_t i = 0;
  while (i < order_.size() && held < mass) held += probabilities_[static_cast<std::size_t>(order_[i++])];
  for (; i < order_.size(); ++i) scores_[static_cast<std::size_t>(order_[i])] = kMinusInfinity;
}

void Sampler::softmax() {
  probabilities_.resize(scores_.size());
  const double max = *std::max_element(scores_.begin(), scores_.end());
  double sum = 0;
  for (std::size_t i = 0; i < scores_.size(); ++i) sum += probabilities_[i] = std::exp(static_cast<double>(scores_[i]) - max);
  for (double& p : probabilities_) p /= sum;
}

void Sampler::warp(const Generation& g) {
  if (g.temperature != 1)
    for (float& s : scores_) s /= static_cast<float>(g.temperature);
  keep_top_k(g.top_k);
  keep_top_p(g.top_p);
  if (g.min_p > 0) {
    softmax();
    const double least = g.min_p * *std::max_element(probabilities_.begin(), probabilities_.end());
    for (std::size_t i = 0; i < scores_.size(); ++i)
      if (probabilities_[i] < least) scores_[i] = kMinusInfinity;
  }
  keep_typical(g.typical_p);
}

Sampler::Choice Sampler::choose(std::span<const float> logits, const Generation& g, std::span<const std::int32_t> seen, std::int64_t n_prompt,
                                std::uint64_t stream) {
  scores_.assign(logits.begin(), logits.end());
  process(g, seen, n_prompt);
  std::int32_t id = index_of_max(scores_);
  if (g.do_sample) {
    warp(g);
    softmax();
    const Philox words = philox(mix64(static_cast<std::uint64_t>(g.seed) ^ 0x5A3F1Eull),
                                {static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32), static_cast<std::uint32_t>(seen.size()), 0});
    const double u = (words[0] + words[1] * 0x1p-32) * 0x1p-32;
    double sum = 0;
    id = index_of_max(scores_);  // where rounding leaves the sum below u
    for (std::size_t i = 0; i < probabilities_.size(); ++i) {
      sum += probabilities_[i];
      if (u < sum) {
        id = static_cast<std::int32_t>(i);
        break;
      }
    }
  }
  const float max = *std::max_element(logits.begin(), logits.end());
  CHECK(std::isfinite(max), "the model's logits are not finite");
  float logprob = 0;
  if (g.logprobs) {
    double sum = 0;
    for (float l : logits) sum += std::exp(static_cast<double>(l) - max);
    logprob = static_cast<float>(logits[static_cast<std::size_t>(id)] - max - std::log(sum));
  }
  return {id, logprob};
}

}  // namespace weft

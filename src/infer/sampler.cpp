#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.h"
#include "core/rng.h"

namespace weft {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

std::int32_t index_of_max(std::span<const float> x) {
  return static_cast<std::int32_t>(std::max_element(x.begin(), x.end()) - x.begin());
}

double log_sum_exp(std::span<const float> x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float v : x) sum += std::exp(v - max);
  return max + std::log(sum);
}

}  // namespace

bool are_logits(std::span<const float> row) {
  constexpr float kMost = std::numeric_limits<float>::max();
  bool finite = true, any = false;
  for (float v : row) {
    finite = finite && v <= kMost;  // NaN is not
    any = any || v > kMinusInfinity;
  }
  return finite && any;
}

std::uint64_t draw_stream(std::span<const std::int32_t> prompt, std::int64_t copy) {
  std::uint64_t hash = mix64(static_cast<std::uint64_t>(copy));
  for (std::int32_t id : prompt) hash = mix64(hash ^ static_cast<std::uint32_t>(id));
  return hash;
}

double draw(std::int64_t seed, std::uint64_t stream, std::int64_t position, std::uint32_t which) {
  const Philox words =
      philox(mix64(static_cast<std::uint64_t>(seed) ^ 0x5A3F1Eull),
             {static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32),
              static_cast<std::uint32_t>(position), which});
  return (words[0] * 0x1p21 + (words[1] >> 11)) * 0x1p-53;
}

float log_probability(std::span<const float> logits, std::int32_t id) {
  return static_cast<float>(logits[static_cast<std::size_t>(id)] - log_sum_exp(logits));
}

void Sampler::forbid(std::int32_t id) {
  if (id >= 0 && static_cast<std::size_t>(id) < scores_.size())
    scores_[static_cast<std::size_t>(id)] = kMinusInfinity;
}

// Once per distinct token.
void Sampler::penalise_repetition(double penalty, std::span<const std::int32_t> seen) {
  if (penalty == 1) return;
  const auto p = static_cast<float>(penalty);
  order_.assign(seen.begin(), seen.end());
  std::sort(order_.begin(), order_.end());
  order_.erase(std::unique(order_.begin(), order_.end()), order_.end());
  for (std::int32_t id : order_) {
    if (id < 0 || static_cast<std::size_t>(id) >= scores_.size()) continue;
    float& s = scores_[static_cast<std::size_t>(id)];
    const float before = s;
    s = s < 0 ? s * p : s / p;
    CHECK_USER(std::isfinite(s) || !std::isfinite(before),
               "--repetition-penalty is {}, which makes a score of {} no number", penalty, before);
  }
}

void Sampler::forbid_repeated_ngrams(std::int64_t size, std::span<const std::int32_t> seen) {
  const auto n = static_cast<std::size_t>(size);
  if (n == 0 || seen.size() + 1 < n) return;
  const auto tail = seen.last(n - 1);  // what the next token would complete
  for (std::size_t i = 0; i + n <= seen.size(); ++i)
    if (std::equal(tail.begin(), tail.end(), seen.begin() + static_cast<std::ptrdiff_t>(i)))
      forbid(seen[i + n - 1]);
}

std::span<const float> Sampler::process(std::span<const float> logits, const Generation& g,
                                        std::span<const std::int32_t> seen, std::int64_t n_prompt) {
  CHECK_MACHINE(are_logits(logits), "the model's logits are not finite (NaN or infinity)");
  scores_.assign(logits.begin(), logits.end());
  if (g.num_beams > 1) {
    const double lse = log_sum_exp(logits);
    for (float& s : scores_) s = static_cast<float>(s - lse);
  }
  penalise_repetition(g.repetition_penalty, seen);
  forbid_repeated_ngrams(g.no_repeat_ngram_size, seen);
  for (const auto& word : g.bad_words)
    if (!word.empty() && word.size() <= seen.size() + 1 &&
        std::equal(word.begin(), word.end() - 1,
                   seen.end() - static_cast<std::ptrdiff_t>(word.size() - 1)))
      forbid(word.back());
  if (static_cast<std::int64_t>(seen.size()) - n_prompt < g.min_new_tokens)
    for (std::int32_t id : g.eos) forbid(id);
  // Beams need one candidate more than there are ways to end.
  const bool any =
      std::any_of(scores_.begin(), scores_.end(), [](float s) { return s > kMinusInfinity; });
  if (g.do_sample && any) warp(g, g.num_beams > 1 ? std::max<std::size_t>(g.eos.size() + 1, 2) : 1);
  return scores_;
}

void Sampler::warp(const Generation& g, std::size_t keep) {
  divide_by_temperature(g.temperature);
  if (g.top_k > 0) keep_top_k(std::max(g.top_k, static_cast<std::int64_t>(keep)));
  if (g.top_p < 1) keep_top_p(g.top_p, keep);
  if (g.min_p > 0) keep_min_p(g.min_p, keep);
  if (g.typical_p < 1) keep_typical(g.typical_p, keep);
}

// In fp32, as torch does it; near 0 that would make infinities of all scores. Then only distances
// from the likeliest are divided, which changes no probability.
void Sampler::divide_by_temperature(double temperature) {
  if (temperature == 1) return;
  const auto t = static_cast<float>(temperature);
  double least = 0, most = kMinusInfinity;
  for (float s : scores_) {
    most = std::max(most, static_cast<double>(s));
    if (s > kMinusInfinity) least = std::min(least, static_cast<double>(s));
  }
  const double limit = std::numeric_limits<float>::max();
  if (std::max(std::abs(least), std::abs(most)) / temperature < limit && t > 0) {
    for (float& s : scores_) s /= t;
    return;
  }
  for (float& s : scores_)
    if (s > kMinusInfinity)
      s = static_cast<float>(std::max((static_cast<double>(s) - most) / temperature, -limit));
}

// Ties with the k-th stay.
void Sampler::keep_top_k(std::int64_t k) {
  if (k >= static_cast<std::int64_t>(scores_.size())) return;
  std::vector<float> sorted = scores_;
  std::nth_element(sorted.begin(), sorted.begin() + (k - 1), sorted.end(), std::greater<>());
  const float least = sorted[static_cast<std::size_t>(k - 1)];
  for (float& s : scores_)
    if (s < least) s = kMinusInfinity;
}

// The tokens not yet dropped in ascending order of the key. After top-k these are few, and sorting
// a whole vocabulary costs milliseconds a token.
void Sampler::sort_by(const std::vector<double>& key) {
  order_.clear();
  for (std::size_t i = 0; i < scores_.size(); ++i)
    if (scores_[i] > kMinusInfinity) order_.push_back(static_cast<std::int32_t>(i));
  std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
    return key[static_cast<std::size_t>(a)] < key[static_cast<std::size_t>(b)];
  });
}

// Drops the least likely tokens while what is dropped stays within 1 - p.
void Sampler::keep_top_p(double p, std::size_t keep) {
  probabilities();
  sort_by(probabilities_);
  double dropped = 0;
  for (std::size_t i = 0; i + keep < order_.size(); ++i) {
    dropped += probabilities_[static_cast<std::size_t>(order_[i])];
    if (dropped > 1 - p) break;
    forbid(order_[i]);
  }
}

void Sampler::keep_min_p(double p, std::size_t keep) {
  probabilities();
  sort_by(probabilities_);
  const double least = p * probabilities_[static_cast<std::size_t>(order_.back())];
  for (std::size_t i = 0;
       i + keep < order_.size() && probabilities_[static_cast<std::size_t>(order_[i])] < least; ++i)
    forbid(order_[i]);
}

// Keeps the tokens whose surprise is nearest the entropy, until they hold the mass, and those as
// near as the last of them (Meister et al. 2022; transformers' reading of it).
void Sampler::keep_typical(double mass, std::size_t keep) {
  probabilities();
  double entropy = 0;
  for (double p : probabilities_)
    if (p > 0) entropy -= p * std::log(p);
  distance_.resize(probabilities_.size());
  for (std::size_t i = 0; i < distance_.size(); ++i)
    distance_[i] = probabilities_[i] > 0 ? std::abs(-std::log(probabilities_[i]) - entropy)
                                         : std::numeric_limits<double>::infinity();
  sort_by(distance_);
  double held = 0;
  std::size_t last = 0;
  while (last + 1 < order_.size() &&
         (held += probabilities_[static_cast<std::size_t>(order_[last])]) < mass)
    ++last;
  const double farthest = distance_[static_cast<std::size_t>(order_[last])];
  for (std::size_t i = std::max(last, keep); i < order_.size(); ++i)
    if (distance_[static_cast<std::size_t>(order_[i])] > farthest) forbid(order_[i]);
}

std::span<const double> Sampler::probabilities() {
  probabilities_.resize(scores_.size());
  const double max = *std::max_element(scores_.begin(), scores_.end());
  double sum = 0;
  for (std::size_t i = 0; i < scores_.size(); ++i)
    sum += probabilities_[i] = std::exp(static_cast<double>(scores_[i]) - max);
  for (double& p : probabilities_) p /= sum;
  return probabilities_;
}

std::optional<Sampler::Choice> Sampler::choose(std::span<const float> logits, const Generation& g,
                                               std::span<const std::int32_t> seen,
                                               std::int64_t n_prompt, std::uint64_t stream) {
  process(logits, g, seen, n_prompt);
  std::int32_t id = index_of_max(scores_);
  if (scores_[static_cast<std::size_t>(id)] == kMinusInfinity) return std::nullopt;
  // A draw keeps it where rounding leaves the sum below u.
  if (g.do_sample) {
    probabilities();
    const double u = draw(g.seed, stream, static_cast<std::int64_t>(seen.size()));
    double sum = 0;
    for (std::size_t i = 0; i < probabilities_.size(); ++i) {
      sum += probabilities_[i];
      if (u >= sum) continue;
      id = static_cast<std::int32_t>(i);
      break;
    }
  }
  return Choice{id, g.logprobs ? log_probability(logits, id) : 0};
}

}  // namespace weft

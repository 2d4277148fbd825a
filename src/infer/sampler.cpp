#include "infer/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.h"
#include "core/rng.h"
#include "kernels/ops.h"

namespace weft {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// What the kernels do of a decided generation. Beams need one candidate more than there are ways to
// end.
SampleRow sample_row(const Generation& g) {
  return {.greedy = !g.do_sample,
          .temperature = g.temperature,
          .top_k = g.top_k,
          .top_p = g.top_p,
          .min_p = g.min_p,
          .keep = g.num_beams > 1
                      ? std::max<std::int64_t>(static_cast<std::int64_t>(g.eos.size()) + 1, 2)
                      : 1};
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

double log_sum_exp(std::span<const float> x) {
  const double max = *std::max_element(x.begin(), x.end());
  double sum = 0;
  for (float v : x) sum += std::exp(v - max);
  return max + std::log(sum);
}

float log_probability(std::span<const float> logits, std::int32_t id) {
  return static_cast<float>(logits[static_cast<std::size_t>(id)] - log_sum_exp(logits));
}

std::vector<LikelyToken> likely_tokens(std::span<const float> logits, double sum, std::int64_t k) {
  std::vector<std::int32_t> ids(logits.size());
  std::iota(ids.begin(), ids.end(), 0);
  const auto n = std::min(ids.size(), static_cast<std::size_t>(k));
  const auto logit = [&](std::int32_t id) { return logits[static_cast<std::size_t>(id)]; };
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(n), ids.end(),
                    [&](std::int32_t a, std::int32_t b) {
                      return logit(a) != logit(b) ? logit(a) > logit(b) : a < b;
                    });
  std::vector<LikelyToken> likely;
  for (std::size_t i = 0; i < n; ++i)
    likely.push_back({ids[i], static_cast<float>(logit(ids[i]) - sum)});
  return likely;
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

bool Sampler::process_raw(std::span<const float> logits, const Generation& g,
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
  return std::any_of(scores_.begin(), scores_.end(), [](float s) { return s > kMinusInfinity; });
}

void Sampler::warp(const Generation& g) {
  const SampleRow row = sample_row(g);
  warp_logits(view_of_scores(), {&row, 1}, stream_);
  if (g.typical_p < 1) keep_typical(g.typical_p, static_cast<std::size_t>(row.keep));
}

std::span<const float> Sampler::process(std::span<const float> logits, const Generation& g,
                                        std::span<const std::int32_t> seen, std::int64_t n_prompt) {
  if (process_raw(logits, g, seen, n_prompt) && g.do_sample) warp(g);
  return scores_;
}

View Sampler::view_of_scores() {
  return {scores_.data(), DType::f32, {1, static_cast<std::int64_t>(scores_.size())}};
}

// Keeps the tokens whose surprise is nearest the entropy, until they hold the mass, and those as
// near as the last of them (Meister et al. 2022; transformers' reading of it).
void Sampler::keep_typical(double mass, std::size_t keep) {
  probabilities();
  double entropy = 0;
  for (double p : probabilities_)
    if (p > 0) entropy -= p * std::log(p);
  distance_.resize(probabilities_.size());
  order_.clear();  // of what earlier warpers left, the nearest first
  for (std::size_t i = 0; i < distance_.size(); ++i) {
    distance_[i] = probabilities_[i] > 0 ? std::abs(-std::log(probabilities_[i]) - entropy)
                                         : std::numeric_limits<double>::infinity();
    if (scores_[i] > kMinusInfinity) order_.push_back(static_cast<std::int32_t>(i));
  }
  std::stable_sort(order_.begin(), order_.end(), [&](std::int32_t a, std::int32_t b) {
    return distance_[static_cast<std::size_t>(a)] < distance_[static_cast<std::size_t>(b)];
  });
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
  if (!process_raw(logits, g, seen, n_prompt)) return std::nullopt;
  SampleRow row = sample_row(g);
  if (g.do_sample && g.typical_p < 1) {  // which the kernels do not know
    warp(g);
    row = {.greedy = false};
  }
  row.uniform = draw(g.seed, stream, static_cast<std::int64_t>(seen.size()));
  std::int32_t id = 0;
  weft::sample(View(&id, DType::i32, {1}), View(), view_of_scores(), {&row, 1}, stream_);
  return Choice{id, g.logprobs ? log_probability(logits, id) : 0};
}

}  // namespace weft

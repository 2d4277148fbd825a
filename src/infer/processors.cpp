#include "infer/processors.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/check.h"

namespace weft {
namespace {

constexpr float kMost = std::numeric_limits<float>::max(),
                kMinusInfinity = -std::numeric_limits<float>::infinity();

bool ends_in(std::span<const std::int32_t> seen, std::span<const std::int32_t> tail) {
  return tail.size() <= seen.size() && std::ranges::equal(tail, seen.last(tail.size()));
}

}  // namespace

void Processors::apply(std::span<float> scores, const Generation& g,
                       std::span<const std::int32_t> seen, std::int64_t n_prompt) {
  scores_ = scores;
  const std::span<const std::int32_t> prompt = seen.first(static_cast<std::size_t>(n_prompt));
  const std::int64_t n_new = static_cast<std::int64_t>(seen.size()) - n_prompt;
  bias_sequences(g.sequence_bias, seen);
  penalise({"--encoder-repetition-penalty", g.encoder_repetition_penalty, true}, prompt);
  penalise({"--repetition-penalty", g.repetition_penalty}, seen);
  subtract_for_new(g, seen.subspan(prompt.size()));
  forbid_ngrams(g.no_repeat_ngram_size, seen, seen);
  forbid_ngrams(g.encoder_no_repeat_ngram_size, prompt, seen);
  for (const std::vector<std::int32_t>& word : g.bad_words)
    if (!word.empty() && ends_in(seen, std::span(word).first(word.size() - 1)))
      bias(word.back(), kMinusInfinity);
  if (n_new < g.min_new_tokens) forbid(g.eos);
  if (g.forced_bos >= 0 && seen.size() == 1) force({&g.forced_bos, 1});
  if (!g.forced_eos.empty() && n_new == g.max_new_tokens - 1) force(g.forced_eos);
  if (g.remove_invalid_values) remove_invalid();
  favour_end(g, n_new);
  forbid(g.suppress_tokens);
  const std::int64_t begin = g.forced_bos >= 0 && n_prompt == 1 ? 1 : 0;
  if (n_new == begin) forbid(g.begin_suppress_tokens);
}

void Processors::bias(std::int32_t id, float by) {
  if (id >= 0 && static_cast<std::size_t>(id) < scores_.size())
    scores_[static_cast<std::size_t>(id)] += by;
}

// All biases of a token are summed before its score hears of them.
void Processors::bias_sequences(std::span<const SequenceBias> biases,
                                std::span<const std::int32_t> seen) {
  if (biases.empty()) return;
  bias_.assign(scores_.size(), 0);
  for (const SequenceBias& b : biases) {
    const auto id = static_cast<std::size_t>(b.ids.back());
    if (id < bias_.size() && ends_in(seen, std::span(b.ids).first(b.ids.size() - 1)))
      bias_[id] += b.bias;
  }
  for (std::size_t i = 0; i < scores_.size(); ++i) scores_[i] += bias_[i];
}

// Once per distinct token.
void Processors::penalise(const Penalty& penalty, std::span<const std::int32_t> tokens) {
  if (penalty.value == 1) return;
  const auto p = static_cast<float>(penalty.inverse ? 1 / penalty.value : penalty.value);
  order_.assign(tokens.begin(), tokens.end());
  std::sort(order_.begin(), order_.end());
  order_.erase(std::unique(order_.begin(), order_.end()), order_.end());
  for (std::int32_t id : order_) {
    if (id < 0 || static_cast<std::size_t>(id) >= scores_.size()) continue;
    float& s = scores_[static_cast<std::size_t>(id)];
    const float before = s;
    s = s < 0 ? s * p : s / p;
    CHECK_USER(std::isfinite(s) || !std::isfinite(before),
               "{} is {}, which makes a score of {} no number", penalty.flag, penalty.value,
               before);
  }
}

void Processors::subtract_for_new(const Generation& g, std::span<const std::int32_t> new_tokens) {
  if (g.presence_penalty == 0 && g.frequency_penalty == 0) return;
  order_.assign(new_tokens.begin(), new_tokens.end());
  std::sort(order_.begin(), order_.end());
  for (auto at = order_.begin(); at != order_.end();) {
    const auto end = std::upper_bound(at, order_.end(), *at);
    const auto times = static_cast<double>(end - at);
    bias(*at, -static_cast<float>(g.presence_penalty + g.frequency_penalty * times));
    at = end;
  }
}

void Processors::forbid_ngrams(std::int64_t size, std::span<const std::int32_t> source,
                               std::span<const std::int32_t> seen) {
  const auto n = static_cast<std::size_t>(size);
  if (n == 0 || seen.size() + 1 < n) return;
  const auto tail = seen.last(n - 1);  // what the next token would complete
  for (std::size_t i = 0; i + n <= source.size(); ++i)
    if (std::ranges::equal(tail, source.subspan(i, n - 1))) forbid(source.subspan(i + n - 1, 1));
}

void Processors::forbid(std::span<const std::int32_t> ids) {
  for (const std::int32_t id : ids)
    if (id >= 0 && static_cast<std::size_t>(id) < scores_.size())
      scores_[static_cast<std::size_t>(id)] = kMinusInfinity;
}

void Processors::force(std::span<const std::int32_t> ids) {
  std::ranges::fill(scores_, kMinusInfinity);
  for (const std::int32_t id : ids) scores_[static_cast<std::size_t>(id)] = 0;
}

void Processors::remove_invalid() {
  for (float& s : scores_) s = std::isnan(s) ? 0 : std::clamp(s, -kMost, kMost);
}

// By its distance from zero, so that negative scores grow too. What remove_invalid_values has made
// of a forbidden end token stays what it is; in the reference it overflows.
void Processors::favour_end(const Generation& g, std::int64_t n_new) {
  if (!g.length_decay || n_new <= g.length_decay->start) return;
  const double growth =
      std::pow(g.length_decay->factor, static_cast<double>(n_new - g.length_decay->start)) - 1;
  const auto by = static_cast<float>(std::min<double>(growth, kMost));
  order_.assign(g.eos.begin(), g.eos.end());
  std::sort(order_.begin(), order_.end());
  order_.erase(std::unique(order_.begin(), order_.end()), order_.end());
  for (const std::int32_t id : order_) {
    if (id < 0 || static_cast<std::size_t>(id) >= scores_.size()) continue;
    float& s = scores_[static_cast<std::size_t>(id)];
    if (std::isfinite(s) && s > -kMost) s = std::clamp(s + std::abs(s) * by, -kMost, kMost);
  }
}

}  // namespace weft

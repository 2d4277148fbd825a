#include "infer/sampler.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

#include "core/check.h"
#include "core/parallel.h"
#include "core/rng.h"
#include "kernels/ops.h"

namespace weft {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

void take_log_softmax(std::span<float> scores) {
  const double lse = log_sum_exp(scores);
  for (float& s : scores) s = static_cast<float>(s - lse);
}

// Whether there is more to do than the kernels know.
bool needs_warpers(const Generation& g) {
  return g.top_h || g.typical_p < 1 || g.epsilon_cutoff > 0 || g.eta_cutoff > 0;
}

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

namespace {

// In steps that are a vector's: of texts that are scored this reads all logits.
bool has_nan(std::span<const float> row) {
  constexpr std::size_t kStep = 16;
  const auto is_nan = [](float x) {
    return static_cast<std::uint32_t>((std::bit_cast<std::uint32_t>(x) & 0x7FFF'FFFF) >
                                      0x7F80'0000);
  };
  std::uint32_t any[kStep] = {};
  std::size_t i = 0;
  for (; i + kStep <= row.size(); i += kStep)
    for (std::size_t l = 0; l < kStep; ++l) any[l] |= is_nan(row[i + l]);
  for (; i < row.size(); ++i) any[0] |= is_nan(row[i]);
  return std::any_of(any, any + kStep, [](std::uint32_t a) { return a != 0; });
}

// Of each row of logits (N, V): its maximum, Σ exp(logit - max), the logit of its id.
std::vector<float> softmax_stats(ConstView logits, std::span<const std::int32_t> ids,
                                 Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  std::vector<float> stats(static_cast<std::size_t>(3 * N));
  cross_entropy_stats(View(stats.data(), Dims{N, 3}), logits, ConstView(ids.data(), Dims{N}),
                      {0, V}, 0, stream);
  const auto* values = logits.as<float>();
  const auto width = static_cast<std::size_t>(V);
  parallel_for(N, stream.n_threads(), [&](std::int64_t n) {  // vectors of maxima and exponentials
    if (has_nan({values + n * V, width}))                    // lose a NaN
      stats[static_cast<std::size_t>(3 * n + 1)] = std::numeric_limits<float>::quiet_NaN();
  });
  return stats;
}

double log_sum_exp_of(const float* stats) {
  return static_cast<double>(stats[0]) + std::log(static_cast<double>(stats[1]));
}

}  // namespace

double log_sum_exp(std::span<const float> x) {
  Stream stream;
  const ConstView row(x.data(), Dims{1, static_cast<std::int64_t>(x.size())});
  const std::int32_t any = 0;
  return log_sum_exp_of(softmax_stats(row, {&any, 1}, stream).data());
}

float log_probability(std::span<const float> logits, std::int32_t id) {
  return static_cast<float>(logits[static_cast<std::size_t>(id)] - log_sum_exp(logits));
}

std::vector<float> log_probabilities(ConstView logits, std::span<const std::int32_t> ids,
                                     Stream& stream) {
  const std::vector<float> stats = softmax_stats(logits, ids, stream);
  std::vector<float> out;
  for (const float* row = stats.data(); row != stats.data() + stats.size(); row += 3)
    out.push_back(static_cast<float>(row[2] - log_sum_exp_of(row)));
  return out;
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

bool Sampler::process_raw(const NextLogits& logits, const Generation& g,
                          std::span<const std::int32_t> seen, std::int64_t n_prompt) {
  for (const std::span<const float> row : {logits.row, logits.unconditional})
    CHECK_MACHINE(row.empty() || g.remove_invalid_values || are_logits(row),
                  "the model's logits are not finite (NaN or infinity)");
  scores_.assign(logits.row.begin(), logits.row.end());
  if (g.num_beams > 1 || g.guided()) take_log_softmax(scores_);
  if (g.guided()) guide(logits.unconditional, g.guidance_scale);
  processors_.apply(scores_, g, seen, n_prompt);
  return std::any_of(scores_.begin(), scores_.end(), [](float s) { return s > kMinusInfinity; });
}

// Classifier-free guidance (Sanchez et al. 2023): away from what the model would write without the
// prompt.
void Sampler::guide(std::span<const float> unconditional, double scale) {
  CHECK(unconditional.size() == scores_.size(), "guidance needs {} logits, not {}", scores_.size(),
        unconditional.size());
  const double lse = log_sum_exp(unconditional);
  const auto by = static_cast<float>(scale);
  for (std::size_t i = 0; i < scores_.size(); ++i) {
    const auto u = static_cast<float>(unconditional[i] - lse);
    if (scores_[i] > kMinusInfinity && u > kMinusInfinity) scores_[i] = by * (scores_[i] - u) + u;
  }
}

// In transformers' order.
void Sampler::warp(const Generation& g) {
  SampleRow row = sample_row(g);
  const auto keep = static_cast<std::size_t>(row.keep);
  if (g.top_h) {
    const SampleRow cooled = {.greedy = false, .temperature = row.temperature};
    warp_logits(view_of_scores(), {&cooled, 1}, stream_);
    warpers_.keep_top_h(scores_, *g.top_h);
    row.temperature = 1;
  }
  warp_logits(view_of_scores(), {&row, 1}, stream_);
  if (g.typical_p < 1) warpers_.keep_typical(scores_, g.typical_p, keep);
  if (g.epsilon_cutoff > 0) warpers_.cut_below_epsilon(scores_, g.epsilon_cutoff, keep);
  if (g.eta_cutoff > 0) warpers_.cut_below_eta(scores_, g.eta_cutoff, keep);
}

std::span<const float> Sampler::process(const NextLogits& logits, const Generation& g,
                                        std::span<const std::int32_t> seen, std::int64_t n_prompt) {
  const bool any = process_raw(logits, g, seen, n_prompt);
  if (any && g.do_sample) warp(g);
  if (any && g.renormalize_logits) take_log_softmax(scores_);
  return scores_;
}

View Sampler::view_of_scores() {
  return {scores_.data(), DType::f32, {1, static_cast<std::int64_t>(scores_.size())}};
}

std::optional<Sampler::Choice> Sampler::choose(const NextLogits& logits, const Generation& g,
                                               std::span<const std::int32_t> seen,
                                               std::int64_t n_prompt, std::uint64_t stream) {
  if (!process_raw(logits, g, seen, n_prompt)) return std::nullopt;
  SampleRow row = sample_row(g);
  if (g.do_sample && needs_warpers(g)) {
    warp(g);
    row = {.greedy = false};
  }
  row.uniform = draw(g.seed, stream, static_cast<std::int64_t>(seen.size()));
  std::int32_t id = 0;
  weft::sample(View(&id, DType::i32, {1}), View(), view_of_scores(), {&row, 1}, stream_);
  return Choice{id, g.logprobs ? log_probability(logits.row, id) : 0};
}

}  // namespace weft

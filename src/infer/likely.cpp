#include "infer/likely.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/host_copy.h"

namespace weft {
namespace {

constexpr std::int64_t kLogitRows = 32;  // at once: a vocabulary wide each
constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

// Numbers of a row: log p of the next token, then the ids and the log p of the likeliest.
std::size_t row_values(std::int64_t k) { return static_cast<std::size_t>(1 + 2 * k); }

void put_row(std::span<const float> logits, std::int32_t next, std::int64_t k,
             std::span<float> out) {
  const double sum = log_sum_exp(logits);
  out[0] = static_cast<float>(logits[static_cast<std::size_t>(next)] - sum);
  const std::vector<LikelyToken> likely = likely_tokens(logits, sum, k);
  for (std::size_t i = 0; i < likely.size(); ++i) {
    out[1 + i] = static_cast<float>(likely[i].id);  // whole below 2^24
    out[1 + static_cast<std::size_t>(k) + i] = likely[i].logprob;
  }
}

}  // namespace

void score_with_likely(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                       std::span<const TokenizedText> texts, std::int64_t k,
                       const LikelyDone& done) {
  k = std::min(k, config.vocab);
  CHECK(config.causal, "the likeliest tokens of a text need a causal model");
  const std::size_t n = row_values(k), wide = static_cast<std::size_t>(k);
  PassTask task;
  task.max_logit_rows = kLogitRows;
  task.n_values = [=](const TextPass& pass) { return n * pass.ids.size(); };
  task.text_of = [=](const TextPass& pass, std::size_t value) {
    return pass.text_at(static_cast<std::int64_t>(value / n));
  };
  task.compute = [&](InferencePass& inference, ConstView hidden, const TextPass& pass,
                     std::span<float> out) {
    HostCopy copy;
    std::vector<std::int64_t> rows;
    for (const CacheSlice& s : pass.slices)
      for (std::int64_t r = s.first_row; r + 1 < s.first_row + s.n_rows; ++r) rows.push_back(r);
    const auto V = static_cast<std::size_t>(config.vocab);
    for (std::size_t at = 0; at < rows.size(); at += kLogitRows) {
      const auto some =
          std::span(rows).subspan(at, std::min<std::size_t>(kLogitRows, rows.size() - at));
      const ConstView logits = inference.logits(hidden, some);
      const float* values = copy.floats(logits, ctx.stream).as<float>();
      for (std::size_t i = 0; i < some.size(); ++i) {
        const auto r = static_cast<std::size_t>(some[i]);
        put_row({values + i * V, V}, pass.ids[r + 1], k, out.subspan(n * r, n));
      }
    }
  };
  std::vector<float> logprobs;
  std::vector<LikelyToken> likely;
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    for (std::size_t t = 0; t < pass.n; ++t) {
      logprobs.assign(1, kNone);
      likely.assign(wide, LikelyToken());
      for (std::int64_t r = pass.begins[t]; r + 1 < pass.ends[t]; ++r) {
        const std::span<const float> row = values.subspan(n * static_cast<std::size_t>(r), n);
        logprobs.push_back(row[0]);
        for (std::size_t i = 0; i < wide; ++i)
          likely.push_back({static_cast<std::int32_t>(row[1 + i]), row[1 + wide + i]});
      }
      if (pass.begins[t] == pass.ends[t]) logprobs.clear(), likely.clear();
      done(pass.first + t, logprobs, likely);
    }
  };
  run_texts(ctx, config, parameters, texts, task);
}

std::size_t score_with_likely_bytes(const Context& ctx, const ModelConfig& config, DType weights) {
  const InferenceShape shape = {.slots = 1,
                                .S = config.context,
                                .max_rows = config.context,
                                .max_logit_rows = kLogitRows,
                                .act = ctx.act,
                                .whole_texts = !config.causal,
                                .weights = weights,
                                .device = ctx.stream.device()};
  return InferencePass::plan_bytes(config, ctx.grid, shape) +
         InferencePass::kept_bytes(ctx, config, shape);
}

}  // namespace weft

#include "infer/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "core/host_copy.h"
#include "infer/sampler.h"

namespace weft {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

constexpr std::int64_t kLogitRows = 96;  // at once, where whole rows of logits are looked at

bool to_the_bit(const Context& ctx) { return ctx.precision == Precision::fp32_fixed; }

// Logits that put_logprobs asks for at once.
std::int64_t logit_rows(const Context& ctx) { return to_the_bit(ctx) ? kLogitRows : 1; }

// From whole rows of logits, as generate's: a softmax over a vocabulary cut among ranks would be
// summed in the order of its pieces. The other ranks of the stage are told by the first.
void put_logprobs_to_the_bit(const Context& ctx, InferencePass& inference, ConstView hidden,
                             std::span<const std::int32_t> labels,
                             std::span<const std::int64_t> rows, std::span<float> out) {
  std::fill(out.begin(), out.end(), 0.0f);
  HostCopy copy;
  Stream own(Device(), ctx.stream.n_threads());
  std::vector<std::size_t> which;  // of the labels, that are asked for
  for (std::size_t i = 0; i < labels.size(); ++i)
    if (labels[i] != kIgnoreLabel) which.push_back(i);
  for (std::size_t at = 0; at < which.size(); at += kLogitRows) {
    const auto some =
        std::span(which).subspan(at, std::min<std::size_t>(kLogitRows, which.size() - at));
    std::vector<std::int64_t> of_rows;
    std::vector<std::int32_t> ids;
    for (const std::size_t i : some) {
      of_rows.push_back(rows.empty() ? static_cast<std::int64_t>(i) : rows[i]);
      ids.push_back(labels[i]);
    }
    const ConstView logits = inference.logits(hidden, of_rows);
    if (ctx.grid.tp().rank() != 0) continue;
    const std::vector<float> logprobs =
        log_probabilities(copy.floats(logits, ctx.stream), ids, own);
    for (std::size_t i = 0; i < some.size(); ++i) out[some[i]] = logprobs[i];
  }
}

// out (labels) = log p of each, 0 where there is none: of each row, or of the chosen rows.
void put_logprobs(const Context& ctx, InferencePass& inference, ConstView hidden,
                  std::span<const std::int32_t> labels, std::span<const std::int64_t> rows,
                  std::span<float> out) {
  if (to_the_bit(ctx)) return put_logprobs_to_the_bit(ctx, inference, hidden, labels, rows, out);
  HostCopy copy;
  const float* loss = copy.floats(inference.losses(hidden, labels, rows), ctx.stream).as<float>();
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = -loss[i];
}

}  // namespace

double mean_loss(std::span<const float> logprobs) {
  double sum = 0;
  std::int64_t n = 0;
  for (const float l : logprobs) {
    if (std::isnan(l)) continue;
    sum += l;
    ++n;
  }
  return n > 0 ? -sum / static_cast<double>(n) : std::numeric_limits<double>::quiet_NaN();
}

namespace {

using Done = std::function<void(std::size_t, std::span<const float>)>;

void score_source(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                  const TextSource& texts, const Done& done) {
  PassTask task;
  task.max_logit_rows = logit_rows(ctx);
  task.n_values = [](const TextPass& pass) { return pass.ids.size(); };
  task.text_of = [](const TextPass& pass, std::size_t value) {
    return pass.text_at(static_cast<std::int64_t>(value));
  };
  task.compute = [&](InferencePass& inference, ConstView hidden, const TextPass& pass,
                     std::span<float> out) {
    std::vector<std::int32_t> labels(pass.ids.size(), kIgnoreLabel);
    for (const CacheSlice& s : pass.slices)
      for (std::int64_t r = s.first_row; r + 1 < s.first_row + s.n_rows; ++r)
        labels[static_cast<std::size_t>(r)] = pass.ids[static_cast<std::size_t>(r + 1)];
    put_logprobs(ctx, inference, hidden, labels, {}, out);
  };
  std::vector<float> shifted;
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    for (std::size_t t = 0; t < pass.n; ++t) {
      shifted.clear();
      for (std::int64_t r = pass.begins[t]; r < pass.ends[t]; ++r)
        shifted.push_back(r == pass.begins[t] ? kNone : values[static_cast<std::size_t>(r - 1)]);
      done(pass.first + t, shifted);
    }
  };
  run_texts(ctx, config, parameters, texts, task);
}

}  // namespace

void score_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                 std::span<const TokenizedText> texts, const Done& done) {
  const TextSource source = {
      .n = texts.size(),
      .length = [=](std::size_t t) { return static_cast<std::int64_t>(texts[t].ids.size()); },
      .text = [=](std::size_t t) { return texts[t]; }};
  score_source(ctx, config, parameters, source, done);
}

void score_in_windows(
    const Context& ctx, const ModelConfig& config, const Parameters& parameters,
    std::span<const TokenizedText> texts, std::int64_t stride,
    const std::function<void(std::size_t, std::span<const float>, double)>& done) {
  // Tokens [begin, end) of a text; those before `fresh` were scored before.
  struct Window {
    std::size_t text;
    std::int64_t begin, end, fresh;
  };
  std::vector<Window> windows;
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const auto n = static_cast<std::int64_t>(texts[t].ids.size());
    for (std::int64_t begin = 0, end = 0; begin == 0 || end < n; begin += stride) {
      const std::int64_t fresh = end;
      end = std::min(begin + config.context, n);
      windows.push_back({t, begin, end, fresh});
    }
  }
  TextSource source = {.n = windows.size(),
                       .length = [&](std::size_t w) { return windows[w].end - windows[w].begin; },
                       .text =
                           [&](std::size_t w) {
                             const Window& window = windows[w];
                             const TokenizedText& whole = texts[window.text];
                             TokenizedText part;
                             part.name = whole.name;
                             part.ids.assign(whole.ids.begin() + window.begin,
                                             whole.ids.begin() + window.end);
                             if (!whole.types.empty())
                               part.types.assign(whole.types.begin() + window.begin,
                                                 whole.types.begin() + window.end);
                             return part;
                           }};
  std::vector<float> logprobs;
  double sum = 0;  // of the windows' mean losses, weighed
  std::int64_t weights = 0;
  const auto window_done = [&](std::size_t w, std::span<const float> of_window) {
    const Window& window = windows[w];
    // The first of a window has nothing before it; where windows do not overlap it stays without.
    const std::span<const float> fresh =
        of_window.subspan(static_cast<std::size_t>(window.fresh - window.begin));
    logprobs.insert(logprobs.end(), fresh.begin(), fresh.end());
    const std::int64_t weight = static_cast<std::int64_t>(fresh.size()) - 1;
    if (weight > 0) {
      sum += mean_loss(fresh) * static_cast<double>(weight);
      weights += weight;
    }
    if (w + 1 < windows.size() && windows[w + 1].text == window.text) return;
    done(window.text, logprobs,
         weights > 0 ? sum / static_cast<double>(weights)
                     : std::numeric_limits<double>::quiet_NaN());
    logprobs.clear();
    sum = 0;
    weights = 0;
  };
  if (!windows.empty()) score_source(ctx, config, parameters, source, window_done);
}

void score_masked_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                        std::span<const TokenizedText> texts,
                        std::span<const std::vector<std::uint8_t>> skipped, std::int32_t mask_id,
                        const std::function<void(std::size_t, std::span<const float>)>& done) {
  // A text with one token masked. Those of all texts share passes; each is made when it is its
  // turn, since all at once would be each text's length squared.
  struct Variant {
    std::size_t text, place;
    std::size_t row(const TextPass& pass, std::size_t v) const {
      return static_cast<std::size_t>(pass.begins[v]) + place;
    }
  };
  std::vector<Variant> variants;
  for (std::size_t t = 0; t < texts.size(); ++t)
    for (std::size_t i = 0; i < texts[t].ids.size(); ++i)
      if (!skipped[t][i]) variants.push_back({t, i});
  TextSource source = {.n = variants.size(),
                       .length =
                           [&](std::size_t v) {
                             return static_cast<std::int64_t>(texts[variants[v].text].ids.size());
                           },
                       .text = nullptr};
  source.text = [&](std::size_t v) {
    TokenizedText masked = texts[variants[v].text];
    masked.ids[variants[v].place] = mask_id;
    return masked;
  };

  std::size_t at = 0;  // the text whose numbers come in
  std::vector<float> logprobs(texts.empty() ? 0 : texts[0].ids.size(), kNone);
  const auto finish_before = [&](std::size_t t) {
    while (at < t) {
      done(at, logprobs);
      logprobs.assign(++at < texts.size() ? texts[at].ids.size() : 0, kNone);
    }
  };
  std::vector<std::int64_t> rows;
  std::vector<std::int32_t> labels;
  PassTask task;
  task.max_logit_rows = logit_rows(ctx);
  task.n_values = [](const TextPass& pass) { return pass.n; };
  task.text_of = [](const TextPass&, std::size_t value) { return value; };
  task.compute = [&](InferencePass& inference, ConstView hidden, const TextPass& pass,
                     std::span<float> out) {
    rows.clear();
    labels.clear();
    for (std::size_t v = 0; v < pass.n; ++v) {  // the head reads the masked rows alone
      const Variant& variant = variants[pass.first + v];
      rows.push_back(static_cast<std::int64_t>(variant.row(pass, v)));
      labels.push_back(texts[variant.text].ids[variant.place]);
    }
    put_logprobs(ctx, inference, hidden, labels, rows, out);
  };
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    for (std::size_t v = 0; v < pass.n; ++v) {
      const Variant& variant = variants[pass.first + v];
      finish_before(variant.text);
      logprobs[variant.place] = values[v];
    }
  };
  if (!variants.empty()) run_texts(ctx, config, parameters, source, task, 4096);
  finish_before(texts.size());
}

}  // namespace weft

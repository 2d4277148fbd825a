#include "infer/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace weft {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

// -losses of the rows' labels.
void label_logprobs(Decoder& decoder, ConstView hidden, std::span<const std::int32_t> labels,
                    std::span<float> out) {
  const ConstView losses = decoder.losses(hidden, labels);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = -losses.as<float>()[i];
}

}  // namespace

void score_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                 std::span<const TokenizedText> texts,
                 const std::function<void(std::size_t, std::span<const float>)>& done) {
  PassTask task;
  task.n_values = [](const TextPass& pass) { return pass.ids.size(); };
  task.text_of = [](const TextPass& pass, std::size_t value) {
    return pass.text_at(static_cast<std::int64_t>(value));
  };
  task.compute = [](Decoder& decoder, ConstView hidden, const TextPass& pass,
                    std::span<float> out) {
    std::vector<std::int32_t> labels(pass.ids.size(), kIgnoreLabel);
    for (const CacheSlice& s : pass.slices)
      for (std::int64_t r = s.first_row; r + 1 < s.first_row + s.n_rows; ++r)
        labels[static_cast<std::size_t>(r)] = pass.ids[static_cast<std::size_t>(r + 1)];
    label_logprobs(decoder, hidden, labels, out);
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
  std::vector<float> states;
  std::vector<std::int32_t> labels;
  PassTask task;
  task.n_values = [](const TextPass& pass) { return pass.n; };
  task.text_of = [](const TextPass&, std::size_t value) { return value; };
  task.compute = [&](Decoder& decoder, ConstView hidden, const TextPass& pass,
                     std::span<float> out) {
    const std::int64_t C = config.width;
    states.clear();
    labels.clear();
    for (std::size_t v = 0; v < pass.n; ++v) {  // the head reads the masked rows alone
      const Variant& variant = variants[pass.first + v];
      const float* from = hidden.as<float>() + static_cast<std::int64_t>(variant.row(pass, v)) * C;
      states.insert(states.end(), from, from + C);
      labels.push_back(texts[variant.text].ids[variant.place]);
    }
    label_logprobs(decoder, ConstView(states.data(), Dims{static_cast<std::int64_t>(pass.n), C}),
                   labels, out);
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

#include "infer/score.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace weft {
namespace {

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

// -losses of the rows' labels.
void label_logprobs(Decoder& decoder, ConstView hidden, std::span<const std::int32_t> labels, std::span<float> out) {
  const ConstView losses = decoder.losses(hidden, labels);
  for (std::size_t i = 0; i < out.size(); ++i) out[i] = -losses.as<float>()[i];
}

}  // namespace

void score_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters, std::span<const TokenizedText> texts,
                 const std::function<void(std::size_t, std::span<const float>)>& done) {
  PassTask task;
  task.n_values = [](const TextPass& pass) { return pass.ids.size(); };
  task.compute = [](Decoder& decoder, ConstView hidden, const TextPass& pass, std::span<float> out) {
    std::vector<std::int32_t> labels(pass.ids.size(), kIgnoreLabel);
    for (const CacheSlice& s : pass.slices)
      for (std::int64_t r = s.first_row; r + 1 < s.first_row + s.n_rows; ++r) labels[static_cast<std::size_t>(r)] = pass.ids[static_cast<std::size_t>(r + 1)];
    label_logprobs(decoder, hidden, labels, out);
  };
  std::vector<float> shifted;
  task.done = [&](const TextPass& pass, std::span<const float> values) {
    for (std::size_t t = 0; t < pass.n; ++t) {
      shifted.clear();
      for (std::int64_t r = pass.begins[t]; r < pass.ends[t]; ++r) shifted.push_back(r == pass.begins[t] ? kNone : values[static_cast<std::size_t>(r - 1)]);
      done(pass.first + t, shifted);
    }
  };
  run_texts(ctx, config, parameters, texts, task);
}

void score_masked_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters, std::span<const TokenizedText> texts,
                        std::span<const std::vector<std::uint8_t>> skipped, std::int32_t mask_id,
                        const std::function<void(std::size_t, std::span<const float>)>& done) {
  // A text's variants are made when it is its turn: all at once would be its length squared for each.
  for (std::size_t t = 0; t < texts.size(); ++t) {
    const TokenizedText& text = texts[t];
    std::vector<TokenizedText> variants;
    std::vector<std::size_t> places;
    for (std::size_t i = 0; i < text.ids.size(); ++i) {
      if (skipped[t][i]) continue;
      places.push_back(i);
      variants.push_back(text);
      variants.back().ids[i] = mask_id;
    }
    std::vector<float> logprobs(text.ids.size(), kNone);
    PassTask task;
    task.n_values = [](const TextPass& pass) { return pass.n; };
    task.compute = [&](Decoder& decoder, ConstView hidden, const TextPass& pass, std::span<float> out) {
      std::vector<std::int32_t> labels(pass.ids.size(), kIgnoreLabel);
      std::vector<float> all(pass.ids.size());
      const auto row = [&](std::size_t v) { return static_cast<std::size_t>(pass.begins[v]) + places[pass.first + v]; };
      for (std::size_t v = 0; v < pass.n; ++v) labels[row(v)] = text.ids[places[pass.first + v]];
      label_logprobs(decoder, hidden, labels, all);
      for (std::size_t v = 0; v < pass.n; ++v) out[v] = all[row(v)];
    };
    task.done = [&](const TextPass& pass, std::span<const float> values) {
      for (std::size_t v = 0; v < pass.n; ++v) logprobs[places[pass.first + v]] = values[v];
    };
    if (!variants.empty()) run_texts(ctx, config, parameters, variants, task, 4096);
    done(t, logprobs);
  }
}

}  // namespace weft

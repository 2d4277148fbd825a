#include "infer/score.h"

#include <algorithm>
#include <cmath>

namespace weft {

void score_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters, std::span<const std::vector<std::int32_t>> texts,
                 const std::function<void(std::size_t, std::span<const float>)>& done) {
  constexpr std::int64_t kRows = 1024;
  std::int64_t longest = 1;
  for (const auto& ids : texts) longest = std::max(longest, static_cast<std::int64_t>(ids.size()));
  CHECK(longest <= config.context, "a text of {} tokens for a context of {}", longest, config.context);
  const std::int64_t slots = std::clamp<std::int64_t>(static_cast<std::int64_t>(texts.size()), 1, 64);
  const DecoderShape shape = {.slots = slots, .S = longest, .max_rows = std::max(kRows, longest), .max_logit_rows = 1};
  Decoder decoder(ctx, config, parameters, shape);
  const Grid& grid = ctx.grid;
  const int last_stage = (grid.shape().pp - 1) * grid.shape().tp;

  for (std::size_t begin = 0; begin < texts.size();) {
    // As many whole texts as a pass holds.
    std::vector<std::int32_t> ids, labels;
    std::vector<CacheSlice> slices;
    std::size_t end = begin;
    while (end < texts.size() && static_cast<std::int64_t>(end - begin) < shape.slots &&
           (end == begin || static_cast<std::int64_t>(ids.size() + texts[end].size()) <= shape.max_rows)) {
      const auto& text = texts[end];
      if (!text.empty())
        slices.push_back({static_cast<std::int64_t>(ids.size()), static_cast<std::int64_t>(text.size()), 0, static_cast<std::int64_t>(end - begin)});
      for (std::size_t i = 0; i < text.size(); ++i) {
        ids.push_back(text[i]);
        labels.push_back(i + 1 < text.size() ? text[i + 1] : kIgnoreLabel);
      }
      ++end;
    }
    std::vector<float> logprobs(ids.size());
    if (!ids.empty()) {
      const ConstView hidden = decoder.hidden({.ids = ids, .types = {}, .slices = slices, .text_lengths = {}});
      if (grid.is_last_stage()) {
        const ConstView losses = decoder.losses(hidden, labels);
        for (std::size_t i = 0; i < logprobs.size(); ++i) logprobs[i] = -losses.as<float>()[i];
      }
      if (grid.replica().size() > 1)
        grid.replica().broadcast(View(logprobs.data(), Dims{static_cast<std::int64_t>(logprobs.size())}), last_stage, ctx.stream);
    }
    CHECK(std::all_of(logprobs.begin(), logprobs.end(), [](float l) { return std::isfinite(l); }), "the model's log-probabilities are not finite");
    std::size_t at = 0;
    for (std::size_t t = begin; t < end; at += texts[t++].size())
      done(t, std::span<const float>(logprobs).subspan(at, texts[t].empty() ? 0 : texts[t].size() - 1));
    begin = end;
  }
}

}  // namespace weft

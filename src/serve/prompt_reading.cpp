#include "serve/prompt_reading.h"

#include <algorithm>
#include <utility>

#include "infer/embed_texts.h"
#include "infer/likely.h"

namespace weft {
namespace {

// As many prompts at once as one context holds.
template <class Read>
void in_groups(const ServedRequest& request, std::int64_t most, const Read& read) {
  std::vector<TokenizedText> texts;
  std::int64_t longest = 0;
  std::size_t first = 0;
  for (std::size_t i = 0; i < request.prompts.size(); ++i) {
    const auto n = static_cast<std::int64_t>(request.prompts[i].ids.size());
    longest = std::max(longest, n);
    if (!texts.empty() && longest * static_cast<std::int64_t>(texts.size() + 1) > most) {
      read(first, texts);
      texts.clear();
      first = i;
      longest = n;
    }
    TokenizedText& text = texts.emplace_back();
    text.ids = request.prompts[i].ids;
    text.name = fmt::format("prompt {}", i);
  }
  if (!texts.empty()) read(first, texts);
}

void score(const ServedRequest& r, const ReadingModel& m,
           const std::function<void(WorkEvent)>& give) {
  in_groups(r, m.config.context, [&](std::size_t first, std::span<TokenizedText> texts) {
    score_with_likely(
        m.ctx, m.config, m.parameters, texts, r.n_logprobs,
        [&](std::size_t t, std::span<const float> logprobs, std::span<const LikelyToken> likely) {
          WorkEvent event;
          event.kind = WorkEvent::Kind::prompt;
          event.index = first + t;
          const std::size_t wide = logprobs.empty() ? 0 : likely.size() / logprobs.size();
          for (std::size_t i = 0; i < logprobs.size(); ++i) {
            TokenLogprob& one = event.scores.emplace_back();
            one.id = texts[t].ids[i];
            one.logprob = logprobs[i];
            for (std::size_t n = 0; i > 0 && n < wide; ++n)
              one.top.emplace_back(likely[i * wide + n].id, likely[i * wide + n].logprob);
          }
          give(std::move(event));
        });
  });
}

void embed(const ServedRequest& r, const ReadingModel& m,
           const std::function<void(WorkEvent)>& give) {
  in_groups(r, m.config.context, [&](std::size_t first, std::span<TokenizedText> texts) {
    embed_texts(m.ctx, m.config, m.parameters, texts, {},
                [&](std::size_t t, std::span<const float> x) {
                  WorkEvent event;
                  event.kind = WorkEvent::Kind::vector;
                  event.index = first + t;
                  event.vector.assign(x.begin(), x.end());
                  give(std::move(event));
                });
  });
}

}  // namespace

std::optional<Failure> read_prompts_of(const ServedRequest& request, const ReadingModel& model,
                                       const std::function<void(WorkEvent)>& give) {
  return caught_together([&] {
    if (request.route == ServedRoute::embeddings)
      embed(request, model, give);
    else if (request.scores_prompts())
      score(request, model, give);
  });
}

}  // namespace weft

#include "serve/progress.h"

#include <iterator>
#include <utility>

#include "core/utf8.h"

namespace weft {

AnswerProgress::AnswerProgress(const ServedRequest& request, const Tokenizer& tokenizer)
    : request_(request),
      tokenizer_(tokenizer),
      choices_(request.n_choices()),
      left_(request.n_choices()) {
  if (!request.generates) return;
  for (std::size_t c = 0; c < choices_.size(); ++c) {
    const std::size_t prompt = request.prompt_of(c);
    choices_[c].text = std::make_unique<ChoiceText>(tokenizer, request.prompts[prompt],
                                                    request.options[prompt].stop);
  }
}

ChoicePart AnswerProgress::part(std::size_t choice, std::string text,
                                std::vector<TokenLogprob> logprobs) {
  ChoicePart p = {.index = choice, .text = std::move(text)};
  if (request_.n_logprobs < 0) return p;
  p.logprobs = std::move(logprobs);
  p.text_offset = choices_[choice].offset;
  for (const TokenLogprob& t : p.logprobs)
    choices_[choice].offset += n_characters(made_utf8(tokenizer_.token_bytes(t.id)));
  return p;
}

std::vector<ChoicePart> AnswerProgress::begin() {
  std::vector<ChoicePart> parts;
  if (request_.scores_prompts() || (!request_.echo && request_.generates)) return parts;
  for (std::size_t c = 0; c < choices_.size(); ++c) {
    parts.push_back(part(c, request_.echo ? request_.prompts[request_.prompt_of(c)].text : "", {}));
    if (request_.generates) continue;
    parts.back().finish = "length";
    --left_;
  }
  return parts;
}

std::vector<ChoicePart> AnswerProgress::add(const WorkEvent& event) {
  std::vector<ChoicePart> parts;
  switch (event.kind) {
    case WorkEvent::Kind::token:
      ++new_tokens_;
      parts.push_back(
          part(event.index, choices_[event.index].text->push(event.token.id), {event.token}));
      break;
    case WorkEvent::Kind::done:
      parts.push_back(part(event.index, choices_[event.index].text->finish(), {}));
      parts.back().finish = event.finish;
      --left_;
      break;
    case WorkEvent::Kind::prompt:
      for (std::size_t s = 0; s < static_cast<std::size_t>(request_.n); ++s) {
        const std::size_t choice = event.index * static_cast<std::size_t>(request_.n) + s;
        parts.push_back(part(choice, request_.prompts[event.index].text, event.scores));
        if (request_.generates) continue;
        parts.back().finish = "length";
        --left_;
      }
      break;
    case WorkEvent::Kind::vector:
    case WorkEvent::Kind::failed:
      break;
  }
  return parts;
}

AnswerUsage AnswerProgress::usage() const {
  AnswerUsage usage = {.prompt_tokens = 0, .completion_tokens = new_tokens_};
  for (const ServedPrompt& p : request_.prompts)
    usage.prompt_tokens += static_cast<std::int64_t>(p.ids.size());
  return usage;
}

void append(ChoicePart& whole, ChoicePart part) {
  whole.text += part.text;
  whole.logprobs.insert(whole.logprobs.end(), std::move_iterator(part.logprobs.begin()),
                        std::move_iterator(part.logprobs.end()));
  if (!part.finish.empty()) whole.finish = part.finish;
}

}  // namespace weft

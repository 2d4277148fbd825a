// What is known so far of the choices of one request, from the events of its work.
#pragma once

#include <memory>
#include <vector>

#include "serve/work.h"

namespace weft {

class AnswerProgress {
 public:
  // Both outlive it.
  AnswerProgress(const ServedRequest& request, const Tokenizer& tokenizer);

  // What is there before any event: the prompts where they are echoed, all of it where nothing is
  // asked of the engine.
  std::vector<ChoicePart> begin();
  // What an event adds. Not of failures and vectors.
  std::vector<ChoicePart> add(const WorkEvent& event);
  bool over() const { return left_ == 0; }
  AnswerUsage usage() const;

 private:
  ChoicePart part(std::size_t choice, std::string text, std::vector<TokenLogprob> logprobs);

  const ServedRequest& request_;
  struct Choice {
    std::unique_ptr<ChoiceText> text;
    std::int64_t offset = 0;  // characters of its text's tokens so far
  };
  const Tokenizer& tokenizer_;
  std::vector<Choice> choices_;
  std::size_t left_;  // choices under way
  std::int64_t new_tokens_ = 0;
};

// A part behind what came before it.
void append(ChoicePart& whole, ChoicePart part);

}  // namespace weft

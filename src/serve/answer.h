// What clients are told: the JSON of OpenAI's completions, chats, embeddings and errors, whole or
// as server-sent events. No sockets: text out.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "core/json.h"
#include "serve/request.h"
#include "text/tokenizer.h"

namespace weft {

struct TokenLogprob {
  std::int32_t id = 0;
  float logprob = 0;  // NaN: nothing predicts it, the first token of a prompt
  std::vector<std::pair<std::int32_t, float>> top = {};  // the likeliest, best first
};

// The text of one choice as its tokens come: what it gives, concatenated, is the continuation up to
// the first stop text. What may be a stop text's beginning is held back.
class ChoiceText {
 public:
  ChoiceText(const Tokenizer& tokenizer, const ServedPrompt& prompt, std::vector<std::string> stop);
  std::string push(std::int32_t id);
  std::string finish();

 private:
  std::string take(const std::string& piece, bool last);

  StreamDecoder decoder_;
  std::vector<std::string> stop_;
  std::size_t of_prompt_ = 0;  // bytes that the decoder still gives of the prompt
  std::string buffer_;  // the prompt's end, where a stop text may begin; what is not sent yet
  std::size_t new_ = 0, sent_ = 0;  // where the continuation begins in it; what is gone of it
  bool stopped_ = false;
};

struct AnswerUsage {
  std::int64_t prompt_tokens = 0, completion_tokens = 0;
};

// What is known of a choice: all of it, or what one event adds.
struct ChoicePart {
  std::size_t index = 0;
  std::string text;
  std::vector<TokenLogprob> logprobs = {};
  std::string finish = "";       // as the engine says it; empty: it goes on
  std::int64_t text_offset = 0;  // characters of the choice's text before these tokens
};

// The head that all objects of one answer share.
struct AnswerHead {
  std::string id;  // "cmpl-…"
  std::int64_t created = 0;
  std::string model;
};

// The forms of one answer.
class AnswerForms {
 public:
  AnswerForms(const ServedRequest& request, const Tokenizer& tokenizer, AnswerHead head);
  OrderedJson whole(const std::vector<ChoicePart>& choices, const AnswerUsage& usage) const;
  // Of a chat's stream: before the first token of each choice.
  OrderedJson begin_event(std::size_t index) const;
  OrderedJson event(const ChoicePart& part) const;
  OrderedJson usage_event(const AnswerUsage& usage) const;  // the last one, where it is asked for

 private:
  OrderedJson object(const char* kind) const;
  OrderedJson choice(const ChoicePart& part, bool event) const;
  OrderedJson logprobs(const ChoicePart& part) const;
  OrderedJson completion_logprobs(const ChoicePart& part) const;
  OrderedJson chat_logprobs(const ChoicePart& part) const;
  std::string token(std::int32_t id) const;

  const ServedRequest& request_;
  const Tokenizer& tokenizer_;
  AnswerHead head_;
};

OrderedJson embeddings_answer(const ServedRequest& request, const std::string& model,
                              const std::vector<std::vector<float>>& vectors);
OrderedJson models_answer(const std::string& model, std::int64_t context, std::int64_t created);
OrderedJson error_answer(const HttpError& error);

std::string server_sent_event(const OrderedJson& data);  // "data: {…}\n\n"
constexpr const char* kLastEvent = "data: [DONE]\n\n";

std::string base64(std::string_view bytes);
std::int64_t n_characters(std::string_view utf8);

}  // namespace weft

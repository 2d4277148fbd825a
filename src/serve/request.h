// What clients ask of the server, in OpenAI's forms, read into what the engine takes. No sockets,
// no ranks: text in, a request or a refusal out.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/check.h"
#include "infer/generation_file.h"
#include "infer/options.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace weft {

// What a client is told where there is no answer.
struct HttpError {
  int status = 500;
  std::string message;
  std::string type = "invalid_request_error";
  std::string param = "", code = "";  // empty: null
};
class RequestRefused : public UserError {
 public:
  explicit RequestRefused(HttpError what) : UserError(what.message), error(std::move(what)) {}
  HttpError error;
};

// What requests are read against; the references outlive it.
struct ServedModel {
  std::string name;  // as clients call it
  const ModelConfig& config;
  const Tokenizer& tokenizer;
  GenerationFile file;
  GenerationFile chat_file = {};               // with the tokens that end a turn
  std::optional<std::string> chat_template{};  // none: there is no chat
  std::int64_t seed = 0;                       // of requests that bring none
  bool any_name = false;                       // requests may call it what they like
};

enum class ServedRoute : std::uint8_t { completions, chat, embeddings };

struct ServedPrompt {
  std::string text;  // of token ids: what they decode to
  std::vector<std::int32_t> ids;
};

constexpr std::int64_t kMostLogprobs = 20;  // alternatives of a token, as vLLM

struct ServedRequest {
  ServedRoute route = ServedRoute::completions;
  std::vector<ServedPrompt> prompts;
  std::vector<Generation> options;  // of each prompt; none of embeddings
  std::int64_t n = 1;               // continuations of each prompt
  bool generates = true;            // false: max_tokens is 0, or vectors are asked for
  bool echo = false, stream = false, include_usage = false;
  bool seeded = false;           // by the client: the same request gives the same text
  bool base64 = false;           // vectors
  std::int64_t n_logprobs = -1;  // likeliest tokens that are told beside each; -1: none at all

  bool scores_prompts() const { return echo && n_logprobs >= 0; }
  // Whether something is asked about the prompts themselves.
  bool reads_prompts() const { return scores_prompts() || route == ServedRoute::embeddings; }
  // A choice's number is prompt * n + sample.
  std::size_t n_choices() const { return prompts.size() * static_cast<std::size_t>(n); }
  std::size_t prompt_of(std::size_t choice) const { return choice / static_cast<std::size_t>(n); }
};

// RequestRefused names the parameter, its value and what is allowed. `ids`: of each prompt, where
// another rank has read them already.
ServedRequest read_request(ServedRoute route, const std::string& body, const ServedModel& model,
                           const std::vector<std::vector<std::int32_t>>* ids = nullptr);

}  // namespace weft

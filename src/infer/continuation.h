// A continuation: what it begins from, what ends it, and its text.
#pragma once

#include <string>
#include <vector>

#include "infer/options.h"
#include "model/config.h"
#include "text/tokenizer.h"

namespace weft {

// A prompt's tokens; as transformers, an empty one is the begin token. UserErrors begin with
// `what`.
std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const ModelConfig& config,
                                     const std::string& prompt, const std::string& what);

// What the new tokens add to the prompt's text. Of both together, as transformers' pipeline:
// SentencePiece's first token loses its space alone.
std::string continuation_text(const Tokenizer& tokenizer, const std::vector<std::int32_t>& prompt,
                              const std::vector<std::int32_t>& ids);

struct Continuation {
  std::vector<std::int32_t> ids;  // prompt and new tokens
  std::vector<float> logprobs;    // of the new ones, by the model itself
  std::string tail;               // last bytes of the text, for stop strings
};

// The prompt alone. tokenizer may be null when there are no stop strings.
Continuation begin_continuation(const std::vector<std::int32_t>& prompt, const Generation& g,
                                const Tokenizer* tokenizer);

// Appends a token. The result: eos, stop, length, time, or empty while it goes on.
std::string append_token(Continuation& c, std::int32_t id, float logprob, const Generation& g,
                         std::int64_t n_prompt, const Tokenizer* tokenizer, double elapsed_s);

// As transformers: a stop string matches where it ends within the newest token, wherever it began,
// the prompt included; bytes of the token may follow it. `tail` holds the last bytes before the
// token, as many as the longest stop string; it is moved on.
bool ends_in_stop(std::string& tail, std::string_view token, const std::vector<std::string>& stop);

}  // namespace weft

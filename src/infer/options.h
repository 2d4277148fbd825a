// How text is generated: the options of transformers' GenerationConfig, by its names and with its
// defaults.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "text/tokenizer.h"

namespace weft {

struct GenerationOptions {
  std::optional<std::int64_t> max_new_tokens, max_length;
  std::optional<std::int64_t> min_new_tokens;
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty, length_penalty,
      max_time;
  std::optional<std::int64_t> top_k, no_repeat_ngram_size, num_return_sequences, num_beams, seed;
  std::vector<std::string> stop, bad_words;
  std::vector<std::string> eos_token_id;  // ids; a list of none given: the next one's in precedence
  std::string early_stopping;             // true, false, never; empty: unset
  std::optional<bool> return_full_text, logprobs, ignore_eos;

  void visit(FieldVisitor& v);
};

// Of beam search: whether it ends when all beams have ended, when no better one is likely, or when
// none is possible.
enum class EarlyStopping : std::uint8_t { no, yes, never };
constexpr Word<EarlyStopping> kEarlyStoppings[] = {
    {"true", EarlyStopping::yes}, {"false", EarlyStopping::no}, {"never", EarlyStopping::never}};

// All decided.
struct Generation {
  std::int64_t max_new_tokens = 20, min_new_tokens = 0, top_k = 50, no_repeat_ngram_size = 0,
               num_return_sequences = 1, num_beams = 1, seed = 0;
  bool do_sample = false, return_full_text = true, logprobs = false;
  bool greedy_by_temperature = false;  // sampling was asked for, but at a temperature of 0
  double temperature = 1, top_p = 1, min_p = 0, typical_p = 1, repetition_penalty = 1,
         length_penalty = 1;
  std::optional<double> max_time;
  EarlyStopping early_stopping = EarlyStopping::no;
  std::vector<std::int32_t> eos;  // none: only length stops
  std::vector<std::vector<std::int32_t>> bad_words;
  std::vector<std::string> stop;
};

struct GenerationFile;  // infer/generation_file.h

// A prompt's place in its model, for resolve_generation's errors and lengths.
struct PromptPlace {
  std::string what;  // "prompt 3", "prompts.jsonl: line 7"
  std::int64_t n_tokens = 0;
  std::int64_t context = 0, vocab = 0;
};

// Request over flags over the model's file over transformers' defaults. UserErrors name the option.
// A temperature of 0 is greedy.
// The tokenizer turns bad words into ids; it may be null where there are none.
Generation resolve_generation(const GenerationOptions& request, const GenerationOptions& flags,
                              const GenerationFile& file, const PromptPlace& prompt,
                              const Tokenizer* tokenizer);

// UserError where a temperature of 0 and sampling are both asked for by flags, whose names `flags`
// holds: that is greedy everywhere else, but here it is a contradiction.
void check_temperature(const GenerationOptions& given, const std::vector<std::string>& flags);

// Options that do nothing in the decided generation, each as "--top-k (needs --do-sample)".
std::vector<std::string> unused_options(const GenerationOptions& given, const Generation& decided);

}  // namespace weft

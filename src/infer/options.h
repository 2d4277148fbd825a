// How text is generated: the options of transformers' GenerationConfig, by its names and with its
// defaults.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "infer/choice/token_lists.h"
#include "text/tokenizer.h"

namespace weft {

// A list of none given: the next one's in precedence.
struct GenerationOptions {
  std::optional<std::int64_t> max_new_tokens, max_length;
  std::optional<std::int64_t> min_new_tokens, min_length;
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_h, top_p, min_p, typical_p, epsilon_cutoff, eta_cutoff;
  std::optional<double> repetition_penalty, encoder_repetition_penalty, guidance_scale,
      length_penalty, max_time;
  std::optional<std::int64_t> top_k, no_repeat_ngram_size, encoder_no_repeat_ngram_size,
      num_return_sequences, num_beams, seed, forced_bos_token_id;
  std::vector<std::string> stop, stop_strings, bad_words;
  std::vector<std::string> eos_token_id;  // ids
  std::vector<std::string> bad_words_ids, sequence_bias, suppress_tokens, begin_suppress_tokens,
      forced_eos_token_id, exponential_decay_length_penalty,
      negative_prompt_ids;     // infer/choice/token_lists.h
  std::string early_stopping;  // true, false, never; empty: unset
  std::optional<bool> return_full_text, logprobs, ignore_eos, renormalize_logits,
      remove_invalid_values;

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
               encoder_no_repeat_ngram_size = 0, num_return_sequences = 1, num_beams = 1, seed = 0;
  bool do_sample = false, return_full_text = true, logprobs = false;
  bool greedy_by_temperature = false;  // sampling was asked for, but at a temperature of 0
  bool renormalize_logits = false, remove_invalid_values = false;
  double temperature = 1, top_p = 1, min_p = 0, typical_p = 1, epsilon_cutoff = 0, eta_cutoff = 0,
         repetition_penalty = 1, encoder_repetition_penalty = 1, guidance_scale = 1,
         length_penalty = 1;
  // Of the OpenAI protocol, for what is new: each score falls by them, once for a token that is
  // among it and once each time it is.
  double presence_penalty = 0, frequency_penalty = 0;
  std::optional<double> top_h, max_time;
  EarlyStopping early_stopping = EarlyStopping::no;
  std::vector<std::int32_t> eos;  // none: only length stops
  std::vector<std::vector<std::int32_t>> bad_words;
  std::vector<SequenceBias> sequence_bias;
  std::vector<std::int32_t> suppress_tokens, begin_suppress_tokens;
  std::int32_t forced_bos = -1;          // the first new token of a prompt of one token; -1: any
  std::vector<std::int32_t> forced_eos;  // one of them is the last of max_new_tokens
  std::optional<LengthDecay> length_decay;
  std::vector<std::int32_t> negative_prompt;  // what guidance leads away from; none: the prompt's
                                              // last token
  std::vector<std::string> stop;

  // Guidance reads a second text beside a continuation: the new tokens without their prompt.
  bool guided() const { return guidance_scale != 1; }
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

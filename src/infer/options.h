// How text is generated: the options of transformers' GenerationConfig, by its names and with its defaults.
#pragma once

#include <filesystem>
#include <vector>

#include "core/fields.h"
#include "io/json.h"
#include "model/config.h"

namespace weft {

struct GenerationOptions {
  std::optional<std::int64_t> max_new_tokens, max_length;
  std::optional<std::int64_t> min_new_tokens;
  std::optional<bool> do_sample;
  std::optional<double> temperature, top_p, min_p, typical_p, repetition_penalty, max_time;
  std::optional<std::int64_t> top_k, no_repeat_ngram_size, num_return_sequences, num_beams, eos_token_id, seed;
  std::vector<std::string> stop;
  std::optional<bool> return_full_text, logprobs, ignore_eos;

  void visit(FieldVisitor& v);
};

// All decided.
struct Generation {
  std::int64_t max_new_tokens = 20, min_new_tokens = 0, top_k = 50, no_repeat_ngram_size = 0, num_return_sequences = 1, seed = 0;
  bool do_sample = false, return_full_text = true, logprobs = false;
  double temperature = 1, top_p = 1, min_p = 0, typical_p = 1, repetition_penalty = 1, max_time = 0;
  std::vector<std::int32_t> eos;  // none: only length stops
  std::vector<std::string> stop;
};

// What generation_config.json of the model sets; empty where there is none.
GenerationOptions read_generation_config(const std::filesystem::path& dir, std::vector<std::int32_t>* eos);

// Request over flags over the model's file over transformers' defaults. UserErrors name the option; `prompt_tokens` and `context` bound the length.
Generation resolve_generation(const GenerationOptions& request, const GenerationOptions& flags, const GenerationOptions& file,
                              const std::vector<std::int32_t>& model_eos, std::int64_t prompt_tokens, std::int64_t context, const std::string& what);

}  // namespace weft

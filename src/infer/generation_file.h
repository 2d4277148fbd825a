// generation_config.json: what a model's author chose for its continuations.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "infer/options.h"
#include "io/json.h"

namespace weft {

// Options of transformers' generate() that Weft lacks, the values at which they change nothing, and
// why they are not here.
struct LackingOption {
  const char* key;
  Json neutral;
  const char* why;
  bool changes_text = true;  // else only how fast it comes
};
const std::vector<LackingOption>& lacking_options();
// Their flags, and what an error says behind "has no option '--…'".
std::map<std::string, std::string> lacking_flags();

// What a model's generation_config.json sets.
struct GenerationFile {
  GenerationOptions options;
  std::vector<std::int32_t> eos;
  std::vector<std::vector<std::int32_t>> bad_words;
  std::vector<SequenceBias> sequence_bias;
  std::vector<std::int32_t> suppress_tokens, begin_suppress_tokens, forced_eos;
  std::optional<LengthDecay> length_decay;
  std::vector<std::string>
      unknown;  // settings that would change the text and that Weft does not have
};
// From its text; UserErrors name `origin` and the key.
GenerationFile parse_generation_config(const std::string& text, const std::string& origin);

}  // namespace weft

// generation_config.json: what a model's author chose for its continuations.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "infer/options.h"
#include "io/json.h"

namespace weft {

// Options of transformers' generate() that Weft lacks, and the values at which they change nothing.
struct LackingOption {
  const char* key;
  Json neutral;
};
const std::vector<LackingOption>& lacking_options();

// What a model's generation_config.json sets.
struct GenerationFile {
  GenerationOptions options;
  std::vector<std::int32_t> eos;
  std::vector<std::vector<std::int32_t>> bad_words;
  std::int64_t min_length = 0;  // prompt included
  std::vector<std::string>
      unknown;  // settings that would change the text and that Weft does not have
};
// From its text; UserErrors name `origin` and the key.
GenerationFile parse_generation_config(const std::string& text, const std::string& origin);

}  // namespace weft

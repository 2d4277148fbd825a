// The vocabulary in a GGUF file's metadata, checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "io/json.h"

namespace weft {

// tokenizer.ggml.token_type
enum class GgufTokenType : std::uint8_t {
  normal = 1,
  unknown,
  control,
  user_defined,
  unused,
  byte
};

struct GgufVocabulary {
  std::vector<std::string> tokens;  // by id; a token that stands there again under a later id is
                                    // empty here, as are paddings
  std::vector<GgufTokenType> types;
  std::vector<double> scores;  // empty where the file has none
  std::string model, origin;
  std::optional<std::int64_t> bos, eos, unk, sep, pad, cls, mask;

  bool is(std::size_t id, GgufTokenType type) const { return types[id] == type; }
};
GgufVocabulary read_gguf_vocabulary(const Json& metadata, const std::string& origin);

// SentencePiece's merges, found again from the scores, best first: all cuts of a token into two
// tokens, as transformers' SpmConverter makes them. Where the scores do not follow the merges
// (Gemma), the order of the tokens does.
std::vector<std::pair<std::string, std::string>> merges_from_scores(
    const GgufVocabulary& vocabulary, bool by_order);

}  // namespace weft

// Options whose values are token ids: as people type them (3,17), as JSON has them ([3, 17]), and
// what they mean.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/json.h"

namespace weft {

// What is added to the score of a sequence's last token where the text ends in the others.
struct SequenceBias {
  std::vector<std::int32_t> ids;
  float bias = 0;
};

// From `start` new tokens on, the end tokens' scores grow by |score| (factor^(tokens since) - 1).
struct LengthDecay {
  std::int64_t start = 0;
  double factor = 1;
};

// The ids of a vocabulary that an option may name, and what errors call the option.
struct TokenOption {
  std::string what;  // "--suppress-tokens", "generation_config.json: suppress_tokens"
  std::int64_t vocab = 0;
};

// An option's list as one JSON list. An entry is a value or several, in JSON or without its
// brackets: "3", "3,17", "[3, 17]". UserErrors name the option.
Json listed(const std::string& what, const std::vector<std::string>& entries);

// From such lists, or from a file's value. UserErrors name the option, what it is and what is
// allowed.
std::vector<std::int32_t> token_ids(const TokenOption& option, const Json& list);
// Each entry a sequence: "3,17", "[3, 17]", or a list of them, "[[3, 17], [5]]".
std::vector<std::vector<std::int32_t>> token_sequences(const TokenOption& option,
                                                       const std::vector<std::string>& entries);
std::vector<std::vector<std::int32_t>> token_sequences(const TokenOption& option, const Json& list);
// Each entry a sequence and its bias: "3,17=-2.5", "[[3, 17], -2.5]", or a list of them. Of one
// sequence the last bias counts. In the order in which the reference adds them.
std::vector<SequenceBias> sequence_biases(const TokenOption& option,
                                          const std::vector<std::string>& entries);
std::vector<SequenceBias> sequence_biases(const TokenOption& option, const Json& list);
// "15,1.6", "[15, 1.6]".
LengthDecay length_decay(const std::string& what, const Json& list);

}  // namespace weft

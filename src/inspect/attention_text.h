// A text as a view of its attention shows it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "text/tokenizer.h"

namespace weft {

struct AttentionText {
  std::string name;                 // its id
  std::string text;                 // of a pair both, a line end between them
  std::vector<std::string> tokens;  // (T) printable; spaces at their beginnings are kept
  std::vector<std::int32_t> ids;    // (T)
  // (T) characters [begin, end) of `text`; (-1, -1): a token put around texts.
  std::vector<std::pair<std::int64_t, std::int64_t>> offsets;
  std::vector<std::int64_t> words;        // (T) word that each token is of; rises by 0 or 1
  std::optional<std::int64_t> pair_from;  // the second text's first token
};

// What the tokenizer made of the text, or pair; both are UTF-8.
AttentionText attention_text(const Tokenizer& tokenizer, const std::string& name,
                             const std::string& text, const std::optional<std::string>& pair,
                             const Encoding& encoding);

// Of tokens without a text: it is what they read together, special ones left out.
AttentionText text_of_ids(const Tokenizer& tokenizer, const std::string& name,
                          std::span<const std::int32_t> ids);

}  // namespace weft

// Where tokens lie in a text, in characters instead of bytes, as transformers gives it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <utility>

#include "text/tokenizer.h"

namespace weft {

// Bytes of `text` to characters of the text that is shown, in place. A character that several
// tokens share belongs to each.
void offsets_in_characters(std::string_view text,
                           std::span<std::pair<std::int64_t, std::int64_t>> offsets);

// How many of a pair's tokens come before the second text and what is put before it.
std::size_t tokens_of_first(const Tokenizer& tokenizer, const Encoding& pair,
                            std::string_view first_text);

}  // namespace weft

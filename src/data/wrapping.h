// What a tokenizer puts around texts, found by trying it; and how long texts may stay where it must
// fit.
#pragma once

#include <utility>

#include "io/token_file.h"
#include "text/tokenizer.h"

namespace weft {

// Around a text, or a pair. UserError where the tokenizer makes no token of any of its own tokens'
// texts.
Wrapping wrapping_of(const Tokenizer& tokenizer, bool pair);

// Tokens that are kept of two texts, `room` together, as truncation "longest_first" of tokenizers:
// the longer is cut first, at its end.
std::pair<std::int64_t, std::int64_t> longest_first(std::int64_t first, std::int64_t second,
                                                    std::int64_t room);

}  // namespace weft

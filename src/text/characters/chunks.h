// Long texts in overlapping pieces, as a search wants them.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

namespace weft {

// Lengths in code points.
struct ChunkSize {
  std::int64_t length = 1000;  // of a piece, at most
  std::int64_t overlap = 0;    // that a piece repeats of the one before, at most; below the length
};

// The pieces of a text (valid UTF-8) in order, as views of it. A piece ends in the second half of
// its room, at the end of a paragraph, else of a line, a sentence, a word, else between any two
// characters; an overlap begins with a word, or between any two characters where it has no space.
// Pieces have no White_Space at their ends. A text that is short enough is one piece as it is, and
// so is one of nothing but White_Space.
std::vector<std::string_view> chunks(std::string_view text, const ChunkSize& size);

}  // namespace weft

// Cutting a piece at delimiters.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/pre_tokenizer.h"

namespace weft {

enum class SplitBehavior : std::uint8_t {
  removed,
  isolated,
  merged_with_previous,
  merged_with_next,
  contiguous
};
SplitBehavior read_split_behavior(const std::string& name, const std::string& origin);
std::string name_of(SplitBehavior behavior);

struct Span {
  std::size_t begin, end;
  bool is_match;
};

// Appends the pieces that spans (they follow each other and cover a piece) make, those that are
// empty left out.
void split_spans(std::vector<Span>& spans, SplitBehavior behavior, std::vector<TextPiece>& out);

}  // namespace weft

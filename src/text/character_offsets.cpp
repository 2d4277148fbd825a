#include "text/character_offsets.h"

#include <algorithm>
#include <vector>

#include "core/utf8.h"

namespace weft {

void offsets_in_characters(std::string_view text,
                           std::span<std::pair<std::int64_t, std::int64_t>> offsets) {
  std::vector<std::int64_t> at(text.size() + 1);  // character that each byte belongs to
  std::int64_t characters = 0;
  for (std::size_t begin = 0, n; begin < text.size(); begin += n, ++characters) {
    n = shown_character_at(text, begin).bytes;
    std::fill_n(at.begin() + static_cast<std::ptrdiff_t>(begin), n, characters);
  }
  at.back() = characters;
  for (auto& [begin, end] : offsets) {
    const bool empty = begin == end;
    begin = at[static_cast<std::size_t>(begin)];
    end = empty ? begin : at[static_cast<std::size_t>(end - 1)] + 1;
  }
}

std::size_t tokens_of_first(const Tokenizer& tokenizer, const Encoding& pair,
                            std::string_view first_text) {
  // The first text's tokens come first; those put around texts are nobody's.
  std::size_t left = tokenizer.ids(first_text).size(), n = 0;
  for (; n < pair.ids.size() && (left > 0 || pair.added[n]); ++n) left -= !pair.added[n];
  return n;
}

}  // namespace weft

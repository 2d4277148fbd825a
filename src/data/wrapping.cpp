#include "data/wrapping.h"

#include <algorithm>

#include "core/check.h"

namespace weft {
namespace {

// The stretch [begin, end) that the tokenizer added.
Wrapping::Piece piece_of(const Encoding& e, std::size_t begin, std::size_t end) {
  const auto cut = [&](const std::vector<std::int32_t>& all) {
    return std::vector<std::int32_t>(all.begin() + static_cast<std::ptrdiff_t>(begin),
                                     all.begin() + static_cast<std::ptrdiff_t>(end));
  };
  return {cut(e.ids), cut(e.type_ids)};
}

// Some text that has tokens of its own: a character tokenizer of proteins knows no digits.
std::string probe(const Tokenizer& tokenizer) {
  for (std::int32_t id = 0; id < tokenizer.vocab_size(); ++id) {
    if (tokenizer.is_special(id)) continue;
    const std::string text = tokenizer.token_bytes(id);
    try {
      if (!text.empty() && !tokenizer.ids(text).empty()) return text;
    } catch (const UserError&) {  // it cannot read this one; another will do
    }
  }
  user_error("the tokenizer makes no tokens of any text");
}

}  // namespace

Wrapping wrapping_of(const Tokenizer& tokenizer, bool pair) {
  const std::string text = probe(tokenizer);
  const Encoding e = pair ? tokenizer.encode_pair(text, text) : tokenizer.encode(text);
  const std::size_t n = tokenizer.ids(text).size();
  const auto content = [&](std::size_t from) {
    return static_cast<std::size_t>(
        std::find(e.added.begin() + static_cast<std::ptrdiff_t>(from), e.added.end(), 0) -
        e.added.begin());
  };
  Wrapping w;
  std::size_t at = content(0);
  CHECK(at + n <= e.ids.size(), "the tokenizer gives {} tokens, {} of them content", e.ids.size(),
        n);
  w.before = piece_of(e, 0, at);
  w.first_type = w.second_type = e.type_ids[at];
  at += n;
  if (pair) {
    const std::size_t second = content(at);
    CHECK(second + n <= e.ids.size(), "the tokenizer gives {} tokens for a pair of {} each",
          e.ids.size(), n);
    w.between = piece_of(e, at, second);
    w.second_type = e.type_ids[second];
    at = second + n;
  }
  w.behind = piece_of(e, at, e.ids.size());
  return w;
}

std::pair<std::int64_t, std::int64_t> longest_first(std::int64_t first, std::int64_t second,
                                                    std::int64_t room) {
  room = std::max<std::int64_t>(room, 0);
  if (first + second <= room) return {first, second};
  std::int64_t shorter = std::min(first, second),
               longer = shorter > room ? shorter : std::max(shorter, room - shorter);
  if (shorter + longer > room) {
    shorter = room / 2;
    longer = shorter + room % 2;
  }
  const std::int64_t a = first > second ? longer : shorter, b = first > second ? shorter : longer;
  return {std::min(a, first), std::min(b, second)};
}

}  // namespace weft

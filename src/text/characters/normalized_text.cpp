#include "text/characters/normalized_text.h"

#include <algorithm>

#include "text/characters/unicode.h"

namespace weft {
namespace {

// First byte of the character that byte `at` is part of; a byte that is not UTF-8 is one of its
// own.
std::size_t character_begin(std::string_view text, std::size_t at) {
  for (std::size_t back = 0; back <= std::min<std::size_t>(3, at); ++back)
    if (const Character c = character_at(text, at - back); c.code >= 0)
      return c.bytes > back ? at - back : at;
  return at;
}

}  // namespace

NormalizedText NormalizedText::slice(std::size_t begin, std::size_t end) const {
  NormalizedText part(text().substr(begin, end - begin), base_ + (places_.empty() ? begin : 0),
                      aligned_);
  if (places_.empty()) return part;
  part.places_.assign(places_.begin() + static_cast<std::ptrdiff_t>(begin),
                      places_.begin() + static_cast<std::ptrdiff_t>(end));
  if (begin < end) part.base_ = part.places_.front().begin;
  return part;
}

Place NormalizedText::place(std::size_t begin, std::size_t end) const {
  if (!places_.empty()) return {places_[begin].begin, places_[end - 1].end};
  return {base_ + static_cast<std::uint32_t>(begin), base_ + static_cast<std::uint32_t>(end)};
}

Place NormalizedText::place_at(std::size_t at) const {
  if (!places_.empty()) return places_[at];
  const std::size_t begin = character_begin(text(), at);
  return place(begin, begin + character_at(text(), begin).bytes);
}

void NormalizedText::become(std::string text, std::vector<Place> places) {
  if (aligned_ && text.empty())
    base_ = place(0, std::max<std::size_t>(1, this->text().size())).begin;
  own_ = std::move(text);
  places_ = std::move(places);
  owned_ = true;
}

void Rewriter::keep(std::size_t begin, std::size_t end) {
  const std::string_view old = text_.text();
  out_ += old.substr(begin, end - begin);
  if (!text_.aligned()) return;
  for (std::size_t at = begin; at < end;) {
    const std::size_t n = std::min(character_at(old, at).bytes, end - at);
    for (std::size_t i = 0; i < n; ++i) places_.push_back(text_.place_at(at));
    at += n;
  }
}

void Rewriter::put_at(std::string_view what, Place place) {
  out_ += what;
  if (text_.aligned()) places_.insert(places_.end(), what.size(), place);
}

void Rewriter::put(std::string_view what, std::size_t at) {
  put_at(what, text_.aligned() ? text_.place_at(at) : Place{});
}

}  // namespace weft

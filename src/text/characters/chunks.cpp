#include "text/characters/chunks.h"

#include <algorithm>
#include <array>
#include <cstddef>

#include "core/check.h"
#include "text/characters/unicode.h"

namespace weft {
namespace {

bool is_space(std::int32_t code) { return class_of(code) == CharClass::space; }

// What ends where a piece may; the later, the better.
enum class Unit : std::uint8_t { word, sentence, line, paragraph };

// Whether a sentence has ended, after each of its characters.
class SentenceEnd {
 public:
  void next(std::int32_t code) {
    constexpr std::u32string_view kStops = U".!?\u2026", kWideStops = U"\u3002\uFF01\uFF1F\u0964",
                                  kClosers = U"\"')]}\u00BB\u2019\u201D\u300D\u300F\uFF09";
    const auto c = static_cast<char32_t>(code);
    if (kClosers.find(c) != std::u32string_view::npos) return;  // they belong to it
    wide_ = kWideStops.find(c) != std::u32string_view::npos;
    ended_ = wide_ || kStops.find(c) != std::u32string_view::npos;
  }
  bool before_space() const { return ended_; }
  bool at_once() const { return wide_; }  // no space follows 。

 private:
  bool ended_ = false, wide_ = false;
};

class Cutter {
 public:
  Cutter(std::string_view text, const ChunkSize& size) : text_(text), size_(size) {}

  std::vector<std::string_view> cut() {
    std::vector<std::string_view> pieces;
    std::size_t begin = after_spaces(0);
    std::int64_t known = 0;  // characters from there on that the piece before has
    while (const std::size_t end = cut_after(begin, known)) {
      pieces.push_back(stripped(text_.substr(begin, end - begin), false, true));
      begin = next_begin(begin, end, known);
    }
    pieces.push_back(text_.substr(begin));
    return pieces;
  }

 private:
  Character at(std::size_t i) const { return character_at(text_, i); }
  std::size_t before(std::size_t i) const {  // i > 0
    do {
      --i;
    } while (i > 0 && (static_cast<std::uint8_t>(text_[i]) & 0xC0u) == 0x80u);
    return i;
  }
  std::size_t after_spaces(std::size_t i) const {
    while (i < text_.size() && is_space(at(i).code)) i += at(i).bytes;
    return i;
  }

  // What ends before the White_Space at i, as far as a piece's length behind it.
  Unit unit_before(std::size_t i, bool sentence) const {
    int newlines = 0;
    for (std::int64_t n = 0; n < size_.length && i < text_.size() && newlines < 2; ++n) {
      const Character c = at(i);
      if (!is_space(c.code)) break;
      newlines += c.code == '\n';
      i += c.bytes;
    }
    if (newlines > 0) return newlines > 1 ? Unit::paragraph : Unit::line;
    return sentence ? Unit::sentence : Unit::word;
  }

  // Where the piece from `begin` on ends; 0: it takes the rest.
  std::size_t cut_after(std::size_t begin, std::int64_t known) const {
    const std::int64_t least = std::max({size_.length / 2, size_.overlap + 1, known + 1});
    std::array<std::size_t, 4> last{};  // the last end of each unit
    SentenceEnd sentence;
    std::size_t i = begin;
    bool spaces = true;
    for (std::int64_t n = 0; i < text_.size(); ++n) {
      const Character c = at(i);
      const bool space = is_space(c.code);
      if (n >= least && !spaces && space)
        last[static_cast<std::size_t>(unit_before(i, sentence.before_space()))] = i;
      else if (n >= least && sentence.at_once())
        last[static_cast<std::size_t>(Unit::sentence)] = i;
      if (n == size_.length) {
        const auto best =
            std::find_if(last.rbegin(), last.rend(), [](auto end) { return end > 0; });
        return best != last.rend() ? *best : i;
      }
      sentence.next(c.code);
      spaces = space;
      i += c.bytes;
    }
    return 0;
  }

  // Where the piece behind [begin, end) begins.
  std::size_t next_begin(std::size_t begin, std::size_t end, std::int64_t& known) const {
    const std::size_t rest = after_spaces(end);
    std::size_t from = end;
    for (std::int64_t n = 0; n < size_.overlap && from > begin; ++n) from = before(from);
    const std::size_t word = first_word(begin, from, end);
    known = 0;
    if (word == end) return rest;
    for (std::size_t i = word; i < rest && known < size_.length; i += at(i).bytes) ++known;
    if (word > begin && known < size_.length) return word;
    known = 0;
    return rest;  // nothing new would be in a piece that begins earlier
  }

  // The first word that begins in [from, end), else `from` where no space is in it, else `end`.
  std::size_t first_word(std::size_t begin, std::size_t from, std::size_t end) const {
    bool spaces = from == begin || is_space(at(before(from)).code);
    for (std::size_t i = from; i < end; i += at(i).bytes) {
      const bool space = is_space(at(i).code);
      if (spaces && !space) return i;
      spaces = spaces || space;
    }
    return spaces ? end : from;
  }

  const std::string_view text_;
  const ChunkSize size_;
};

// Whether a text has no more than n characters.
bool fits(std::string_view text, std::int64_t n) {
  std::size_t i = 0;
  for (; n > 0 && i < text.size(); --n) i += character_at(text, i).bytes;
  return i >= text.size();
}

}  // namespace

std::vector<std::string_view> chunks(std::string_view text, const ChunkSize& size) {
  CHECK(size.length > 0 && size.overlap >= 0 && size.overlap < size.length, "pieces of {}, {}",
        size.length, size.overlap);
  const std::string_view inner = stripped(text, true, true);
  if (inner.empty() || fits(text, size.length)) return {text};
  return Cutter(inner, size).cut();
}

}  // namespace weft

#include "text/characters/unicode.h"

#include <algorithm>
#include <vector>

#include "core/utf8.h"
#include "text/characters/unicode_properties.h"

namespace weft {
namespace {

constexpr std::int32_t kCodes = 0x110000;

CharClass look_up(std::int32_t code) {
  // White_Space (Unicode PropList); the categories alone would miss the control characters among
  // them.
  if ((code >= 9 && code <= 13) || code == 0x20 || code == 0x85 || code == 0xA0 || code == 0x1680 ||
      (code >= 0x2000 && code <= 0x200A) || code == 0x2028 || code == 0x2029 || code == 0x202F ||
      code == 0x205F || code == 0x3000)
    return CharClass::space;
  const Category category = properties_of(code).category;
  return category <= Category::Lo                               ? CharClass::letter
         : category >= Category::Nd && category <= Category::No ? CharClass::number
                                                                : CharClass::other;
}

}  // namespace

CharClass class_of_wide(std::int32_t code) {
  static const std::vector<CharClass> table = [] {
    std::vector<CharClass> all(kCodes);
    for (std::int32_t c = 0; c < kCodes; ++c) all[static_cast<std::size_t>(c)] = look_up(c);
    return all;
  }();
  return code < 0 || code >= kCodes ? CharClass::other : table[static_cast<std::size_t>(code)];
}

bool is_word_character(std::int32_t code) { return has(code, kWord); }
bool is_punctuation(std::int32_t code) { return has(code, kPunctuation); }

Character long_character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0u;
  };
  const std::uint32_t first = byte(at);
  const std::size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4) return {-1, 1};
  std::uint32_t code = first & (0xFFu >> (n + 1));
  for (std::size_t k = 1; k < n; ++k) {
    const std::uint32_t next = byte(at + k);
    if ((next & 0xC0u) != 0x80u) return {-1, 1};
    code = code << 6 | (next & 0x3Fu);
  }
  const bool overlong = (n == 3 && code < 0x800) || (n == 4 && code < 0x10000);
  if (overlong || code > 0x10FFFF || (code >= 0xD800 && code <= 0xDFFF)) return {-1, 1};
  return {static_cast<std::int32_t>(code), n};
}

std::size_t incomplete_tail(std::string_view text) {
  for (std::size_t back = 1; back <= std::min<std::size_t>(3, text.size()); ++back) {
    const auto byte = static_cast<std::uint8_t>(text[text.size() - back]);
    if ((byte & 0xC0u) == 0x80u) continue;  // a continuation: its first byte stands further left
    const std::size_t needs = byte >= 0xF0 ? 4 : byte >= 0xE0 ? 3 : byte >= 0xC2 ? 2 : 1;
    return byte <= 0xF4 && needs > back ? back : 0;
  }
  return 0;
}

std::string_view stripped(std::string_view text, bool left, bool right) {
  const auto is_space = [&](std::size_t at) {
    return class_of(character_at(text, at).code) == CharClass::space;
  };
  while (left && !text.empty() && is_space(0)) text.remove_prefix(character_at(text, 0).bytes);
  while (right && !text.empty()) {
    std::size_t last = text.size() - 1;
    while (last > 0 && (static_cast<std::uint8_t>(text[last]) & 0xC0u) == 0x80u) --last;
    if (last + character_at(text, last).bytes != text.size() || !is_space(last)) break;
    text.remove_suffix(text.size() - last);
  }
  return text;
}

}  // namespace weft

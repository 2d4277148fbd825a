// Characters as the tokenizers see them: UTF-8 read leniently, and the classes that the
// pre-tokenizers' patterns name.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

#include "core/utf8.h"

namespace weft {

enum class CharClass : std::uint8_t { other, letter, number, space };  // \p{L}, \p{N}, White_Space

// The character at `at`: its code point and length. A byte that is not UTF-8 stands for itself:
// code point -1, length 1.
struct Character {
  std::int32_t code;
  std::size_t bytes;
};
Character long_character_at(std::string_view text, std::size_t at);
CharClass class_of_wide(std::int32_t code);

inline constexpr std::array<CharClass, 128> kAsciiClasses = [] {
  std::array<CharClass, 128> all{};
  for (std::size_t c = 0; c < 128; ++c) {
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'),
               number = c >= '0' && c <= '9', space = c == ' ' || (c >= 9 && c <= 13);
    all[c] = letter   ? CharClass::letter
             : number ? CharClass::number
             : space  ? CharClass::space
                      : CharClass::other;
  }
  return all;
}();

// Most text is ASCII: it is answered in place.
inline Character character_at(std::string_view text, std::size_t at) {
  const auto first = at < text.size() ? static_cast<std::uint8_t>(text[at]) : std::uint8_t{0};
  return first < 0x80 ? Character{first, 1} : long_character_at(text, at);
}
inline CharClass class_of(std::int32_t code) {
  return code >= 0 && code < 128 ? kAsciiClasses[static_cast<std::size_t>(code)]
                                 : class_of_wide(code);
}

bool is_word_character(std::int32_t code);  // \w of the reference's own patterns
bool is_punctuation(std::int32_t code);     // ASCII punctuation and symbols, and most of category P

// The part of a text without White_Space at its ends.
std::string_view stripped(std::string_view text, bool left, bool right);

// Bytes at the end of `text` that begin a character which is not complete yet.
std::size_t incomplete_tail(std::string_view text);

}  // namespace weft

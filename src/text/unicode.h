// Characters as the tokenizers see them: UTF-8 read leniently, and the classes that the pre-tokenizers' patterns name.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

enum class CharClass : std::uint8_t { other, letter, number, space };  // \p{L}, \p{N}, White_Space

// The character at `at`: its code point and length. A byte that is not UTF-8 stands for itself: code point -1, length 1.
struct Character {
  std::int32_t code;
  std::size_t bytes;
};
Character character_at(std::string_view text, std::size_t at);
CharClass class_of(std::int32_t code);

void append_utf8(std::string& out, std::uint32_t code);

// Bytes at the end of `text` that begin a character which is not complete yet.
std::size_t incomplete_tail(std::string_view text);

}  // namespace weft

#include "text/characters/byte_level.h"

#include <unordered_map>

#include "text/characters/unicode.h"

namespace weft {

const std::array<std::string, 256>& byte_characters() {
  static const std::array<std::string, 256> table = [] {
    std::array<std::string, 256> all;
    std::uint32_t next = 0x100;
    for (std::uint32_t b = 0; b < 256; ++b) {
      const bool itself = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b <= 0xAC) || b >= 0xAE;
      append_utf8(all[b], itself ? b : next++);
    }
    return all;
  }();
  return table;
}

std::optional<std::string> bytes_of_characters(std::string_view characters) {
  static const std::unordered_map<std::int32_t, char> table = [] {
    std::unordered_map<std::int32_t, char> all;
    for (std::size_t b = 0; b < 256; ++b)
      all[character_at(byte_characters()[b], 0).code] = static_cast<char>(b);
    return all;
  }();
  std::string out;
  for (std::size_t at = 0; at < characters.size();) {
    const Character c = character_at(characters, at);
    const auto found = table.find(c.code);
    if (found == table.end()) return std::nullopt;
    out += found->second;
    at += c.bytes;
  }
  return out;
}

std::string characters_of_bytes(std::string_view bytes) {
  std::string out;
  for (char b : bytes) out += byte_characters()[static_cast<std::uint8_t>(b)];
  return out;
}

namespace {

// End of the run of characters of one class.
std::size_t run_end(std::string_view text, std::size_t at, CharClass kind) {
  while (at < text.size()) {
    const auto byte = static_cast<std::uint8_t>(text[at]);
    if (byte < 0x80) {
      if (kAsciiClasses[byte] != kind) break;
      ++at;
      continue;
    }
    const Character c = long_character_at(text, at);
    if (class_of(c.code) != kind) break;
    at += c.bytes;
  }
  return at;
}

// Length of 's, 't, 're, 've, 'm, 'll or 'd at `at`; 0 where there is none.
std::size_t contraction(std::string_view text, std::size_t at) {
  if (text[at] != '\'' || at + 1 >= text.size()) return 0;
  const char a = text[at + 1], b = at + 2 < text.size() ? text[at + 2] : '\0';
  if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

}  // namespace

std::size_t gpt2_word_end(std::string_view text, std::size_t at) {
  if (const std::size_t n = contraction(text, at)) return at + n;
  const Character first = character_at(text, at);
  const CharClass kind = class_of(first.code);
  if (kind != CharClass::space) return run_end(text, at, kind);
  if (text[at] == ' ' && at + 1 < text.size()) {  // a word may take one space before it
    const CharClass next = class_of(character_at(text, at + 1).code);
    if (next != CharClass::space) return run_end(text, at + 1, next);
  }
  // A run of spaces leaves its last one to the word behind it.
  std::size_t end = at, before_last = at;
  while (end < text.size()) {
    const Character c = character_at(text, end);
    if (class_of(c.code) != CharClass::space) break;
    before_last = end;
    end += c.bytes;
  }
  return end == text.size() || before_last == at ? end : before_last;
}

}  // namespace weft

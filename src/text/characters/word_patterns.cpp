#include "text/characters/word_patterns.h"

#include "text/characters/byte_level.h"
#include "text/characters/unicode.h"

namespace weft {
namespace {

CharClass class_at(std::string_view text, std::size_t at) {
  return class_of(character_at(text, at).code);
}

std::size_t run_end(std::string_view text, std::size_t at, CharClass kind,
                    std::size_t most = static_cast<std::size_t>(-1)) {
  for (; at < text.size() && most > 0; --most) {
    const Character c = character_at(text, at);
    if (class_of(c.code) != kind) break;
    at += c.bytes;
  }
  return at;
}

bool is_line_end(char c) { return c == '\r' || c == '\n'; }

// Length of 's, 't, 're, 've, 'm, 'll or 'd in any case at `at`; 0 where there is none. Without
// regard to case U+017F is an s.
std::size_t contraction(std::string_view text, std::size_t at) {
  if (text[at] != '\'' || at + 1 >= text.size()) return 0;
  const auto lower = [&](std::size_t i) {
    return i < text.size() ? static_cast<char>(text[i] | 0x20) : '\0';
  };
  const char a = lower(at + 1), b = lower(at + 2);
  const bool letters = static_cast<std::uint8_t>(text[at + 1]) < 0x80;
  if (letters && (a == 's' || a == 't' || a == 'm' || a == 'd')) return 2;
  if (text.substr(at + 1, 2) == "\xC5\xBF") return 3;
  return (a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l') ? 3 : 0;
}

// (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}|
// ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+
template <std::size_t kDigits>
std::size_t llama3_word_end(std::string_view text, std::size_t at) {
  if (const std::size_t n = contraction(text, at)) return at + n;
  const Character first = character_at(text, at);
  const CharClass kind = class_of(first.code);
  if (kind == CharClass::letter) return run_end(text, at + first.bytes, CharClass::letter);
  if (kind == CharClass::number) return run_end(text, at, CharClass::number, kDigits);
  const std::size_t second = at + first.bytes;
  const CharClass next = second < text.size() ? class_at(text, second) : CharClass::space;
  if (!is_line_end(text[at]) && next == CharClass::letter)
    return run_end(text, second, CharClass::letter);
  if (kind == CharClass::other || (text[at] == ' ' && next == CharClass::other)) {
    std::size_t end = run_end(text, kind == CharClass::other ? at : second, CharClass::other);
    while (end < text.size() && is_line_end(text[end])) ++end;
    return end;
  }
  // A run of spaces: to its last line end, or else all but the last where a word follows.
  std::size_t end = at, before_last = at, line_end = at;
  while (end < text.size()) {
    const Character c = character_at(text, end);
    if (class_of(c.code) != CharClass::space) break;
    before_last = end;
    end += c.bytes;
    if (is_line_end(text[before_last])) line_end = end;
  }
  if (line_end > at) return line_end;
  return end == text.size() || before_last == at ? end : before_last;
}

}  // namespace

WordEnd known_word_pattern(std::string_view regex) {
  constexpr std::string_view kGpt2 =
      R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  constexpr std::string_view kGpt2Short =
      R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
  constexpr std::string_view kLlama3 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
      R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  constexpr std::string_view kQwen2 =
      R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
      R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
  if (regex == kGpt2 || regex == kGpt2Short) return gpt2_word_end;
  if (regex == kLlama3) return llama3_word_end<3>;
  return regex == kQwen2 ? llama3_word_end<1> : nullptr;
}

}  // namespace weft

#include "text/characters/charsmap.h"

#include <utf8proc.h>

#include "core/check.h"
#include "text/characters/unicode.h"

namespace weft {
namespace {

std::uint32_t little_endian(std::string_view bytes, std::size_t at) {
  std::uint32_t value = 0;
  for (std::size_t i = 0; i < 4; ++i)
    value |= static_cast<std::uint32_t>(static_cast<std::uint8_t>(bytes[at + i])) << (8 * i);
  return value;
}

// What a unit of the double array holds.
bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1u) != 0; }
std::uint32_t value(std::uint32_t unit) { return unit & 0x7FFFFFFFu; }
std::uint32_t label(std::uint32_t unit) { return unit & 0x800000FFu; }
std::uint32_t offset(std::uint32_t unit) { return (unit >> 10) << ((unit & 0x200u) >> 6); }

// The end of the character as readers see it: a letter with its accents, a flag.
std::size_t grapheme_end(std::string_view text, std::size_t at) {
  Character c = character_at(text, at);
  utf8proc_int32_t state = 0;
  for (;;) {
    at += c.bytes;
    if (at >= text.size()) return at;
    const Character next = character_at(text, at);
    if (c.code < 0 || next.code < 0 || utf8proc_grapheme_break_stateful(c.code, next.code, &state))
      return at;
    c = next;
  }
}

constexpr std::string_view kBase64 =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

}  // namespace

Charsmap::Charsmap(std::string_view bytes, const std::string& origin) {
  CHECK_USER(bytes.size() >= 4, "{}: the normalizer's table has {} bytes; at least 4 are needed",
             origin, bytes.size());
  const std::size_t trie_bytes = little_endian(bytes, 0);
  CHECK_USER(trie_bytes <= bytes.size() - 4 && trie_bytes % 4 == 0 && trie_bytes > 0,
             "{}: the normalizer's table has {} bytes, of which {} should be its trie", origin,
             bytes.size(), trie_bytes);
  for (std::size_t at = 4; at < 4 + trie_bytes; at += 4) trie_.push_back(little_endian(bytes, at));
  replacements_ = bytes.substr(4 + trie_bytes);
  for (std::size_t at = 0; at < replacements_.size();) {
    const Character c = character_at(replacements_, at);
    CHECK_USER(c.code >= 0, "{}: the replacements of the normalizer's table are not UTF-8", origin);
    at += c.bytes;
  }
}

// Nothing is believed of the trie: an index outside of it ends the search.
bool Charsmap::find(std::string_view text, std::string_view& replacement) const {
  std::size_t node = offset(trie_[0]);
  for (const char c : text) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte == 0) return false;
    node ^= byte;
    if (node >= trie_.size()) return false;
    const std::uint32_t unit = trie_[node];
    if (label(unit) != byte) return false;
    node ^= offset(unit);
    if (!has_leaf(unit)) continue;
    if (node >= trie_.size()) return false;
    const std::size_t begin = value(trie_[node]);
    if (begin > replacements_.size()) return false;
    if (begin < replacements_.size() &&
        (static_cast<std::uint8_t>(replacements_[begin]) & 0xC0u) == 0x80u)
      return false;  // inside a character
    const std::size_t end = replacements_.find('\0', begin);
    replacement =
        std::string_view(replacements_).substr(begin, end == std::string::npos ? end : end - begin);
    return true;
  }
  return false;
}

// As the reference: a short grapheme is looked up as a whole, though a shorter sequence at its
// beginning may be what is found; else every character of it.
void Charsmap::apply(std::string_view text, std::vector<Change>& out) const {
  constexpr std::size_t kShort = 6;
  std::string_view replacement;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = grapheme_end(text, at);
    if (end - at < kShort && find(text.substr(at, end - at), replacement)) {
      out.push_back({std::string(replacement), static_cast<std::uint32_t>(end - at)});
      at = end;
      continue;
    }
    while (at < end) {
      const std::size_t n = character_at(text, at).bytes;
      const std::string_view character = text.substr(at, n);
      out.push_back({std::string(find(character, replacement) ? replacement : character),
                     static_cast<std::uint32_t>(n)});
      at += n;
    }
  }
}

std::string bytes_of_base64(std::string_view text, const std::string& origin) {
  std::string out;
  std::uint32_t bits = 0;
  int n_bits = 0;
  std::size_t end = text.size();
  while (end > 0 && text.size() - end < 2 && text[end - 1] == '=') --end;
  CHECK_USER(text.size() % 4 == 0, "{}: the normalizer's table is not base64 ({} characters)",
             origin, text.size());
  for (std::size_t i = 0; i < end; ++i) {
    const std::size_t digit = kBase64.find(text[i]);
    CHECK_USER(digit != std::string_view::npos,
               "{}: the normalizer's table is not base64 (at character {})", origin, i);
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    n_bits += 6;
    if (n_bits < 8) continue;
    n_bits -= 8;
    out += static_cast<char>(bits >> n_bits & 0xFFu);
  }
  return out;
}

std::string base64_of_bytes(std::string_view bytes) {
  std::string out;
  for (std::size_t at = 0; at < bytes.size(); at += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - at);
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8 | (i < n ? static_cast<std::uint8_t>(bytes[at + i]) : 0u);
    for (std::size_t i = 0; i < 4; ++i) out += i <= n ? kBase64[bits >> (18 - 6 * i) & 63u] : '=';
  }
  return out;
}

}  // namespace weft

#include "core/utf8.h"

#include <fmt/format.h>

#include <cstdint>
#include <cstring>

#include "core/json.h"

namespace weft {
namespace {

// Bytes of text[at, …) that are valid UTF-8, up to the first that are not.
std::size_t valid_bytes(std::string_view text, std::size_t at) {
  const std::size_t begin = at;
  while (at < text.size()) {
    std::uint64_t word = 0;  // most text is ASCII: eight bytes at a time
    if (at + sizeof word <= text.size() &&
        (std::memcpy(&word, text.data() + at, sizeof word), (word & 0x8080808080808080u) == 0)) {
      at += sizeof word;
      continue;
    }
    const ShownCharacter c = shown_character_at(text, at);
    if (!c.valid) break;
    at += c.bytes;
  }
  return at - begin;
}

}  // namespace

ShownCharacter shown_character_at(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return i < text.size() ? static_cast<std::uint8_t>(text[i]) : 0u;
  };
  const std::uint32_t first = byte(at);
  if (first < 0x80) return {1, true};
  if (first < 0xC2 || first > 0xF4) return {1, false};
  const std::size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  // What the second byte may be keeps out overlong forms, surrogates and what lies past U+10FFFF.
  const std::uint32_t least = first == 0xE0   ? 0xA0
                              : first == 0xF0 ? 0x90
                                              : 0x80,
                      most = first == 0xED   ? 0x9F
                             : first == 0xF4 ? 0x8F
                                             : 0xBF;
  if (byte(at + 1) < least || byte(at + 1) > most) return {1, false};
  for (std::size_t k = 2; k < n; ++k)
    if ((byte(at + k) & 0xC0u) != 0x80u) return {k, false};
  return {n, true};
}

bool is_utf8(std::string_view text) { return valid_bytes(text, 0) == text.size(); }

void append_utf8(std::string& out, std::uint32_t code) {
  const auto put = [&](std::uint32_t byte) { out += static_cast<char>(byte); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

std::string made_utf8(std::string text) {
  std::size_t at = valid_bytes(text, 0);
  if (at == text.size()) return text;
  std::string out = text.substr(0, at);
  while (at < text.size()) {
    out += "\xEF\xBF\xBD";
    at += shown_character_at(text, at).bytes;
    const std::size_t n = valid_bytes(text, at);
    out.append(text, at, n);
    at += n;
  }
  return out;
}

std::string printable(std::string_view text) {
  std::string out;
  for (const char c : made_utf8(std::string(text))) {
    const auto byte = static_cast<std::uint8_t>(c);
    if (byte >= 0x20 && byte != 0x7F)
      out += c;
    else
      out += c == '\n' ? "\\n" : c == '\t' ? "\\t" : fmt::format("\\x{:02x}", byte);
  }
  return out;
}

std::string in_message(std::string_view text) {
  constexpr std::size_t kMost = 60;
  std::size_t end = 0;
  while (end < text.size()) {
    const std::size_t bytes = shown_character_at(text, end).bytes;
    if (end + bytes > kMost) break;
    end += bytes;
  }
  const std::string quoted = json_text(Json(text.substr(0, end)));
  return quoted.substr(1, quoted.size() - 2) + (end < text.size() ? "…" : "");
}

}  // namespace weft

// UTF-8 as it comes from outside: what is not is shown as U+FFFD, one for each longest broken
// character, as the Unicode standard recommends and as Rust and Python do it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace weft {

// What lossy decoding shows as one character: a character, or the longest beginning of one that is
// broken off.
struct ShownCharacter {
  std::size_t bytes;
  bool valid;
};
ShownCharacter shown_character_at(std::string_view text, std::size_t at);

bool is_utf8(std::string_view text);

void append_utf8(std::string& out, std::uint32_t code);

// `text` as UTF-8. What comes from outside (texts, ids, labels, headers) passes through here once,
// where it enters; text that is valid is handed on as it is.
std::string made_utf8(std::string text);

// `text` as a message or a terminal may hold it: valid UTF-8, control characters as \n or \x1b.
std::string printable(std::string_view text);

// A name or a text of a file as an error says it: its beginning, escaped as JSON escapes it.
std::string in_message(std::string_view text);

}  // namespace weft

// GPT-2's byte level: every byte has a printable character, and texts are cut into words by one
// pattern before the merges.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

// The character (as UTF-8) that stands for each byte: 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF are
// themselves, the other 68 follow from U+0100.
const std::array<std::string, 256>& byte_characters();

// "Ġhouse" -> " house"; nothing where a character stands for no byte.
std::optional<std::string> bytes_of_characters(std::string_view characters);
std::string characters_of_bytes(std::string_view bytes);

// End of the word that begins at `at`, by GPT-2's pattern:
//   's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
std::size_t gpt2_word_end(std::string_view text, std::size_t at);

}  // namespace weft

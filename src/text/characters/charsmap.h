// SentencePiece's own normalizer, as models carry it: a table of character sequences and what
// stands for them ("precompiled_charsmap").
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weft {

// A stretch of text and what it becomes.
struct Change {
  std::string replacement;
  std::uint32_t bytes = 0;  // of the original text
};

class Charsmap {
 public:
  // The table's bytes: the length of a trie, the trie, the replacements. UserErrors name `origin`.
  Charsmap(std::string_view bytes, const std::string& origin);
  // Covers the text from its beginning to its end; a character that stays is its own replacement.
  void apply(std::string_view text, std::vector<Change>& out) const;

 private:
  // The replacement of the shortest sequence in the table that begins `text`.
  bool find(std::string_view text, std::string_view& replacement) const;

  std::vector<std::uint32_t> trie_;  // a double array (Darts-clone)
  std::string replacements_;         // each with a zero at its end
};

// Base64 as tokenizer.json has it, for the table. UserErrors name `origin`.
std::string bytes_of_base64(std::string_view text, const std::string& origin);
std::string base64_of_bytes(std::string_view bytes);

}  // namespace weft

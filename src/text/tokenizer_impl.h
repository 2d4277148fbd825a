// What a Tokenizer is made of; shared by loading (tokenizer_json.cpp), running (tokenizer.cpp) and training (trainer.cpp).
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/bpe.h"
#include "text/tokenizer.h"
#include "text/word_table.h"

namespace weft {

struct AddedToken {
  std::int32_t id = 0;
  std::string content;
  bool special = true;
  bool normalized = false;  // looked for only after those that are not
};

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
using IdMap = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

enum class TokenizerKind : std::uint8_t {
  byte_level,  // GPT-2: words by its pattern, then merges over bytes
  characters,  // one id a character; bytes <0x00> … <0xFF> for all others
};

struct Tokenizer::Impl {
  TokenizerKind kind = TokenizerKind::byte_level;
  bool add_prefix_space = false;
  bool ignore_merges = false;                             // a word that is a token stays whole
  std::vector<std::string> tokens;                        // by id, as spelled; empty: a hole
  std::vector<std::pair<std::string, std::string>> merges;  // as spelled, in rank order
  std::vector<AddedToken> added;                          // by id
  std::string eos;                                        // content of the end token; may be empty

  // Made by finish() from the above.
  std::vector<std::string> bytes;        // by id: what the token decodes to
  IdMap ids;                             // spelling -> id, added tokens included
  WordTable whole;                       // bytes of words that merge into one token -> its id
  std::array<std::int32_t, 256> byte_ids{};
  MergeTable table;
  std::vector<std::uint8_t> special;     // by id

  // UserErrors name `origin`: a merge of unknown tokens, a byte without a token.
  void finish(const std::string& origin);
};

}  // namespace weft

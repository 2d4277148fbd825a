// What turns one pre-tokenized piece into tokens: BPE, WordPiece, Unigram or a table of words. Made
// from the "model" object of a tokenizer.json; a construct it does not know is a UserError naming
// it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/json.h"

namespace weft {

// A token, and the bytes [begin, end) of the piece that it covers.
struct PieceToken {
  std::int32_t id = 0;
  std::uint32_t begin = 0, end = 0;
};

class TokenModel {
 public:
  virtual ~TokenModel() = default;
  // Appends the tokens of a piece: text after normalization, as valid UTF-8. Thread-safe.
  virtual void encode(std::string_view piece, std::vector<PieceToken>& out) const = 0;
  virtual const std::vector<std::string>& tokens()
      const = 0;                            // by id, as the file spells them; empty: a hole
  virtual std::string kind() const = 0;     // "WordPiece"
  virtual OrderedJson to_json() const = 0;  // the canonical "model" object
};

// By the object's type; `origin` names the file in errors.
std::unique_ptr<TokenModel> read_token_model(const Json& model, const std::string& origin);
std::unique_ptr<TokenModel> read_bpe(const Json& model, const std::string& origin);
std::unique_ptr<TokenModel> read_wordpiece(const Json& model, const std::string& origin);
std::unique_ptr<TokenModel> read_unigram(const Json& model, const std::string& origin);
std::unique_ptr<TokenModel> read_word_level(const Json& model, const std::string& origin);

}  // namespace weft

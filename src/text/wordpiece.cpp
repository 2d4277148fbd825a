// WordPiece: the longest token that begins the word, then the longest continuation ("##ing") of
// what is left, and so on.
#include "core/check.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"
#include "text/token_list.h"
#include "text/token_model.h"
#include "text/token_trie.h"

namespace weft {
namespace {

class WordPiece : public TokenModel {
 public:
  WordPiece(const Json& model, const std::string& origin)
      : origin_(origin),
        unk_token_(model_string(model, "unk_token", "[UNK]", origin)),
        prefix_(model_string(model, "continuing_subword_prefix", "##", origin)),
        max_chars_(static_cast<std::size_t>(
            JsonReader(model, origin + ": model")
                .integer("max_input_chars_per_word", 0, std::int64_t{1} << 53, 100))) {
    CHECK_USER(model.contains("vocab"), "{}: model.vocab is missing", origin);
    list_ = TokenList::from_map(model["vocab"], origin);
    std::size_t n_bytes = 0;
    for (const std::string& token : list_.tokens()) n_bytes += token.size();
    trie_ = TokenTrie(n_bytes);
    for (std::size_t id = 0; id < list_.tokens().size(); ++id)
      if (!list_.tokens()[id].empty())
        trie_.insert(list_.tokens()[id], static_cast<std::int32_t>(id));
    continuing_ = trie_.walk(TokenTrie::kRoot, prefix_);
    unk_ = list_.find(unk_token_);
  }

  void encode(std::string_view piece, std::vector<PieceToken>& out) const override {
    const std::size_t before = out.size();
    if (too_long(piece)) return unknown(piece, before, out);
    for (std::size_t begin = 0; begin < piece.size();) {
      std::uint32_t node = begin == 0 ? TokenTrie::kRoot : continuing_;
      std::size_t end = begin;
      std::int32_t id = TokenTrie::kNone;
      for (std::size_t at = begin; at < piece.size() && node != TokenTrie::kNowhere;) {
        node = trie_.step(node, piece[at++]);
        if (node == TokenTrie::kNowhere || trie_.value(node) == TokenTrie::kNone) continue;
        id = trie_.value(node);
        end = at;
      }
      if (id == TokenTrie::kNone) return unknown(piece, before, out);
      out.push_back({id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
      begin = end;
    }
  }

  const std::vector<std::string>& tokens() const override { return list_.tokens(); }
  std::string kind() const override { return "WordPiece"; }
  OrderedJson to_json() const override {
    return {{"type", "WordPiece"},
            {"unk_token", unk_token_},
            {"continuing_subword_prefix", prefix_},
            {"max_input_chars_per_word", static_cast<std::uint64_t>(max_chars_)},
            {"vocab", list_.to_map()}};
  }

 private:
  bool too_long(std::string_view piece) const {
    if (piece.size() <= max_chars_) return false;
    std::size_t n = 0;
    for (std::size_t at = 0; at < piece.size() && n <= max_chars_; ++n)
      at += character_at(piece, at).bytes;
    return n > max_chars_;
  }

  // Any failure makes the whole piece one unknown token.
  void unknown(std::string_view piece, std::size_t before, std::vector<PieceToken>& out) const {
    CHECK_USER(unk_, "{}: a word is not in the vocabulary, and neither is model.unk_token '{}'",
               origin_, in_message(unk_token_));
    out.resize(before);
    out.push_back({*unk_, 0, static_cast<std::uint32_t>(piece.size())});
  }

  std::string origin_, unk_token_, prefix_;
  std::size_t max_chars_;
  TokenList list_;
  TokenTrie trie_;
  std::uint32_t continuing_ = TokenTrie::kNowhere;
  std::optional<std::int32_t> unk_;
};

}  // namespace

std::unique_ptr<TokenModel> read_wordpiece(const Json& model, const std::string& origin) {
  return std::make_unique<WordPiece>(model, origin);
}

}  // namespace weft

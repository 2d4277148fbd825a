// WordLevel: a piece is a token or unknown.
#include "core/check.h"
#include "text/json_values.h"
#include "text/token_list.h"
#include "text/token_model.h"

namespace weft {
namespace {

class WordLevel : public TokenModel {
 public:
  WordLevel(const Json& model, const std::string& origin)
      : origin_(origin), unk_token_(model_string(model, "unk_token", "<unk>", origin)) {
    CHECK_USER(model.contains("vocab"), "{}: model.vocab is missing", origin);
    list_ = TokenList::from_map(model["vocab"], origin);
    unk_ = list_.find(unk_token_);
  }

  void encode(std::string_view piece, std::vector<PieceToken>& out) const override {
    if (piece.empty()) return;
    std::optional<std::int32_t> id = list_.find(piece);
    if (!id) id = unk_;
    CHECK_USER(id, "{}: '{}' is not in the vocabulary, and neither is model.unk_token '{}'",
               origin_, in_message(piece), in_message(unk_token_));
    out.push_back({*id, 0, static_cast<std::uint32_t>(piece.size())});
  }

  const std::vector<std::string>& tokens() const override { return list_.tokens(); }
  std::string kind() const override { return "WordLevel"; }
  OrderedJson to_json() const override {
    return {{"type", "WordLevel"}, {"vocab", list_.to_map()}, {"unk_token", unk_token_}};
  }

 private:
  std::string origin_, unk_token_;
  TokenList list_;
  std::optional<std::int32_t> unk_;
};

}  // namespace

std::unique_ptr<TokenModel> read_word_level(const Json& model, const std::string& origin) {
  return std::make_unique<WordLevel>(model, origin);
}

}  // namespace weft

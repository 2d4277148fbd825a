// Unigram: the segmentation of a piece whose tokens' scores add up to the most (Viterbi). Kudo,
// "Subword Regularization" (2018).
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "core/check.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"
#include "text/token_list.h"
#include "text/token_model.h"
#include "text/token_trie.h"

namespace weft {
namespace {

// A character that no token covers costs this much more than the worst token.
constexpr double kUnknownPenalty = 10.0;

// A number as the reference's JSON reader takes it: its digits as one whole number, divided by a
// power of ten. That is off by the last bit for a fifth of all scores, and decides between paths
// that hold the same tokens in another order.
double as_reference_reads(double number) {
  const std::string written = fmt::format("{}", std::abs(number));
  std::uint64_t digits = 0;
  int exponent = 0;
  bool fraction = false;
  for (std::size_t i = 0; i < written.size(); ++i) {
    if (written[i] == '.') {
      fraction = true;
    } else if (written[i] == 'e') {
      exponent += std::atoi(written.c_str() + i + 1);
      break;
    } else {
      digits = digits * 10 + static_cast<std::uint64_t>(written[i] - '0');
      exponent -= fraction;
    }
  }
  const auto significand = static_cast<double>(digits);
  if (std::abs(exponent) > 300 || digits == 0) return number;
  const double power = std::strtod(fmt::format("1e{}", std::abs(exponent)).c_str(), nullptr);
  const double read =
      std::copysign(exponent < 0 ? significand / power : significand * power, number);
  return std::isfinite(read) ? read : number;
}

class Unigram : public TokenModel {
 public:
  Unigram(const Json& model, const std::string& origin) : origin_(origin) {
    const JsonReader reader(model, origin + ": model");
    const auto vocab = model.find("vocab");
    CHECK_USER(vocab != model.end() && vocab->is_array() && !vocab->empty(),
               "{}: model.vocab is not a list of tokens and scores", origin);
    std::size_t n_bytes = 0;
    for (const Json& entry : *vocab) {
      const bool good =
          entry.is_array() && entry.size() == 2 && entry[0].is_string() && entry[1].is_number();
      CHECK_USER(good, "{}: model.vocab has {}; allowed: [token, score]", origin, brief(entry));
      const auto score = entry[1].get<double>();
      CHECK_USER(std::isfinite(score), "{}: the score of token '{}' is not finite", origin,
                 in_message(entry[0].get<std::string>()));
      list_.push_back(entry[0].get<std::string>());
      written_.push_back(score);
      scores_.push_back(as_reference_reads(score));
      n_bytes += list_.tokens().back().size();
    }
    CHECK_USER(static_cast<std::int64_t>(scores_.size()) <= kMaxTokenId,
               "{}: model.vocab has {} tokens; at most {}", origin, scores_.size(), kMaxTokenId);
    trie_ = TokenTrie(n_bytes);
    for (std::size_t id = 0; id < scores_.size(); ++id)
      if (!list_.tokens()[id].empty())
        trie_.insert(list_.tokens()[id], static_cast<std::int32_t>(id));
    if (reader.has("unk_id"))
      unk_ = static_cast<std::int32_t>(
          reader.integer("unk_id", 0, static_cast<std::int64_t>(scores_.size()) - 1));
    byte_fallback_ = reader.boolean("byte_fallback", false);
    unk_score_ = *std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty;
    for (std::size_t b = 0; b < 256; ++b) {
      const std::optional<std::int32_t> id =
          byte_fallback_ ? list_.find(fmt::format("<0x{:02X}>", b)) : std::nullopt;
      byte_ids_.push_back(id.value_or(TokenTrie::kNone));
    }
  }

  void encode(std::string_view piece, std::vector<PieceToken>& out) const override {
    std::vector<Best> best = viterbi(piece);
    // Backwards along the best path; a run of unknowns is one token.
    const auto first = static_cast<std::ptrdiff_t>(out.size());
    for (std::size_t end = piece.size(); end > 0;) {
      std::size_t begin = best[end].begin;
      std::int32_t id = best[end].id;
      if (unk_ && id == *unk_) {
        while (begin > 0 && best[begin].id == *unk_) begin = best[begin].begin;
        unknown(piece, begin, end, out);
      } else {
        out.push_back({id, static_cast<std::uint32_t>(begin), static_cast<std::uint32_t>(end)});
      }
      end = begin;
    }
    std::reverse(out.begin() + first, out.end());
  }

  const std::vector<std::string>& tokens() const override { return list_.tokens(); }
  std::string kind() const override { return "Unigram"; }
  OrderedJson to_json() const override {
    OrderedJson vocab = OrderedJson::array();
    for (std::size_t id = 0; id < scores_.size(); ++id)
      vocab.push_back(OrderedJson::array({list_.tokens()[id], written_[id]}));
    return {{"type", "Unigram"},
            {"unk_id", unk_ ? OrderedJson(*unk_) : OrderedJson()},
            {"vocab", std::move(vocab)},
            {"byte_fallback", byte_fallback_}};
  }

 private:
  struct Best {  // the best path to a place: its last token
    double score = 0;
    std::uint32_t begin = kNowhere;
    std::int32_t id = 0;
  };
  static constexpr std::uint32_t kNowhere = 0xFFFFFFFFu;

  // Forwards, so that of equal paths the one whose last token begins first stays, as in the
  // reference.
  std::vector<Best> viterbi(std::string_view piece) const {
    CHECK(piece.size() < kNowhere, "a piece of {} bytes; at most 4 GiB can be tokenized",
          piece.size());
    std::vector<Best> best(piece.size() + 1);
    for (std::size_t begin = 0; begin < piece.size();) {
      const double so_far = best[begin].score;
      const std::size_t one = character_at(piece, begin).bytes;
      bool has_one = false;
      const auto offer = [&](std::size_t end, double score, std::int32_t id) {
        Best& there = best[end];
        if (there.begin == kNowhere || score > there.score)
          there = {score, static_cast<std::uint32_t>(begin), id};
      };
      std::uint32_t node = TokenTrie::kRoot;
      for (std::size_t at = begin; at < piece.size();) {
        node = trie_.step(node, piece[at++]);
        if (node == TokenTrie::kNowhere) break;
        const std::int32_t id = trie_.value(node);
        if (id == TokenTrie::kNone) continue;
        offer(at, scores_[static_cast<std::size_t>(id)] + so_far, id);
        has_one = has_one || at - begin == one;
      }
      if (!has_one) {
        CHECK_USER(unk_, "{}: '{}' is not in the vocabulary, and there is no model.unk_id", origin_,
                   in_message(piece.substr(begin, one)));
        offer(begin + one, unk_score_ + so_far, *unk_);
      }
      begin += one;
    }
    return best;
  }

  // The run may itself be a token; else it is spelled in bytes where all of them are tokens, else
  // unknown. Written last byte first.
  void unknown(std::string_view piece, std::size_t begin, std::size_t end,
               std::vector<PieceToken>& out) const {
    const auto from = static_cast<std::uint32_t>(begin), to = static_cast<std::uint32_t>(end);
    const std::string_view run = piece.substr(begin, end - begin);
    const std::uint32_t node = trie_.walk(TokenTrie::kRoot, run);
    if (node != TokenTrie::kNowhere && trie_.value(node) != TokenTrie::kNone) {
      out.push_back({trie_.value(node), from, to});
      return;
    }
    const auto byte_id = [&](char c) { return byte_ids_[static_cast<std::uint8_t>(c)]; };
    if (!byte_fallback_ || std::any_of(run.begin(), run.end(),
                                       [&](char c) { return byte_id(c) == TokenTrie::kNone; })) {
      out.push_back({*unk_, from, to});
      return;
    }
    for (std::size_t i = run.size(); i-- > 0;) out.push_back({byte_id(run[i]), from, to});
  }

  std::string origin_;
  TokenList list_;
  std::vector<double> written_, scores_;  // by id: as in the file, as they are added up
  TokenTrie trie_;
  std::vector<std::int32_t> byte_ids_;
  std::optional<std::int32_t> unk_;
  double unk_score_ = 0;
  bool byte_fallback_ = false;
};

}  // namespace

std::unique_ptr<TokenModel> read_unigram(const Json& model, const std::string& origin) {
  return std::make_unique<Unigram>(model, origin);
}

}  // namespace weft

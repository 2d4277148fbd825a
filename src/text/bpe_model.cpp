#include "text/bpe_model.h"

#include <algorithm>

#include "core/check.h"
#include "text/characters/byte_level.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"

namespace weft {
namespace {

constexpr std::int64_t kMaxId = (1 << 24) - 1;
constexpr std::size_t kLongestWord = 64;  // bytes of words that are kept whole in a table

std::string optional_string(const Json& model, const char* key, const std::string& origin) {
  return JsonReader(model, origin + ": model").string(key, "");
}

}  // namespace

BpeModel::BpeModel(const Json& model, const std::string& origin)
    : prefix_(optional_string(model, "continuing_subword_prefix", origin)),
      suffix_(optional_string(model, "end_of_word_suffix", origin)) {
  const JsonReader reader(model, origin + ": model");
  const double dropout = reader.number("dropout", 0.0, 1.0, 0.0);
  CHECK_USER(dropout == 0.0, "{}: model.dropout is {}; not supported, only null and 0 are", origin,
             dropout);
  fuse_unk_ = reader.boolean("fuse_unk", false);
  byte_fallback_ = reader.boolean("byte_fallback", false);
  ignore_merges_ = reader.boolean("ignore_merges", false);
  if (reader.has("unk_token")) unk_token_ = reader.string("unk_token", "");
  CHECK_USER(model.contains("vocab"), "{}: model.vocab is missing", origin);
  read_vocab(model["vocab"], origin);
  read_merges(model.value("merges", Json::array()), origin);
  rank_merges(origin);
  if (unk_token_) unk_ = ids_.find(*unk_token_);
  for (std::size_t b = 0; b < 256; ++b) {
    byte_ids_[b] = ids_.find(byte_characters()[b]);
    fallback_ids_[b] = ids_.find(fmt::format("<0x{:02X}>", b));
  }
}

void BpeModel::read_vocab(const Json& vocab, const std::string& origin) {
  CHECK_USER(vocab.is_object(), "{}: the vocabulary is not an object of tokens and ids", origin);
  for (const auto& [token, id] : vocab.items()) {
    CHECK_USER(
        id.is_number_unsigned() && id.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxId),
        "{}: token '{}' has id {}; allowed: 0 to {}", origin, in_message(token), brief(id, 40),
        kMaxId);
    const auto at = id.get<std::size_t>();
    if (at >= tokens_.size()) tokens_.resize(at + 1);
    CHECK_USER(tokens_[at].empty(), "{}: tokens '{}' and '{}' both have id {}", origin,
               in_message(tokens_[at]), in_message(token), at);
    tokens_[at] = token;
    ids_.insert(token, static_cast<std::int32_t>(at));
  }
}

void BpeModel::read_merges(const Json& merges, const std::string& origin) {
  CHECK_USER(merges.is_array(), "{}: model.merges is not a list", origin);
  merges_.reserve(merges.size());
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      const auto& line = merge.get_ref<const std::string&>();
      const std::size_t space = line.find(' ');
      CHECK_USER(space != std::string::npos && space > 0 && space + 1 < line.size(),
                 "{}: the merge '{}' is not two tokens", origin, in_message(line));
      merges_.emplace_back(line.substr(0, space), line.substr(space + 1));
    } else {
      CHECK_USER(
          merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(),
          "{}: the merge {} is not two tokens", origin, brief(merge));
      merges_.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    }
  }
}

void BpeModel::rank_merges(const std::string& origin) {
  std::vector<Merge> ranked;
  ranked.reserve(merges_.size());
  for (const auto& [left, right] : merges_) {
    CHECK_USER(right.size() >= prefix_.size(),
               "{}: the merge '{} {}' is shorter than model.continuing_subword_prefix", origin,
               in_message(left), in_message(right));
    const std::int32_t a = ids_.find(left), b = ids_.find(right),
                       result = ids_.find(left + right.substr(prefix_.size()));
    CHECK_USER(a != WordTable::kAbsent && b != WordTable::kAbsent && result != WordTable::kAbsent,
               "{}: the merge '{} {}' joins tokens that are not in the vocabulary", origin,
               in_message(left), in_message(right));
    ranked.push_back({a, b, result});
  }
  table_ = MergeTable(ranked);
}

// The characters of a piece as symbols; what has none is spelled in bytes, is unknown, or is
// dropped.
void BpeModel::begin_symbols(std::string_view piece, std::vector<Symbol>& word) const {
  std::uint32_t unknown = 0;  // bytes of the unknown symbol that is still open
  bool open = false;
  std::string spelled;
  const auto close = [&] {
    if (open) word.push_back({unk_, unknown});
    open = false;
    unknown = 0;
  };
  for (std::size_t at = 0; at < piece.size();) {
    const std::size_t n = character_at(piece, at).bytes;
    std::string_view s = piece.substr(at, n);
    const bool first = at == 0, last = at + n == piece.size();
    at += n;
    if ((!first && !prefix_.empty()) || (last && !suffix_.empty())) {
      spelled.assign(first ? "" : prefix_).append(s).append(last ? suffix_ : "");
      s = spelled;
    }
    if (const std::int32_t id = ids_.find(s); id != WordTable::kAbsent) {
      close();
      word.push_back({id, static_cast<std::uint32_t>(n)});
      continue;
    }
    const auto fallback = [&](char b) { return fallback_ids_[static_cast<std::uint8_t>(b)]; };
    if (byte_fallback_ && std::all_of(s.begin(), s.end(),
                                      [&](char b) { return fallback(b) != WordTable::kAbsent; })) {
      for (char b : s) word.push_back({fallback(b), 1});
      continue;
    }
    if (!unk_token_) continue;
    CHECK_USER(
        unk_ != WordTable::kAbsent,
        "model.unk_token '{}' is not in the vocabulary, but the text has '{}', which needs it",
        in_message(*unk_token_), in_message(s));
    if (open && !fuse_unk_) close();
    open = true;
    unknown += static_cast<std::uint32_t>(n);
  }
  close();
}

void BpeModel::append(const std::vector<Symbol>& word, std::size_t size,
                      std::vector<PieceToken>& out) const {
  std::uint32_t from = 0;
  const auto end = static_cast<std::uint32_t>(size);
  for (const Symbol& s : word) {  // a prefix spelled in bytes may run past the piece
    out.push_back({s.id, std::min(from, end), std::min(from + s.bytes, end)});
    from += s.bytes;
  }
}

void BpeModel::encode(std::string_view piece, std::vector<PieceToken>& out) const {
  if (piece.empty()) return;
  const auto whole = [&](std::int32_t id) {
    out.push_back({id, 0, static_cast<std::uint32_t>(piece.size())});
  };
  if (const std::int32_t id = ignore_merges_ ? ids_.find(piece)
                              : reads_bytes_ ? WordTable::kAbsent
                                             : words_.find(piece);
      id != WordTable::kAbsent)
    return whole(id);
  std::vector<Symbol> word;
  word.reserve(std::min<std::size_t>(piece.size(), 64));
  begin_symbols(piece, word);
  table_.apply(word);
  append(word, piece.size(), out);
}

bool BpeModel::can_read_bytes() const {
  return prefix_.empty() && suffix_.empty() && !byte_fallback_ &&
         std::find(byte_ids_.begin(), byte_ids_.end(), WordTable::kAbsent) == byte_ids_.end();
}

void BpeModel::read_bytes() {
  CHECK(can_read_bytes(), "this vocabulary cannot be read as bytes");
  reads_bytes_ = true;
  learn_words();
}

void BpeModel::encode_bytes(std::string_view bytes, std::vector<PieceToken>& out) const {
  if (const std::int32_t id = words_.find(bytes); id != WordTable::kAbsent) {
    out.push_back({id, 0, static_cast<std::uint32_t>(bytes.size())});
    return;
  }
  if (ignore_merges_ && bytes.size() > kLongestWord)
    if (const std::int32_t id = ids_.find(characters_of_bytes(bytes)); id != WordTable::kAbsent) {
      out.push_back({id, 0, static_cast<std::uint32_t>(bytes.size())});
      return;
    }
  std::vector<Symbol> word;
  word.reserve(bytes.size());
  for (char b : bytes) word.push_back({byte_ids_[static_cast<std::uint8_t>(b)], 1});
  table_.apply(word);
  append(word, bytes.size(), out);
}

// Most words of a text are one token: those are found at once, without merging.
void BpeModel::learn_words() {
  words_ = WordTable();
  std::vector<Symbol> word;
  for (std::size_t i = 0; i < tokens_.size(); ++i) {
    const auto id = static_cast<std::int32_t>(i);
    std::string spelled = tokens_[i];
    if (reads_bytes_) spelled = bytes_of_characters(spelled).value_or("");
    if (!suffix_.empty()) {
      if (!spelled.ends_with(suffix_)) continue;
      spelled.resize(spelled.size() - suffix_.size());
    }
    if (spelled.empty() || spelled.size() > kLongestWord) continue;
    if (!ignore_merges_) {
      word.clear();
      if (reads_bytes_)
        for (char b : spelled) word.push_back({byte_ids_[static_cast<std::uint8_t>(b)], 1});
      else if (!prefix_.empty() || (unk_token_ && unk_ == WordTable::kAbsent))
        continue;
      else
        begin_symbols(spelled, word);
      table_.apply(word);
      if (word.size() != 1 || word[0].id != id) continue;
    } else if (!reads_bytes_) {
      continue;  // the spelling is looked up
    }
    words_.insert(spelled, id);
  }
}

OrderedJson BpeModel::to_json() const {
  const auto text_or_null = [](const std::string& s) {
    return s.empty() ? OrderedJson() : OrderedJson(s);
  };
  OrderedJson model = {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", unk_token_ ? OrderedJson(*unk_token_) : OrderedJson()},
                       {"continuing_subword_prefix", text_or_null(prefix_)},
                       {"end_of_word_suffix", text_or_null(suffix_)},
                       {"fuse_unk", fuse_unk_},
                       {"byte_fallback", byte_fallback_},
                       {"ignore_merges", ignore_merges_}};
  model["vocab"] = OrderedJson::object();
  auto& vocab = model["vocab"].get_ref<OrderedJson::object_t&>();
  // By push_back: an ordered object looks through all of its keys for each one that is set by name.
  for (std::size_t i = 0; i < tokens_.size(); ++i)
    if (!tokens_[i].empty())
      static_cast<OrderedJson::object_t::Container&>(vocab).emplace_back(tokens_[i], i);
  const auto has_space = [](const auto& merge) {
    return merge.first.find(' ') != std::string::npos ||
           merge.second.find(' ') != std::string::npos;
  };
  const bool as_pairs = std::any_of(merges_.begin(), merges_.end(), has_space);
  model["merges"] = OrderedJson::array();
  for (const auto& [left, right] : merges_) {
    if (as_pairs)
      model["merges"].push_back(OrderedJson::array({left, right}));
    else
      model["merges"].push_back(left + " " + right);
  }
  return model;
}

std::unique_ptr<TokenModel> read_bpe(const Json& model, const std::string& origin) {
  return std::make_unique<BpeModel>(model, origin);
}

}  // namespace weft

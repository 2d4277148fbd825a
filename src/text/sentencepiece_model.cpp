#include "text/sentencepiece_model.h"

#include <algorithm>
#include <cmath>
#include <tuple>
#include <unordered_map>
#include <vector>

#include "core/check.h"
#include "text/precompiled.h"
#include "text/protobuf_reader.h"
#include "text/token_list.h"
#include "text/unicode.h"

namespace weft {
namespace {

constexpr const char* kSpace = "\xE2\x96\x81";  // ▁
constexpr std::size_t kMaxPieceBytes =
    1000;  // SentencePiece's own limit is 16 characters by default

enum PieceType : std::int64_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6
};

struct Piece {
  std::string text;
  double score = 0;
  std::int64_t type = kNormal;
};

// sentencepiece_model.proto's ModelProto, with its defaults.
struct Model {
  std::vector<Piece> pieces;
  std::int64_t model_type = 1;  // 1: unigram, 2: BPE, 3: word, 4: char
  std::int64_t unk_id = 0, bos_id = 1, eos_id = 2;
  bool byte_fallback = false, whitespace_as_suffix = false;
  std::string charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

bool is_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    if (c.code < 0) return false;
    at += c.bytes;
  }
  return true;
}

Piece read_piece(std::string_view bytes, std::size_t id, const std::string& origin) {
  Piece piece;
  ProtobufReader reader(bytes, origin);
  while (reader.next()) {
    if (reader.field() == 1) piece.text = reader.content();
    if (reader.field() == 2) piece.score = static_cast<double>(reader.number());
    if (reader.field() == 3) piece.type = reader.integer();
  }
  CHECK_USER(!piece.text.empty() && piece.text.size() <= kMaxPieceBytes && is_utf8(piece.text),
             "{}: token {} has {} bytes; allowed: UTF-8 of 1 to {}", origin, id, piece.text.size(),
             kMaxPieceBytes);
  CHECK_USER(std::isfinite(piece.score), "{}: the score of token '{}' is not finite", origin,
             piece.text);
  CHECK_USER(piece.type >= kNormal && piece.type <= kByte,
             "{}: token '{}' has type {}; allowed: {} to {}", origin, piece.text, piece.type,
             static_cast<int>(kNormal), static_cast<int>(kByte));
  return piece;
}

Model read_model(std::string_view bytes, const std::string& origin) {
  Model m;
  ProtobufReader reader(bytes, origin);
  while (reader.next()) {
    if (reader.field() == 1) {
      m.pieces.push_back(read_piece(reader.content(), m.pieces.size(), origin));
      CHECK_USER(static_cast<std::int64_t>(m.pieces.size()) <= kMaxTokenId,
                 "{}: has more than {} tokens", origin, kMaxTokenId);
    } else if (reader.field() == 2) {
      ProtobufReader trainer(reader.content(), origin);
      while (trainer.next()) {
        if (trainer.field() == 3) m.model_type = trainer.integer();
        if (trainer.field() == 24) m.whitespace_as_suffix = trainer.integer() != 0;
        if (trainer.field() == 35) m.byte_fallback = trainer.integer() != 0;
        if (trainer.field() == 40) m.unk_id = trainer.integer();
        if (trainer.field() == 41) m.bos_id = trainer.integer();
        if (trainer.field() == 42) m.eos_id = trainer.integer();
      }
    } else if (reader.field() == 3) {
      ProtobufReader normalizer(reader.content(), origin);
      while (normalizer.next()) {
        if (normalizer.field() == 2) m.charsmap = normalizer.content();
        if (normalizer.field() == 3) m.add_dummy_prefix = normalizer.integer() != 0;
        if (normalizer.field() == 4) m.remove_extra_whitespaces = normalizer.integer() != 0;
        if (normalizer.field() == 5) m.escape_whitespaces = normalizer.integer() != 0;
      }
    }
  }
  const auto n = static_cast<std::int64_t>(m.pieces.size());
  CHECK_USER(n > 0, "{}: has no tokens, or is no SentencePiece model", origin);
  CHECK_USER(m.model_type == 1 || m.model_type == 2,
             "{}: is a SentencePiece model of type {}; allowed: 1 (unigram), 2 (BPE)", origin,
             m.model_type);
  CHECK_USER(!m.whitespace_as_suffix, "{}: treat_whitespace_as_suffix is true; not supported",
             origin);
  CHECK_USER(m.unk_id >= 0 && m.unk_id < n, "{}: unk_id is {}; allowed: 0 to {}", origin, m.unk_id,
             n - 1);
  CHECK_USER(m.bos_id < n && m.eos_id < n, "{}: bos_id and eos_id are {} and {}; allowed: up to {}",
             origin, m.bos_id, m.eos_id, n - 1);
  return m;
}

// SentencePiece joins the two neighbours whose joined piece has the best score. As merges: every
// piece's ways to be cut in two, in order of score, then (as transformers' generate_merges) the
// shorter left part, in characters, first.
OrderedJson merges_of(const Model& m) {
  std::unordered_map<std::string_view, std::size_t> ids;
  for (std::size_t id = 0; id < m.pieces.size(); ++id)
    if (m.pieces[id].type == kNormal) ids[m.pieces[id].text] = id;
  using Merge = std::tuple<double, std::size_t, std::size_t, std::string_view,
                           std::string_view>;  // minus score, id, left characters, parts
  std::vector<Merge> merges;
  for (std::size_t id = 0; id < m.pieces.size(); ++id) {
    if (m.pieces[id].type != kNormal) continue;
    const std::string_view text = m.pieces[id].text;
    std::size_t n_left = 0;
    for (std::size_t at = character_at(text, 0).bytes; at < text.size();
         at += character_at(text, at).bytes) {
      ++n_left;
      const std::string_view left = text.substr(0, at), right = text.substr(at);
      if (ids.contains(left) && ids.contains(right))
        merges.emplace_back(-m.pieces[id].score, id, n_left, left, right);
    }
  }
  std::sort(merges.begin(), merges.end());
  OrderedJson list = OrderedJson::array();
  for (const auto& [score, id, n_left, left, right] : merges)
    list.push_back(OrderedJson::array({left, right}));
  return list;
}

OrderedJson model_json(const Model& m) {
  if (m.model_type == 1) {
    OrderedJson vocab = OrderedJson::array();
    for (const Piece& piece : m.pieces)
      vocab.push_back(OrderedJson::array({piece.text, piece.score}));
    return {{"type", "Unigram"},
            {"unk_id", m.unk_id},
            {"vocab", std::move(vocab)},
            {"byte_fallback", m.byte_fallback}};
  }
  std::unordered_map<std::string_view, std::size_t> last;  // of equal pieces
  for (std::size_t id = 0; id < m.pieces.size(); ++id) last[m.pieces[id].text] = id;
  OrderedJson vocab = OrderedJson::object();
  for (std::size_t id = 0; id < m.pieces.size(); ++id)
    if (last[m.pieces[id].text] == id)
      vocab.get_ref<OrderedJson::object_t&>().emplace_back(m.pieces[id].text, id);
  const bool has_user_defined =
      std::any_of(m.pieces.begin(), m.pieces.end(),
                  [](const Piece& piece) { return piece.type == kUserDefined; });
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", m.pieces[static_cast<std::size_t>(m.unk_id)].text},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", true},
          {"byte_fallback", m.byte_fallback},
          {"ignore_merges", has_user_defined},
          {"vocab", std::move(vocab)},
          {"merges", merges_of(m)}};
}

OrderedJson replace(const char* kind, const char* pattern, const char* content) {
  return {{"type", "Replace"}, {"pattern", {{kind, pattern}}}, {"content", content}};
}
OrderedJson sequence(const char* key, OrderedJson list) {
  if (list.empty()) return nullptr;
  return {{"type", "Sequence"}, {key, std::move(list)}};
}

// In SentencePiece's order: the table, extra spaces, the dummy prefix, spaces as ▁. Only spaces
// count: other white space stays.
OrderedJson normalizer_json(const Model& m) {
  OrderedJson list = OrderedJson::array();
  if (!m.charsmap.empty())
    list.push_back(
        {{"type", "Precompiled"}, {"precompiled_charsmap", base64_of_bytes(m.charsmap)}});
  if (m.remove_extra_whitespaces) {
    list.push_back(replace("Regex", "\\A +| +\\z", ""));
    list.push_back(replace("Regex", " {2,}", " "));
  }
  if (m.add_dummy_prefix)
    list.push_back({{"type", "Prepend"}, {"prepend", m.escape_whitespaces ? kSpace : " "}});
  if (m.escape_whitespaces) list.push_back(replace("String", " ", kSpace));
  return sequence("normalizers", std::move(list));
}

// SentencePiece takes tokens that the user defined whole and lets no merge cross them, but a text
// has only one dummy prefix, so they are cut out behind the normalizer, the longest first, rather
// than looked for as added tokens.
OrderedJson pre_tokenizer_json(const Model& m) {
  std::vector<std::string_view> whole;
  for (const Piece& piece : m.pieces)
    if (piece.type == kUserDefined) whole.push_back(piece.text);
  if (whole.empty()) return nullptr;
  std::stable_sort(whole.begin(), whole.end(),
                   [](std::string_view a, std::string_view b) { return a.size() > b.size(); });
  std::string regex;
  for (const std::string_view text : whole) {
    if (!regex.empty()) regex += '|';
    for (const char c : text) {
      if (std::string_view(R"(\.^$|?*+()[]{}-#&~)").find(c) != std::string_view::npos)
        regex += '\\';
      regex += c;
    }
  }
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", "Isolated"},
          {"invert", false}};
}

OrderedJson decoder_json(const Model& m) {
  OrderedJson list = OrderedJson::array({replace("String", kSpace, " ")});
  if (m.byte_fallback) list.push_back({{"type", "ByteFallback"}});
  list.push_back({{"type", "Fuse"}});
  if (m.add_dummy_prefix)
    list.push_back({{"type", "Strip"}, {"content", " "}, {"start", 1}, {"stop", 0}});
  return sequence("decoders", std::move(list));
}

// LlamaTokenizer's: <s> before each text.
OrderedJson begin_template(const std::string& bos, std::int64_t id) {
  const auto special = [&](int type) {
    return OrderedJson{{"SpecialToken", {{"id", bos}, {"type_id", type}}}};
  };
  const auto text = [](const char* name, int type) {
    return OrderedJson{{"Sequence", {{"id", name}, {"type_id", type}}}};
  };
  const OrderedJson entry = {
      {"id", bos}, {"ids", OrderedJson::array({id})}, {"tokens", OrderedJson::array({bos})}};
  return {{"type", "TemplateProcessing"},
          {"single", OrderedJson::array({special(0), text("A", 0)})},
          {"pair", OrderedJson::array({special(0), text("A", 0), special(1), text("B", 1)})},
          {"special_tokens", {{bos, entry}}}};
}

}  // namespace

OrderedJson tokenizer_json_of_sentencepiece(const std::filesystem::path& file) {
  const std::string origin = file.string(), bytes = read_text_file(file);
  const Model m = read_model(bytes, origin);
  if (!m.charsmap.empty())
    Precompiled(m.charsmap, origin);  // refused here rather than where the JSON is read
  OrderedJson json = {{"version", "1.0"},
                      {"truncation", nullptr},
                      {"padding", nullptr},
                      {"added_tokens", OrderedJson::array()}};
  for (std::size_t id = 0; id < m.pieces.size(); ++id) {
    const Piece& piece = m.pieces[id];
    if (piece.type != kUnknown && piece.type != kControl) continue;
    json["added_tokens"].push_back({{"id", id},
                                    {"content", piece.text},
                                    {"single_word", false},
                                    {"lstrip", false},
                                    {"rstrip", false},
                                    {"normalized", false},
                                    {"special", true}});
  }
  json["normalizer"] = normalizer_json(m);
  json["pre_tokenizer"] = pre_tokenizer_json(m);
  const bool begins = m.model_type == 2 && m.byte_fallback && m.bos_id >= 0;
  json["post_processor"] =
      begins ? begin_template(m.pieces[static_cast<std::size_t>(m.bos_id)].text, m.bos_id)
             : OrderedJson();
  json["decoder"] = decoder_json(m);
  json["model"] = model_json(m);
  if (m.eos_id >= 0)
    json["weft"] = {{"eos_token", m.pieces[static_cast<std::size_t>(m.eos_id)].text}};
  return json;
}

}  // namespace weft

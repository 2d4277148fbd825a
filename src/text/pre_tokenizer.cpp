#include "text/pre_tokenizer.h"

#include <algorithm>
#include <utility>

#include "core/check.h"
#include "text/characters/byte_level.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"

namespace weft {
namespace {

// Rewrites every piece by itself: `write` puts it into the Rewriter.
template <class Write>
void rewrite_pieces(PreTokenized& t, const Write& write) {
  Rewriter out(t.text);
  std::vector<TextPiece> made;
  made.reserve(t.pieces.size());
  for (const TextPiece& piece : t.pieces) {
    const std::size_t begin = out.size();
    write(out, piece);
    if (out.size() > begin) made.push_back({begin, out.size()});
  }
  out.finish();
  t.pieces = std::move(made);
}

// The prefix shares the place of the first character.
void keep_prefixed(Rewriter& out, std::string_view text, TextPiece piece, std::string_view prefix) {
  const std::size_t first = character_at(text, piece.begin).bytes;
  out.put(prefix, piece.begin);
  out.put(text.substr(piece.begin, first), piece.begin);
  out.keep(piece.begin + first, piece.end);
}

class ByteLevel final : public PreTokenizer {
 public:
  explicit ByteLevel(const JsonReader& json)
      : prefix_(json.boolean("add_prefix_space", true)),
        trim_(json.boolean("trim_offsets", true)),
        regex_(json.boolean("use_regex", true)) {}

  void apply(PreTokenized& t, bool leave_bytes) const override {
    if (prefix_) add_prefix(t);
    if (regex_) {
      std::vector<TextPiece> words;
      const std::string_view text = t.text.text();
      for (const TextPiece& piece : t.pieces) {
        const std::string_view part = text.substr(0, piece.end);
        for (std::size_t at = piece.begin, end; at < piece.end; at = end) {
          end = gpt2_word_end(part, at);
          words.push_back({at, end});
        }
      }
      t.pieces = std::move(words);
    }
    if (leave_bytes) {
      t.bytes = true;
      return;
    }
    rewrite_pieces(t, [&](Rewriter& out, TextPiece piece) {
      const std::string_view text = t.text.text();
      for (std::size_t i = piece.begin; i < piece.end; ++i)
        out.put(byte_characters()[static_cast<std::uint8_t>(text[i])], i);
    });
  }
  bool is_byte_level() const override { return true; }
  OrderedJson to_json() const override {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", prefix_},
            {"trim_offsets", trim_},
            {"use_regex", regex_}};
  }

 private:
  void add_prefix(PreTokenized& t) const {
    const auto lacks = [&](const TextPiece& piece) { return t.text.text()[piece.begin] != ' '; };
    if (std::none_of(t.pieces.begin(), t.pieces.end(), lacks)) return;
    rewrite_pieces(t, [&](Rewriter& out, TextPiece piece) {
      if (lacks(piece))
        keep_prefixed(out, t.text.text(), piece, " ");
      else
        out.keep(piece.begin, piece.end);
    });
  }
  bool prefix_, trim_, regex_;
};

class Metaspace final : public PreTokenizer {
 public:
  Metaspace(const JsonReader& json, const std::string& origin)
      : replacement_(json.string("replacement", "▁")),
        scheme_(json.string("prepend_scheme", "")),
        split_(json.boolean("split", true)) {
    CHECK_USER(!replacement_.empty() && character_at(replacement_, 0).bytes == replacement_.size(),
               "{}: Metaspace's replacement is '{}'; allowed: one character", origin,
               in_message(replacement_));
    if (scheme_.empty()) scheme_ = json.boolean("add_prefix_space", true) ? "always" : "never";
    CHECK_USER(scheme_ == "always" || scheme_ == "first" || scheme_ == "never",
               "{}: Metaspace's prepend_scheme is '{}'; allowed: always, first, never", origin,
               in_message(scheme_));
  }

  void apply(PreTokenized& t, bool) const override {
    rewrite_pieces(t, [&](Rewriter& out, TextPiece piece) {
      const std::string_view text = t.text.text();
      const char first = text[piece.begin];
      const bool starts =
          first == ' ' || text.substr(0, piece.end).substr(piece.begin).starts_with(replacement_);
      const bool prefixed =
          !starts && (scheme_ == "always" ||
                      (scheme_ == "first" && t.text.place(piece.begin, piece.end).begin == 0));
      std::size_t at = piece.begin;
      if (prefixed) {
        const std::size_t n = character_at(text, at).bytes;
        keep_prefixed(out, text, {at, at + n}, replacement_);
        at += n;
      }
      while (at < piece.end) {
        const std::size_t space = std::min(text.find(' ', at), piece.end);
        out.keep(at, space);
        if (space < piece.end) out.put(replacement_, space);
        at = space + 1;
      }
    });
    if (!split_) return;
    std::vector<TextPiece> words;  // every replacement begins one
    const std::string_view text = t.text.text();
    for (const TextPiece& piece : t.pieces)
      for (std::size_t at = piece.begin; at < piece.end;) {
        const std::size_t end = std::min(text.find(replacement_, at + 1), piece.end);
        words.push_back({at, end});
        at = end;
      }
    t.pieces = std::move(words);
  }
  bool needs_places() const override { return scheme_ == "first"; }
  OrderedJson to_json() const override {
    return {{"type", "Metaspace"},
            {"replacement", replacement_},
            {"prepend_scheme", scheme_},
            {"split", split_}};
  }

 private:
  std::string replacement_, scheme_;
  bool split_;
};

class Sequence final : public PreTokenizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<PreTokenizer>> parts) : parts_(std::move(parts)) {}
  void apply(PreTokenized& t, bool leave_bytes) const override {
    for (const auto& part : parts_) part->apply(t, leave_bytes && part == parts_.back());
  }
  bool is_byte_level() const override { return !parts_.empty() && parts_.back()->is_byte_level(); }
  bool needs_places() const override {
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const auto& part) { return part->needs_places(); });
  }
  OrderedJson to_json() const override {
    OrderedJson list = OrderedJson::array();
    for (const auto& part : parts_) list.push_back(part->to_json());
    return {{"type", "Sequence"}, {"pretokenizers", list}};
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> parts_;
};

}  // namespace

std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json, const std::string& origin) {
  if (json.is_null()) return nullptr;
  const std::string type = type_of_part(json, "pre_tokenizer", origin);
  const JsonReader reader(json, origin + ": pre_tokenizer " + type);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<PreTokenizer>> parts;
    for (const Json& part : parts_of_sequence(json, "pretokenizers", origin))
      if (auto made = read_pre_tokenizer(part, origin)) parts.push_back(std::move(made));
    return std::make_unique<Sequence>(std::move(parts));
  }
  if (type == "ByteLevel") return std::make_unique<ByteLevel>(reader);
  if (type == "Metaspace") return std::make_unique<Metaspace>(reader, origin);
  auto made = read_splitter(type, json, origin);
  CHECK_USER(made,
             "{}: pre_tokenizer {} is not supported; allowed: Sequence, ByteLevel, Split, "
             "Metaspace, BertPreTokenizer, Whitespace, WhitespaceSplit, "
             "Digits, Punctuation, CharDelimiterSplit, FixedLength",
             origin, in_message(type));
  return made;
}

}  // namespace weft

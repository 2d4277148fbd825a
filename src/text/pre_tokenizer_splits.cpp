// Pre-tokenizers that only cut: Split, Whitespace, WhitespaceSplit, BertPreTokenizer, Digits,
// Punctuation, CharDelimiterSplit, FixedLength.
#include <functional>
#include <optional>

#include "core/check.h"
#include "text/characters/regex.h"
#include "text/characters/unicode.h"
#include "text/characters/unicode_properties.h"
#include "text/characters/word_patterns.h"
#include "text/json_values.h"
#include "text/split_behavior.h"

namespace weft {
namespace {

// A piece as spans: each delimiter one, what is between them one.
void spans_of_characters(std::string_view text, TextPiece piece,
                         const std::function<bool(std::int32_t)>& is_delimiter,
                         std::vector<Span>& out) {
  std::size_t rest = piece.begin;
  for (std::size_t at = piece.begin; at < piece.end;) {
    const Character c = character_at(text, at);
    const std::size_t end = at + c.bytes;
    if (is_delimiter(c.code)) {
      if (rest < at) out.push_back({rest, at, false});
      out.push_back({at, end, true});
      rest = end;
    }
    at = end;
  }
  if (rest < piece.end) out.push_back({rest, piece.end, false});
}

void split_at_characters(PreTokenized& t, SplitBehavior behavior,
                         const std::function<bool(std::int32_t)>& is_delimiter) {
  std::vector<TextPiece> out;
  std::vector<Span> spans;
  for (const TextPiece& piece : t.pieces) {
    spans.clear();
    spans_of_characters(t.text.text(), piece, is_delimiter, spans);
    split_spans(spans, behavior, out);
  }
  t.pieces = std::move(out);
}

bool is_space(std::int32_t code) { return class_of(code) == CharClass::space; }

class Split final : public PreTokenizer {
 public:
  Split(const Json& json, const std::string& origin)
      : pattern_(read_text_pattern(json, origin)),
        behavior_(read_split_behavior(JsonReader(json, origin).string("behavior", ""), origin)),
        invert_(JsonReader(json, origin).boolean("invert", false)) {
    // A pattern that covers every text leaves nothing between its matches, so that isolated is all
    // it needs.
    if (pattern_.is_regex && ((behavior_ == SplitBehavior::isolated) ||
                              (behavior_ == SplitBehavior::removed && invert_)))
      word_end_ = known_word_pattern(pattern_.text);
    if (!word_end_)
      regex_.emplace(pattern_.is_regex ? pattern_.text : escape_regex(pattern_.text), origin);
  }

  void apply(PreTokenized& t, bool) const override {
    std::vector<TextPiece> out;
    const std::string_view text = t.text.text();
    if (word_end_) {
      for (const TextPiece& piece : t.pieces) {
        const std::string_view part = text.substr(0, piece.end);
        for (std::size_t at = piece.begin, end; at < piece.end; at = end) {
          end = word_end_(part, at);
          out.push_back({at, end});
        }
      }
    } else if (!pattern_.text.empty()) {
      RegexScan scan(*regex_);
      std::vector<Span> spans;
      for (const TextPiece& piece : t.pieces) {
        spans.clear();
        scan.begin(text.substr(piece.begin, piece.end - piece.begin));
        std::size_t at = piece.begin, begin = 0, end = 0;
        while (scan.next(begin, end)) {
          if (at < piece.begin + begin) spans.push_back({at, piece.begin + begin, invert_});
          spans.push_back({piece.begin + begin, piece.begin + end, !invert_});
          at = piece.begin + end;
        }
        if (at < piece.end) spans.push_back({at, piece.end, invert_});
        split_spans(spans, behavior_, out);
      }
    } else {
      return;
    }
    t.pieces = std::move(out);
  }
  OrderedJson to_json() const override {
    return {{"type", "Split"},
            {"pattern", pattern_.to_json()},
            {"behavior", name_of(behavior_)},
            {"invert", invert_}};
  }

 private:
  TextPattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
  WordEnd word_end_ = nullptr;
  std::optional<Regex> regex_;
};

// \w+|[^\w\s]+
class Whitespace final : public PreTokenizer {
 public:
  void apply(PreTokenized& t, bool) const override {
    std::vector<TextPiece> out;
    const std::string_view text = t.text.text();
    const auto kind = [](std::int32_t code) {
      return is_word_character(code) ? 1 : is_space(code) ? 0 : 2;
    };
    for (const TextPiece& piece : t.pieces)
      for (std::size_t at = piece.begin; at < piece.end;) {
        const std::size_t begin = at;
        const int first = kind(character_at(text, at).code);
        while (at < piece.end) {
          const Character c = character_at(text, at);
          if (kind(c.code) != first) break;
          at += c.bytes;
        }
        if (first != 0) out.push_back({begin, at});
      }
    t.pieces = std::move(out);
  }
  OrderedJson to_json() const override { return {{"type", "Whitespace"}}; }
};

class WhitespaceSplit final : public PreTokenizer {
 public:
  void apply(PreTokenized& t, bool) const override {
    split_at_characters(t, SplitBehavior::removed, is_space);
  }
  OrderedJson to_json() const override { return {{"type", "WhitespaceSplit"}}; }
};

class Bert final : public PreTokenizer {
 public:
  void apply(PreTokenized& t, bool) const override {
    split_at_characters(t, SplitBehavior::removed, is_space);
    split_at_characters(t, SplitBehavior::isolated, is_punctuation);
  }
  OrderedJson to_json() const override { return {{"type", "BertPreTokenizer"}}; }
};

class Digits final : public PreTokenizer {
 public:
  explicit Digits(bool individual) : individual_(individual) {}
  void apply(PreTokenized& t, bool) const override {
    split_at_characters(t, individual_ ? SplitBehavior::isolated : SplitBehavior::contiguous,
                        [](std::int32_t code) { return has(code, kNumeric); });
  }
  OrderedJson to_json() const override {
    return {{"type", "Digits"}, {"individual_digits", individual_}};
  }

 private:
  bool individual_;
};

class Punctuation final : public PreTokenizer {
 public:
  explicit Punctuation(SplitBehavior behavior) : behavior_(behavior) {}
  void apply(PreTokenized& t, bool) const override {
    split_at_characters(t, behavior_, is_punctuation);
  }
  OrderedJson to_json() const override {
    return {{"type", "Punctuation"}, {"behavior", name_of(behavior_)}};
  }

 private:
  SplitBehavior behavior_;
};

class CharDelimiterSplit final : public PreTokenizer {
 public:
  CharDelimiterSplit(std::string delimiter, const std::string& origin)
      : delimiter_(std::move(delimiter)) {
    CHECK_USER(!delimiter_.empty() && character_at(delimiter_, 0).bytes == delimiter_.size(),
               "{}: CharDelimiterSplit's delimiter is '{}'; allowed: one character", origin,
               in_message(delimiter_));
  }
  void apply(PreTokenized& t, bool) const override {
    const std::int32_t wanted = character_at(delimiter_, 0).code;
    split_at_characters(t, SplitBehavior::removed,
                        [&](std::int32_t code) { return code == wanted; });
  }
  OrderedJson to_json() const override {
    return {{"type", "CharDelimiterSplit"}, {"delimiter", delimiter_}};
  }

 private:
  std::string delimiter_;
};

class FixedLength final : public PreTokenizer {
 public:
  explicit FixedLength(std::int64_t length) : length_(length) {}
  void apply(PreTokenized& t, bool) const override {
    std::vector<TextPiece> out;
    for (const TextPiece& piece : t.pieces)
      for (std::size_t at = piece.begin; at < piece.end;) {
        const std::size_t begin = at;
        for (std::int64_t n = 0; n < length_ && at < piece.end; ++n)
          at += character_at(t.text.text(), at).bytes;
        out.push_back({begin, at});
      }
    t.pieces = std::move(out);
  }
  OrderedJson to_json() const override { return {{"type", "FixedLength"}, {"length", length_}}; }

 private:
  std::int64_t length_;
};

}  // namespace

std::unique_ptr<PreTokenizer> read_splitter(const std::string& type, const Json& json,
                                            const std::string& origin) {
  const JsonReader reader(json, origin + ": pre_tokenizer " + type);
  if (type == "Split") return std::make_unique<Split>(json, origin + ": pre_tokenizer Split");
  if (type == "Whitespace") return std::make_unique<Whitespace>();
  if (type == "WhitespaceSplit") return std::make_unique<WhitespaceSplit>();
  if (type == "BertPreTokenizer") return std::make_unique<Bert>();
  if (type == "Digits") return std::make_unique<Digits>(reader.boolean("individual_digits", false));
  if (type == "Punctuation")
    return std::make_unique<Punctuation>(
        read_split_behavior(reader.string("behavior", "Isolated"), reader.origin()));
  if (type == "CharDelimiterSplit")
    return std::make_unique<CharDelimiterSplit>(reader.string("delimiter", ""), origin);
  if (type == "FixedLength")
    return std::make_unique<FixedLength>(reader.integer("length", 1, 1 << 30, 5));
  return nullptr;
}

}  // namespace weft

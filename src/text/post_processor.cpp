#include "text/post_processor.h"

#include <algorithm>
#include <map>

#include "core/check.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"
#include "text/token_list.h"

namespace weft {
namespace {

struct AddedPiece {  // [CLS] of a template: one token or several
  std::vector<std::int32_t> ids;
  std::int32_t type_id = 0;
};

// One part of what will be put together, and the text that its offsets count in.
struct EncodedPart {
  Encoding encoding;
  std::string_view text;
  std::span<const TokenSpaces> spaces;
};

// A step of processing: takes the parts, gives the parts. The reference joins them after the last
// step.
class Step {
 public:
  virtual ~Step() = default;
  virtual std::int64_t n_added(bool pair) const = 0;
  virtual std::int32_t largest_id() const { return -1; }
  virtual std::vector<EncodedPart> apply(std::vector<EncodedPart> parts,
                                         bool add_special_tokens) const = 0;
  virtual OrderedJson to_json() const = 0;
};

EncodedPart added_part(const AddedPiece& piece) {
  const std::size_t n = piece.ids.size();
  return {{piece.ids, std::vector<std::int32_t>(n, piece.type_id),
           std::vector<std::pair<std::int64_t, std::int64_t>>(n), std::vector<std::uint8_t>(n, 1),
           std::vector<std::uint8_t>(n, 1)},
          {},
          {}};
}

void append(Encoding& to, const Encoding& from) {
  const auto add = [](auto& all, const auto& more) {
    all.insert(all.end(), more.begin(), more.end());
  };
  add(to.ids, from.ids);
  add(to.type_ids, from.type_ids);
  add(to.offsets, from.offsets);
  add(to.added, from.added);
  add(to.mask, from.mask);
}

bool is_space_at(std::string_view text, std::size_t at) {
  return class_of(character_at(text, at).code) == CharClass::space;
}

std::size_t character_before(std::string_view text, std::size_t at) {
  std::size_t begin = at - 1;
  while (begin > 0 && at - begin < 4 && (static_cast<std::uint8_t>(text[begin]) & 0xC0u) == 0x80u)
    --begin;
  return begin + shown_character_at(text, begin).bytes == at ? begin : at - 1;
}

TokenSpaces spaces_in(std::string_view text) {
  TokenSpaces n;
  for (std::size_t at = 0; at < text.size() && is_space_at(text, at);
       at += character_at(text, at).bytes)
    ++n.leading;
  for (std::size_t at = text.size(); at > 0 && is_space_at(text, character_before(text, at));
       at = character_before(text, at))
    ++n.trailing;
  return n;
}

// Leaves the spaces at a token's ends out of its offsets: as many characters of the text as the
// token has spaces, whatever they are. One space before the first token stays where
// add_prefix_space says that the tokenizer may have put it there.
void trim_offsets(EncodedPart& part, bool add_prefix_space) {
  for (std::size_t i = 0; i < part.encoding.offsets.size(); ++i) {
    if (part.encoding.added[i]) continue;
    auto& [first, last] = part.encoding.offsets[i];
    CHECK(first >= 0 && first <= last && last <= static_cast<std::int64_t>(part.text.size()),
          "offsets ({}, {}) in a text of {} bytes", first, last, part.text.size());
    auto begin = static_cast<std::size_t>(first), end = static_cast<std::size_t>(last);
    const auto id = static_cast<std::size_t>(part.encoding.ids[i]);
    TokenSpaces n = id < part.spaces.size() ? part.spaces[id] : TokenSpaces{};
    if (n.in_text) n = spaces_in(part.text.substr(begin, end - begin));
    if (n.leading == 1 && add_prefix_space && (i == 0 || begin == 0)) n.leading = 0;
    for (; n.leading > 0 && begin < end; --n.leading)
      begin = std::min(begin + shown_character_at(part.text, begin).bytes, end);
    std::size_t cut = end;
    for (; n.trailing > 0 && cut > 0; --n.trailing) cut = character_before(part.text, cut);
    if (n.trailing == 0) end = std::max(cut, begin);
    first = static_cast<std::int64_t>(begin);
    last = static_cast<std::int64_t>(end);
  }
}

class ByteLevelStep : public Step {
 public:
  ByteLevelStep(const Json& json, const std::string& origin)
      : trim_(JsonReader(json, origin).boolean("trim_offsets", true)),
        prefix_(JsonReader(json, origin).boolean("add_prefix_space", true)),
        regex_(JsonReader(json, origin).boolean("use_regex", true)) {}
  std::int64_t n_added(bool) const override { return 0; }
  std::vector<EncodedPart> apply(std::vector<EncodedPart> parts, bool) const override {
    if (trim_)
      for (EncodedPart& part : parts) trim_offsets(part, prefix_);
    return parts;
  }
  OrderedJson to_json() const override {
    return {{"type", "ByteLevel"},
            {"add_prefix_space", prefix_},
            {"trim_offsets", trim_},
            {"use_regex", regex_}};
  }

 private:
  bool trim_, prefix_, regex_;
};

// BertProcessing and RobertaProcessing: "sep": ["[SEP]", 102], "cls": ["[CLS]", 101].
class ClsSepStep : public Step {
 public:
  ClsSepStep(const Json& json, bool roberta, const std::string& origin)
      : sep_(read_token(json, "sep", origin)),
        cls_(read_token(json, "cls", origin)),
        roberta_(roberta),
        trim_(roberta && JsonReader(json, origin).boolean("trim_offsets", true)),
        prefix_(roberta && JsonReader(json, origin).boolean("add_prefix_space", true)) {}

  std::int64_t n_added(bool pair) const override { return !pair ? 2 : roberta_ ? 4 : 3; }
  std::int32_t largest_id() const override { return std::max(sep_.second, cls_.second); }

  std::vector<EncodedPart> apply(std::vector<EncodedPart> parts,
                                 bool add_special_tokens) const override {
    for (EncodedPart& part : parts) {
      if (trim_) trim_offsets(part, prefix_);
      if (roberta_) std::fill(part.encoding.type_ids.begin(), part.encoding.type_ids.end(), 0);
    }
    if (!add_special_tokens) return parts;
    std::vector<EncodedPart> out;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      if (i == 0)
        out.push_back(added_part({{cls_.second}, 0}));
      else if (roberta_)
        out.push_back(added_part({{sep_.second}, 0}));
      out.push_back(std::move(parts[i]));
      out.push_back(added_part({{sep_.second}, i == 0 || roberta_ ? 0 : 1}));
    }
    return out;
  }

  OrderedJson to_json() const override {
    OrderedJson json = {{"type", roberta_ ? "RobertaProcessing" : "BertProcessing"},
                        {"sep", OrderedJson::array({sep_.first, sep_.second})},
                        {"cls", OrderedJson::array({cls_.first, cls_.second})}};
    if (!roberta_) return json;
    json["trim_offsets"] = trim_;
    json["add_prefix_space"] = prefix_;
    return json;
  }

 private:
  using Token = std::pair<std::string, std::int32_t>;
  static Token read_token(const Json& json, const char* key, const std::string& origin) {
    const Json token = json.value(key, Json());
    const bool good =
        token.is_array() && token.size() == 2 && token[0].is_string() && is_token_id(token[1]);
    CHECK_USER(good, "{}: {} is {}; allowed: [token, id]", origin, key, brief(token));
    return {token[0].get<std::string>(), token[1].get<std::int32_t>()};
  }
  Token sep_, cls_;
  bool roberta_, trim_, prefix_;
};

class TemplateStep : public Step {
 public:
  TemplateStep(const Json& json, const std::string& origin) {
    const Json specials = json.value("special_tokens", Json::object());
    CHECK_USER(specials.is_object(), "{}: special_tokens is not an object", origin);
    for (const auto& [name, special] : specials.items()) {
      const auto list = [&](const char* key) {
        return special.is_object() ? special.value(key, Json()) : Json();
      };
      const Json ids = list("ids"), tokens = list("tokens");
      const bool good = ids.is_array() && tokens.is_array() && ids.size() == tokens.size() &&
                        std::all_of(ids.begin(), ids.end(), is_token_id) &&
                        std::all_of(tokens.begin(), tokens.end(),
                                    [](const Json& token) { return token.is_string(); });
      CHECK_USER(good, "{}: special_tokens has '{}' without as many \"ids\" as \"tokens\"", origin,
                 in_message(name));
      specials_[name] = {ids.get<std::vector<std::int32_t>>(),
                         tokens.get<std::vector<std::string>>()};
    }
    single_ = read_template(json, "single", origin);
    pair_ = read_template(json, "pair", origin);
    CHECK_USER(std::none_of(single_.begin(), single_.end(),
                            [](const TemplatePiece& piece) { return piece.text == 1; }),
               "{}: single has text B; allowed: A", origin);
  }

  std::int64_t n_added(bool pair) const override {
    std::size_t n = 0;
    for (const TemplatePiece& piece : pair ? pair_ : single_)
      if (piece.text < 0) n += specials_.at(piece.special).ids.size();
    return static_cast<std::int64_t>(n);
  }

  std::int32_t largest_id() const override {
    std::int32_t largest = -1;
    for (const std::vector<TemplatePiece>* pieces : {&single_, &pair_})
      for (const TemplatePiece& piece : *pieces)
        if (piece.text < 0)
          for (const std::int32_t id : specials_.at(piece.special).ids)
            largest = std::max(largest, id);
    return largest;
  }

  std::vector<EncodedPart> apply(std::vector<EncodedPart> parts,
                                 bool add_special_tokens) const override {
    CHECK_USER(parts.size() <= 2,
               "TemplateProcessing follows another post-processor that adds tokens; allowed: only "
               "ones that add none, such as ByteLevel");
    std::vector<EncodedPart> out;
    for (const TemplatePiece& piece : parts.size() == 1 ? single_ : pair_) {
      if (piece.text < 0) {
        if (add_special_tokens)
          out.push_back(added_part({specials_.at(piece.special).ids, piece.type_id}));
        continue;
      }
      EncodedPart part = parts[static_cast<std::size_t>(piece.text)];
      std::fill(part.encoding.type_ids.begin(), part.encoding.type_ids.end(), piece.type_id);
      out.push_back(std::move(part));
    }
    return out;
  }

  OrderedJson to_json() const override {
    OrderedJson json = {{"type", "TemplateProcessing"},
                        {"single", write(single_)},
                        {"pair", write(pair_)},
                        {"special_tokens", OrderedJson::object()}};
    for (const auto& [name, special] : specials_)
      json["special_tokens"][name] = {
          {"id", name}, {"ids", special.ids}, {"tokens", special.tokens}};
    return json;
  }

 private:
  struct Special {
    std::vector<std::int32_t> ids;
    std::vector<std::string> tokens;
  };
  struct TemplatePiece {
    int text = -1;        // 0: A, 1: B, -1: a special token
    std::string special;  // its name
    std::int32_t type_id = 0;
  };

  std::vector<TemplatePiece> read_template(const Json& json, const char* key,
                                           const std::string& origin) const {
    const Json list = json.value(key, Json());
    CHECK_USER(list.is_array(), "{}: {} is not a list of pieces", origin, key);
    std::vector<TemplatePiece> pieces;
    for (const Json& entry : list) {
      const bool is_text = entry.is_object() && entry.size() == 1 && entry.contains("Sequence");
      const bool is_special =
          entry.is_object() && entry.size() == 1 && entry.contains("SpecialToken");
      CHECK_USER(is_text || is_special, "{}: {} has {}; allowed: Sequence, SpecialToken", origin,
                 key, brief(entry));
      const Json& body = entry.begin().value();
      CHECK_USER(body.is_object() && body.contains("id") && body["id"].is_string(),
                 "{}: {} has a piece without an id", origin, key);
      TemplatePiece piece;
      piece.type_id = static_cast<std::int32_t>(
          JsonReader(body, origin + ": " + key).integer("type_id", 0, kMaxTokenId));
      const auto id = body["id"].get<std::string>();
      if (is_text) {
        CHECK_USER(id == "A" || id == "B", "{}: {} has Sequence '{}'; allowed: A, B", origin, key,
                   in_message(id));
        piece.text = id == "A" ? 0 : 1;
      } else {
        CHECK_USER(specials_.contains(id), "{}: {} has '{}', which special_tokens has not", origin,
                   key, in_message(id));
        piece.special = id;
      }
      pieces.push_back(std::move(piece));
    }
    return pieces;
  }

  static OrderedJson write(const std::vector<TemplatePiece>& pieces) {
    OrderedJson list = OrderedJson::array();
    for (const TemplatePiece& piece : pieces) {
      const char* kind = piece.text < 0 ? "SpecialToken" : "Sequence";
      list.push_back({{kind,
                       {{"id", piece.text < 0    ? piece.special
                               : piece.text == 0 ? "A"
                                                 : "B"},
                        {"type_id", piece.type_id}}}});
    }
    return list;
  }

  std::map<std::string, Special> specials_;
  std::vector<TemplatePiece> single_, pair_;
};

// null, and the inner part of Sequence.
class SequenceStep : public Step {
 public:
  SequenceStep(std::vector<std::unique_ptr<Step>> steps) : steps_(std::move(steps)) {}
  std::int64_t n_added(bool pair) const override {
    std::int64_t n = 0;
    for (const auto& step : steps_) n += step->n_added(pair);
    return n;
  }
  std::int32_t largest_id() const override {
    std::int32_t largest = -1;
    for (const auto& step : steps_) largest = std::max(largest, step->largest_id());
    return largest;
  }
  std::vector<EncodedPart> apply(std::vector<EncodedPart> parts,
                                 bool add_special_tokens) const override {
    for (const auto& step : steps_) parts = step->apply(std::move(parts), add_special_tokens);
    return parts;
  }
  OrderedJson to_json() const override {
    OrderedJson list = OrderedJson::array();
    for (const auto& step : steps_) list.push_back(step->to_json());
    return {{"type", "Sequence"}, {"processors", std::move(list)}};
  }

 private:
  std::vector<std::unique_ptr<Step>> steps_;
};

std::unique_ptr<Step> read_step(const Json& json, const std::string& origin) {
  CHECK_USER(json.is_object(), "{} is not an object", origin);
  const std::string type = JsonReader(json, origin).string("type", "");
  if (type == "TemplateProcessing") return std::make_unique<TemplateStep>(json, origin);
  if (type == "BertProcessing" || type == "RobertaProcessing")
    return std::make_unique<ClsSepStep>(json, type == "RobertaProcessing", origin);
  if (type == "ByteLevel") return std::make_unique<ByteLevelStep>(json, origin);
  CHECK_USER(type == "Sequence",
             "{}: type {} is not supported; allowed: TemplateProcessing, BertProcessing, "
             "RobertaProcessing, ByteLevel, Sequence",
             origin, type.empty() ? "(none)" : in_message(type));
  CHECK_USER(json.contains("processors") && json["processors"].is_array(),
             "{}: processors is not a list", origin);
  std::vector<std::unique_ptr<Step>> steps;
  for (const Json& inner : json["processors"]) steps.push_back(read_step(inner, origin));
  return std::make_unique<SequenceStep>(std::move(steps));
}

class Steps : public PostProcessor {
 public:
  explicit Steps(std::unique_ptr<Step> step) : step_(std::move(step)) {}
  std::int64_t n_added(bool pair) const override { return step_ ? step_->n_added(pair) : 0; }
  std::int32_t largest_id() const override { return step_ ? step_->largest_id() : -1; }

  Encoding process(Encoding first, std::optional<Encoding> second, bool add_special_tokens,
                   std::string_view first_text, std::string_view second_text,
                   std::span<const TokenSpaces> spaces) const override {
    std::vector<EncodedPart> parts;
    parts.push_back({std::move(first), first_text, spaces});
    if (second) parts.push_back({std::move(*second), second_text, spaces});
    for (std::size_t i = 0; i < parts.size(); ++i)
      parts[i].encoding.type_ids.assign(parts[i].encoding.ids.size(), static_cast<std::int32_t>(i));
    if (step_) parts = step_->apply(std::move(parts), add_special_tokens);
    if (parts.size() == 1) return std::move(parts[0].encoding);
    Encoding out;
    for (const EncodedPart& part : parts) append(out, part.encoding);
    return out;
  }

  OrderedJson to_json() const override { return step_ ? step_->to_json() : OrderedJson(); }

 private:
  std::unique_ptr<Step> step_;
};

}  // namespace

TokenSpaces spaces_of_token(std::string_view token) {
  const auto is_space = [&](std::size_t at) {
    const std::int32_t code = character_at(token, at).code;
    return code == 0x120 || class_of(code) == CharClass::space;
  };
  TokenSpaces n = {.leading = 0, .trailing = 0, .in_text = false};
  bool leads = true;
  for (std::size_t at = 0; at < token.size(); at += character_at(token, at).bytes) {
    const bool space = is_space(at);
    leads = leads && space;
    n.leading += leads;
    n.trailing = space ? n.trailing + 1 : 0;
  }
  return n;
}

std::unique_ptr<PostProcessor> read_post_processor(const Json& json, const std::string& origin) {
  return std::make_unique<Steps>(json.is_null() ? nullptr
                                                : read_step(json, origin + ": post_processor"));
}

}  // namespace weft

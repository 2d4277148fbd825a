// Normalizers that go by characters: the Unicode forms, lower case, accents, BERT's and NMT's
// cleaning.
#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <functional>

#include "core/check.h"
#include "text/characters/unicode.h"
#include "text/characters/unicode_properties.h"
#include "text/normalizer.h"

namespace weft {
namespace {

// A character of the next text and what it does to the old one, as the reference counts: 0 takes
// the place of an old character, 1 is put in, -n takes the place of one and removes n more behind
// it. A byte that is not UTF-8 goes through as it is: kByte + byte.
struct Change {
  std::int32_t code;
  std::int64_t change;
};
constexpr std::int32_t kByte = 0x110000;

std::vector<std::int32_t> codes_of(std::string_view text) {
  std::vector<std::int32_t> codes;
  codes.reserve(text.size());
  for (std::size_t at = 0; at < text.size();) {
    const Character c = character_at(text, at);
    codes.push_back(c.code >= 0 ? c.code : kByte + static_cast<std::uint8_t>(text[at]));
    at += c.bytes;
  }
  return codes;
}

void transform(NormalizedText& text, const std::vector<Change>& changes) {
  const std::string_view old = text.text();
  Rewriter out(text);
  std::size_t at = 0;
  std::string one;
  for (const Change& c : changes) {
    one.clear();
    if (c.code >= kByte)
      one += static_cast<char>(c.code - kByte);
    else
      append_utf8(one, static_cast<std::uint32_t>(c.code));
    if (c.change > 0) {
      if (at == 0)
        out.put_at(one, text.start());
      else
        out.put(one, at - 1);
      continue;
    }
    out.put(one, std::min(at, old.size() - 1));
    for (std::int64_t n = 0; n <= -c.change && at < old.size(); ++n)
      at += character_at(old, at).bytes;
  }
  out.finish();
}

// Every character by itself: kept, mapped or dropped (-1).
template <class Map>
void map_characters(NormalizedText& text, const Map& map) {
  const std::string_view old = text.text();
  Rewriter out(text);
  std::string one;
  for (std::size_t at = 0; at < old.size();) {
    const Character c = character_at(old, at);
    const std::int32_t made = c.code < 0 ? c.code : map(c.code);
    if (made == c.code) {
      out.keep(at, at + c.bytes);
    } else if (made >= 0) {
      one.clear();
      append_utf8(one, static_cast<std::uint32_t>(made));
      out.put(one, at);
    }
    at += c.bytes;
  }
  out.finish();
}

bool is_ascii(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return static_cast<std::uint8_t>(c) < 0x80; });
}

int combining_class(std::int32_t code) {
  return code >= kByte ? 0 : properties_of(code).combining_class;
}

std::vector<Change> decomposed(std::string_view text, bool compatible) {
  struct Pending {
    int order;
    Change change;
  };
  std::vector<Change> out;
  std::vector<Pending> pending;
  const auto flush = [&] {
    std::stable_sort(pending.begin(), pending.end(),
                     [](const Pending& a, const Pending& b) { return a.order < b.order; });
    for (const Pending& p : pending) out.push_back(p.change);
    pending.clear();
  };
  const auto options =
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | (compatible ? UTF8PROC_COMPAT : 0));
  for (const std::int32_t code : codes_of(text)) {
    std::array<utf8proc_int32_t, 32> parts{code};
    utf8proc_ssize_t n = 1;
    int boundary = 0;
    const bool decomposes = code < kByte && !has(code, compatible ? kCompatible : kUndecomposed);
    if (decomposes)
      n = utf8proc_decompose_char(code, parts.data(), static_cast<utf8proc_ssize_t>(parts.size()),
                                  options, &boundary);
    CHECK(n >= 0 && n <= static_cast<utf8proc_ssize_t>(parts.size()),
          "U+{:04X} cannot be decomposed", code);
    for (utf8proc_ssize_t i = 0; i < n; ++i) {
      const std::int32_t part = parts[static_cast<std::size_t>(i)];
      const int order = combining_class(part);
      if (order == 0) flush();
      pending.push_back({order, {part, i == 0 ? 0 : 1}});
    }
  }
  flush();
  return out;
}

// The character that two make together; -1 where they make none.
std::int32_t composed_pair(std::int32_t left, std::int32_t right) {
  if (left >= kByte || right >= kByte) return -1;
  std::array<utf8proc_int32_t, 2> pair{left, right};
  const auto options = static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE);
  const bool one = utf8proc_normalize_utf32(pair.data(), 2, options) == 1;
  return one && !has(pair[0], kUndecomposed) ? pair[0] : -1;
}

std::vector<Change> composed(const std::vector<Change>& parts) {
  std::vector<Change> out, blocked;  // blocked: marks behind the starter that did not join it
  const auto purge = [&](const Change& starter) {
    out.push_back(starter);
    out.insert(out.end(), blocked.begin(), blocked.end());
    blocked.clear();
  };
  bool has_starter = false;
  Change starter{0, 0};
  int last = -1;
  for (const Change& part : parts) {
    const int order = combining_class(part.code);
    if (!has_starter) {
      if (order != 0)
        out.push_back(part);
      else
        starter = part, has_starter = true;
      continue;
    }
    const std::int32_t joined =
        last >= 0 && last >= order ? -1 : composed_pair(starter.code, part.code);
    if (joined >= 0) {
      starter = {joined, starter.change + part.change - 1};
    } else if (order == 0) {
      purge(starter);
      starter = part;
      last = -1;
    } else {
      blocked.push_back(part);
      last = order;
    }
  }
  if (has_starter) purge(starter);
  return out;
}

enum class Form { nfc, nfd, nfkc, nfkd };

void apply_form(NormalizedText& text, Form form) {
  if (is_ascii(text.text())) return;
  const std::vector<Change> parts =
      decomposed(text.text(), form == Form::nfkc || form == Form::nfkd);
  transform(text, form == Form::nfc || form == Form::nfkc ? composed(parts) : parts);
}

// Character by character: the reference knows no final sigma. Of all only U+0130 becomes two.
void lowercase(NormalizedText& text) {
  if (text.text().find("\xC4\xB0") == std::string_view::npos)
    return map_characters(text, [](std::int32_t c) { return lower_case(c); });
  std::vector<Change> changes;
  for (const std::int32_t code : codes_of(text.text())) {
    changes.push_back({code == 0x130 ? 'i' : code < kByte ? lower_case(code) : code, 0});
    if (code == 0x130) changes.push_back({0x307, 1});
  }
  transform(text, changes);
}

// BERT's: but not the three that count as white space.
bool is_control(std::int32_t code) {
  return code != '\t' && code != '\n' && code != '\r' && has(code, kControl);
}

// The blocks as the reference has them: U+2B820 to U+2B91F are not among them.
bool is_chinese(std::int32_t c) {
  constexpr std::pair<std::int32_t, std::int32_t> kBlocks[] = {
      {0x4E00, 0x9FFF},   {0x3400, 0x4DBF},   {0x20000, 0x2A6DF}, {0x2A700, 0x2B73F},
      {0x2B740, 0x2B81F}, {0x2B920, 0x2CEAF}, {0xF900, 0xFAFF},   {0x2F800, 0x2FA1F}};
  return std::any_of(std::begin(kBlocks), std::end(kBlocks),
                     [&](const auto& block) { return block.first <= c && c <= block.second; });
}

void clean_text(NormalizedText& text) {
  map_characters(text, [](std::int32_t c) {
    if (c == 0 || c == 0xFFFD || is_control(c)) return -1;
    return class_of(c) == CharClass::space ? std::int32_t{' '} : c;
  });
}

void space_chinese(NormalizedText& text) {
  if (is_ascii(text.text())) return;
  std::vector<Change> changes;
  for (const std::int32_t code : codes_of(text.text())) {
    const bool chinese = is_chinese(code);
    if (chinese) changes.push_back({' ', 0});
    changes.push_back({code, chinese ? 1 : 0});
    if (chinese) changes.push_back({' ', 1});
  }
  transform(text, changes);
}

void nmt(NormalizedText& text) {
  map_characters(text, [](std::int32_t c) {
    if ((c >= 1 && c <= 8) || c == 0xB || (c >= 0xE && c <= 0x1F) || c == 0x7F || c == 0x8F ||
        c == 0x9F)
      return -1;
    const bool space = c == 9 || c == 0xA || c == 0xC || c == 0xD || c == 0x1680 ||
                       (c >= 0x200B && c <= 0x200F) || c == 0x2028 || c == 0x2029 || c == 0x2581 ||
                       c == 0xFEFF || c == 0xFFFD;
    return space ? std::int32_t{' '} : c;
  });
}

class Plain final : public Normalizer {
 public:
  Plain(std::string type, std::function<void(NormalizedText&)> step)
      : type_(std::move(type)), step_(std::move(step)) {}
  void apply(NormalizedText& text) const override { step_(text); }
  OrderedJson to_json() const override { return {{"type", type_}}; }

 private:
  std::string type_;
  std::function<void(NormalizedText&)> step_;
};

class Bert final : public Normalizer {
 public:
  explicit Bert(const JsonReader& json)
      : clean_(json.boolean("clean_text", true)),
        chinese_(json.boolean("handle_chinese_chars", true)),
        lowercase_(json.boolean("lowercase", true)) {
    if (json.has("strip_accents")) accents_ = json.boolean("strip_accents", true);
  }
  void apply(NormalizedText& text) const override {
    if (clean_) clean_text(text);
    if (chinese_) space_chinese(text);
    if (accents_.value_or(lowercase_)) {
      apply_form(text, Form::nfd);
      map_characters(text, [](std::int32_t c) { return has(c, kNonspacingMark) ? -1 : c; });
    }
    if (lowercase_) lowercase(text);
  }
  OrderedJson to_json() const override {
    return {{"type", "BertNormalizer"},
            {"clean_text", clean_},
            {"handle_chinese_chars", chinese_},
            {"strip_accents", accents_ ? OrderedJson(*accents_) : OrderedJson()},
            {"lowercase", lowercase_}};
  }

 private:
  bool clean_, chinese_, lowercase_;
  std::optional<bool> accents_;
};

}  // namespace

std::unique_ptr<Normalizer> read_unicode_normalizer(const std::string& type, const Json& json,
                                                    const std::string& origin) {
  const auto plain = [&](std::function<void(NormalizedText&)> step) {
    return std::make_unique<Plain>(type, std::move(step));
  };
  if (type == "NFC") return plain([](NormalizedText& t) { apply_form(t, Form::nfc); });
  if (type == "NFD") return plain([](NormalizedText& t) { apply_form(t, Form::nfd); });
  if (type == "NFKC") return plain([](NormalizedText& t) { apply_form(t, Form::nfkc); });
  if (type == "NFKD") return plain([](NormalizedText& t) { apply_form(t, Form::nfkd); });
  if (type == "Lowercase") return plain(lowercase);
  if (type == "StripAccents")
    return plain([](NormalizedText& t) {
      map_characters(t, [](std::int32_t c) { return has(c, kMark) ? -1 : c; });
    });
  if (type == "Nmt") return plain(nmt);
  if (type == "BertNormalizer")
    return std::make_unique<Bert>(JsonReader(json, origin + ": normalizer BertNormalizer"));
  return nullptr;
}

}  // namespace weft

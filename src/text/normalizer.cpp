#include "text/normalizer.h"

#include <utility>

#include "core/check.h"
#include "text/characters/byte_level.h"
#include "text/characters/regex.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"

namespace weft {

void replace_characters_of_bytes(NormalizedText& text) {
  const std::string_view old = text.text();
  Rewriter out(text);
  for (std::size_t i = 0; i < old.size(); ++i)
    out.put(byte_characters()[static_cast<std::uint8_t>(old[i])], i);
  out.finish();
}

namespace {

class Sequence final : public Normalizer {
 public:
  explicit Sequence(std::vector<std::unique_ptr<Normalizer>> parts) : parts_(std::move(parts)) {}
  void apply(NormalizedText& text) const override {
    for (const auto& part : parts_) part->apply(text);
  }
  OrderedJson to_json() const override {
    OrderedJson list = OrderedJson::array();
    for (const auto& part : parts_) list.push_back(part->to_json());
    return {{"type", "Sequence"}, {"normalizers", list}};
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> parts_;
};

class Prepend final : public Normalizer {
 public:
  explicit Prepend(std::string what) : what_(std::move(what)) {}
  void apply(NormalizedText& text) const override {
    if (text.text().empty() || what_.empty()) return;
    Rewriter out(text);
    const std::size_t first = character_at(text.text(), 0).bytes;
    out.put(what_, 0);
    out.put(text.text().substr(0, first), 0);
    out.keep(first, text.text().size());
    out.finish();
  }
  OrderedJson to_json() const override { return {{"type", "Prepend"}, {"prepend", what_}}; }

 private:
  std::string what_;
};

// What is put in shares the place of the last character that it replaces.
class Replace final : public Normalizer {
 public:
  Replace(TextPattern pattern, std::string content, const std::string& origin)
      : pattern_(std::move(pattern)),
        content_(std::move(content)),
        regex_(pattern_.is_regex ? pattern_.text : escape_regex(pattern_.text), origin) {}
  void apply(NormalizedText& text) const override {
    const std::string_view old = text.text();
    if (!pattern_.is_regex) {
      if (pattern_.text.empty() || old.find(pattern_.text) == std::string_view::npos) return;
      Rewriter out(text);
      std::size_t at = 0;
      for (std::size_t found; (found = old.find(pattern_.text, at)) != std::string_view::npos;) {
        out.keep(at, found);
        at = found + pattern_.text.size();
        out.put(content_, at - 1);
      }
      out.keep(at, old.size());
      return out.finish();
    }
    RegexScan scan(regex_);
    scan.begin(old);
    Rewriter out(text);
    std::size_t at = 0, begin = 0, end = 0;
    if (old.empty()) return;
    while (scan.next(begin, end)) {
      out.keep(at, begin);
      if (end == 0)
        out.put_at(content_, text.start());
      else
        out.put(content_, end - 1);
      at = end;
    }
    out.keep(at, old.size());
    out.finish();
  }
  OrderedJson to_json() const override {
    return {{"type", "Replace"}, {"pattern", pattern_.to_json()}, {"content", content_}};
  }

 private:
  TextPattern pattern_;
  std::string content_;
  Regex regex_;
};

class Strip final : public Normalizer {
 public:
  Strip(bool left, bool right) : left_(left), right_(right) {}
  void apply(NormalizedText& text) const override {
    const std::string_view old = text.text(), kept = stripped(old, left_, right_);
    if (kept.size() == old.size()) return;
    const auto begin = static_cast<std::size_t>(kept.data() - old.data());
    Rewriter out(text);
    out.keep(begin, begin + kept.size());
    out.finish();
  }
  OrderedJson to_json() const override {
    return {{"type", "Strip"}, {"strip_left", left_}, {"strip_right", right_}};
  }

 private:
  bool left_, right_;
};

class ByteLevel final : public Normalizer {
 public:
  void apply(NormalizedText& text) const override { replace_characters_of_bytes(text); }
  OrderedJson to_json() const override { return {{"type", "ByteLevel"}}; }
};

}  // namespace

std::unique_ptr<Normalizer> read_normalizer(const Json& json, const std::string& origin) {
  if (json.is_null()) return nullptr;
  const std::string type = type_of_part(json, "normalizer", origin);
  const JsonReader reader(json, origin + ": normalizer " + type);
  if (type == "Sequence") {
    std::vector<std::unique_ptr<Normalizer>> parts;
    for (const Json& part : parts_of_sequence(json, "normalizers", origin))
      if (auto made = read_normalizer(part, origin)) parts.push_back(std::move(made));
    return std::make_unique<Sequence>(std::move(parts));
  }
  if (type == "Prepend") return std::make_unique<Prepend>(reader.string("prepend", "▁"));
  if (type == "Replace") {
    CHECK_USER(reader.has("content"), "{}: normalizer Replace has no content", origin);
    return std::make_unique<Replace>(read_text_pattern(json, origin), reader.string("content", ""),
                                     origin);
  }
  if (type == "Strip")
    return std::make_unique<Strip>(reader.boolean("strip_left", true),
                                   reader.boolean("strip_right", true));
  if (type == "ByteLevel") return std::make_unique<ByteLevel>();
  if (type == "Precompiled") return read_precompiled(json, origin);
  auto made = read_unicode_normalizer(type, json, origin);
  CHECK_USER(made,
             "{}: normalizer {} is not supported; allowed: Sequence, Prepend, Replace, NFC, NFD, "
             "NFKC, NFKD, Lowercase, Strip, StripAccents, "
             "BertNormalizer, Nmt, ByteLevel, Precompiled",
             origin, in_message(type));
  return made;
}

}  // namespace weft

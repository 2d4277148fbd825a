#include "io/python_json.h"

#include <fmt/ranges.h>

#include <charconv>
#include <cstdlib>
#include <limits>
#include <set>

#include "core/utf8.h"

namespace weft {
namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Reads values one behind another; with a null `out` they are checked and passed over.
class Scanner {
 public:
  Scanner(std::string_view text, std::size_t at) : text_(text), at_(at) {}
  std::size_t at() const { return at_; }
  char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }

  void value(Json* out, int depth);
  void string(std::string* out);
  // `each(key)` reads the member's value.
  template <class Each>
  void object(int depth, const Each& each);
  template <class Each>
  void array(int depth, const Each& each);

 private:
  [[noreturn]] void fail(const std::string& reason) const { throw JsonFault(reason, at_); }
  void spaces() { at_ = skip_json_spaces(text_, at_); }
  void expect(char c) {
    if (at_ == text_.size() || text_[at_] != c)
      fail(fmt::format("'{}' is missing{}", c, at_ == text_.size() ? " at its end" : ""));
    ++at_;
  }
  bool take(std::string_view word) {
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  void check_depth(int depth) const {
    if (depth >= kMaxJsonDepth) fail(fmt::format("it is nested deeper than {}", kMaxJsonDepth));
  }
  void number(Json* out);
  std::uint32_t escaped_unit();
  void escape(std::string* out);

  std::string_view text_;
  std::size_t at_;
};

template <class Each>
void Scanner::object(int depth, const Each& each) {
  check_depth(depth);
  expect('{');
  spaces();
  if (take("}")) return;
  for (;;) {
    if (peek() != '"') fail("a key in double quotes is missing");
    std::string key;
    string(&key);
    spaces();
    expect(':');
    spaces();
    each(std::move(key));
    spaces();
    if (take("}")) return;
    expect(',');
    spaces();
  }
}

template <class Each>
void Scanner::array(int depth, const Each& each) {
  check_depth(depth);
  expect('[');
  spaces();
  if (take("]")) return;
  for (;;) {
    each();
    spaces();
    if (take("]")) return;
    expect(',');
    spaces();
  }
}

void Scanner::value(Json* out, int depth) {
  constexpr double kInfinity = std::numeric_limits<double>::infinity();
  const auto give = [&](Json&& json) {
    if (out) *out = std::move(json);
  };
  switch (peek()) {
    case '{':
      give(Json::object());
      return object(depth,
                    [&](std::string key) { value(out ? &(*out)[key] : nullptr, depth + 1); });
    case '[':
      give(Json::array());
      return array(depth, [&] {
        if (!out) return value(nullptr, depth + 1);
        out->push_back(nullptr);
        value(&out->back(), depth + 1);
      });
    case '"': {
      if (!out) return string(nullptr);
      std::string text;
      string(&text);
      return give(std::move(text));
    }
    default:
      if (take("true")) return give(true);
      if (take("false")) return give(false);
      if (take("null")) return give(nullptr);
      if (take("NaN")) return give(std::numeric_limits<double>::quiet_NaN());
      if (take("Infinity")) return give(kInfinity);
      if (take("-Infinity")) return give(-kInfinity);
      return number(out);
  }
}

void Scanner::number(Json* out) {
  const std::size_t begin = at_;
  take("-");
  if (!is_digit(peek())) {
    at_ = begin;
    fail(at_ == text_.size() ? "a value is missing at its end" : "there is no value");
  }
  const auto digits = [&] {
    if (!is_digit(peek())) fail("a number lacks digits");
    while (is_digit(peek())) ++at_;
  };
  if (!take("0")) digits();
  bool whole = true;
  if (take(".")) {
    whole = false;
    digits();
  }
  if (peek() == 'e' || peek() == 'E') {
    whole = false;
    ++at_;
    if (peek() == '+' || peek() == '-') ++at_;
    digits();
  }
  if (!out) return;
  const char *first = text_.data() + begin, *last = text_.data() + at_;
  std::int64_t integer = 0;
  std::uint64_t natural = 0;
  if (whole && std::from_chars(first, last, integer).ec == std::errc())
    *out = integer;
  else if (whole && *first != '-' && std::from_chars(first, last, natural).ec == std::errc())
    *out = natural;
  else
    *out = std::strtod(std::string(first, last).c_str(), nullptr);  // too large: inf, as in Python
}

void Scanner::string(std::string* out) {
  expect('"');
  std::size_t run = at_;  // plain characters since here
  const auto take_run = [&] {
    if (out) out->append(text_, run, at_ - run);
  };
  for (; at_ < text_.size(); ++at_) {
    const auto c = static_cast<unsigned char>(text_[at_]);
    if (c == '"') {
      take_run();
      ++at_;
      if (out) *out = made_utf8(std::move(*out));
      return;
    }
    if (c < 0x20) fail("a control character stands in a string");
    if (c != '\\') continue;
    take_run();
    ++at_;
    escape(out);
    run = at_ + 1;
  }
  fail("a string is not closed");
}

// The four hex digits behind \u; the place moves to the last of them.
std::uint32_t Scanner::escaped_unit() {
  std::uint32_t unit = 0;
  const char* begin = text_.data() + at_ + 1;
  if (at_ + 4 >= text_.size() || std::from_chars(begin, begin + 4, unit, 16).ptr != begin + 4)
    fail("\\u needs four hex digits");
  at_ += 4;
  return unit;
}

// What stands behind a backslash; the place moves to its last character.
void Scanner::escape(std::string* out) {
  static constexpr std::string_view kNames = "\"\\/bfnrt", kBytes = "\"\\/\b\f\n\r\t";
  const char name = peek();
  if (const std::size_t k = kNames.find(name); name != '\0' && k != std::string_view::npos) {
    if (out) *out += kBytes[k];
    return;
  }
  if (name != 'u') fail("a backslash stands before a character that is no escape");
  std::uint32_t code = escaped_unit();
  const bool leads = code >= 0xD800 && code < 0xDC00;
  if (leads && text_.substr(at_ + 1).starts_with("\\u")) {
    const std::size_t alone = at_;
    at_ += 2;
    const std::uint32_t second = escaped_unit();
    if (second >= 0xDC00 && second < 0xE000)
      code = 0x10000 + ((code - 0xD800) << 10) + (second - 0xDC00);
    else
      at_ = alone;  // read again, as a character of its own
  }
  if (out) append_utf8(*out, code >= 0xD800 && code < 0xE000 ? 0xFFFD : code);
}

}  // namespace

std::size_t skip_json_spaces(std::string_view text, std::size_t at) {
  while (at < text.size() &&
         (text[at] == ' ' || text[at] == '\t' || text[at] == '\n' || text[at] == '\r'))
    ++at;
  return at;
}

JsonItems::JsonItems(std::string_view text, std::size_t& at) {
  Scanner scanner(text, at);
  const auto each = [&](std::string key = "") {
    const std::size_t begin = scanner.at();
    scanner.value(nullptr, 1);
    items_.push_back({std::move(key), text.substr(begin, scanner.at() - begin)});
  };
  if (scanner.peek() == '[')
    scanner.array(0, each);
  else
    scanner.object(0, each);
  at = scanner.at();
}

const JsonItem* JsonItems::find(std::string_view key) const {
  for (auto item = items_.rbegin(); item != items_.rend(); ++item)
    if (item->key == key) return &*item;
  return nullptr;
}

std::string JsonItems::keys() const {
  std::set<std::string> sorted;
  for (const JsonItem& item : items_) sorted.insert(item.key);
  return fmt::format("{}", fmt::join(sorted, ", "));
}

const char* json_type(std::string_view value) {
  switch (value.front()) {
    case '"':
      return "string";
    case '{':
      return "object";
    case '[':
      return "array";
    case 't':
    case 'f':
      return "boolean";
    case 'n':
      return "null";
    default:
      return "number";
  }
}

std::string json_string(std::string_view value) {
  std::string out;
  Scanner(value, 0).string(&out);
  return out;
}

Json json_value(std::string_view value) {
  Json out;
  Scanner(value, 0).value(&out, 0);
  return out;
}

}  // namespace weft

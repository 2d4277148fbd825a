#include "text/jinja/lexer.h"

#include <algorithm>
#include <array>

#include "text/characters/unicode.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

bool is_blank(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool starts_name(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         static_cast<unsigned char>(c) >= 0x80;
}

std::string with_plain_newlines(std::string_view source) {
  std::string out;
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (source[i] != '\r') {
      out += source[i];
    } else {
      out += '\n';
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();  // keep_trailing_newline is false
  return out;
}

// Python's escapes in a literal.
std::string unescaped(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\' || i + 1 == s.size()) {
      out += s[i];
      continue;
    }
    const char c = s[++i];
    static constexpr std::string_view kLetters = "nrtbfav\\'\"", kMeanings = "\n\r\t\b\f\a\v\\'\"";
    const std::size_t digits = c == 'x' ? 2 : c == 'u' ? 4 : c == 'U' ? 8 : 0;
    if (const std::size_t at = kLetters.find(c); at != std::string_view::npos) {
      out += kMeanings[at];
    } else if (c >= '0' && c <= '7') {
      std::uint32_t code = 0;
      std::size_t n = 0;
      for (; n < 3 && i + n < s.size() && s[i + n] >= '0' && s[i + n] <= '7'; ++n)
        code = code * 8 + static_cast<std::uint32_t>(s[i + n] - '0');
      append_utf8(out, code);
      i += n - 1;
    } else if (digits > 0) {
      const auto code =
          i + digits < s.size() ? parse_integer(s.substr(i + 1, digits), 16) : std::nullopt;
      if (!code || *code < 0 || *code > 0x10FFFF || (*code >= 0xD800 && *code < 0xE000))
        fault("the escape '\\{}' is no character", s.substr(i, digits + 1));
      append_utf8(out, static_cast<std::uint32_t>(*code));
      i += digits;
    } else if (c == 'N') {
      fault("the escape '\\N' is not supported");
    } else if (c != '\n') {  // an escaped end of line is nothing
      out += '\\';
      out += c;
    }
  }
  return out;
}

class Lexer {
 public:
  Lexer(std::string_view source, int& line) : source_(with_plain_newlines(source)), line_(line) {}

  std::vector<Token> run() {
    while (at_ < source_.size()) text();
    add(TokenType::end, "");
    return std::move(tokens_);
  }

 private:
  std::string source_;
  int& line_;
  std::size_t at_ = 0;
  bool line_start_ = true;  // nothing stands before at_ on its line
  std::vector<Token> tokens_;
  std::string open_;  // brackets

  void add(TokenType type, std::string text) {
    Token t;
    t.type = type;
    t.line = line_;
    t.text = std::move(text);
    tokens_.push_back(std::move(t));
  }

  bool here(std::string_view s) const {
    return std::string_view(source_).substr(at_).starts_with(s);
  }

  void advance(std::size_t n) {
    line_ +=
        static_cast<int>(std::count(source_.begin() + static_cast<std::ptrdiff_t>(at_),
                                    source_.begin() + static_cast<std::ptrdiff_t>(at_ + n), '\n'));
    at_ += n;
  }

  void skip_blanks() {
    std::size_t n = 0;
    while (at_ + n < source_.size() && is_space_at(at_ + n))
      n += character_at(source_, at_ + n).bytes;
    advance(n);
  }

  bool is_space_at(std::size_t at) const {
    const Character c = character_at(source_, at);
    return class_of(c.code) == CharClass::space || (c.code >= 0x1C && c.code <= 0x1F);
  }

  // Text up to the next tag, then the tag.
  void text() {
    std::size_t tag = at_;
    while ((tag = source_.find('{', tag)) != std::string::npos &&
           (tag + 1 == source_.size() ||
            std::string_view("{%#").find(source_[tag + 1]) == std::string_view::npos))
      ++tag;
    if (tag == std::string::npos) {
      add(TokenType::data, source_.substr(at_));
      return advance(source_.size() - at_);
    }
    const char kind = source_[tag + 1];
    const char sign =
        tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+')
            ? source_[tag + 2]
            : '\0';
    data(std::string_view(source_).substr(at_, tag - at_), sign, kind != '{');
    advance(tag - at_ + 2 + (sign != '\0' ? 1 : 0));
    if (kind == '#') {
      comment();
    } else if (kind == '%' && is_raw()) {
      raw();
    } else {
      add(kind == '{' ? TokenType::print_begin : TokenType::block_begin, "");
      inside(kind == '{');
    }
  }

  // lstrip_blocks: blanks between the start of a line and a tag that prints nothing go.
  void data(std::string_view s, char sign, bool lstrip) {
    std::string kept(s);
    if (sign == '-') {
      kept = stripped(s, {}, false, true);
    } else if (sign != '+' && lstrip) {
      const std::size_t newline = s.rfind('\n'),
                        begin = newline == std::string_view::npos ? 0 : newline + 1;
      if ((begin > 0 || line_start_) && stripped(s.substr(begin), {}, true, false).empty())
        kept.resize(begin);
    }
    if (!kept.empty()) add(TokenType::data, std::move(kept));
  }

  // Behind a tag: -%} takes all blanks after it, trim_blocks the end of the line (not after }}).
  bool tag_end(std::string_view end, bool trim) {
    std::size_t n = end.size();
    bool strip = false, keep = false;
    if (here("-") && std::string_view(source_).substr(at_ + 1).starts_with(end)) {
      strip = true;
      ++n;
    } else if (trim && here("+") && std::string_view(source_).substr(at_ + 1).starts_with(end)) {
      keep = true;
      ++n;
    } else if (!here(end)) {
      return false;
    }
    advance(n);
    const std::size_t before = at_;
    if (strip) skip_blanks();
    if (trim && !strip && !keep && here("\n")) advance(1);
    line_start_ = at_ > before && source_[at_ - 1] == '\n';
    return true;
  }

  void comment() {
    const int begun = line_;
    std::size_t end = source_.find("#}", at_);
    if (end == std::string::npos) {
      line_ = begun;
      fault("a comment is not closed by #}}");
    }
    if (end > at_ && (source_[end - 1] == '-' || source_[end - 1] == '+')) --end;
    advance(end - at_);
    tag_end("#}", true);
  }

  bool is_raw() const { return raw_tag(at_, "raw") != 0; }

  // Where the tag `name` beginning (behind {% and its sign) at `at` is over: at its -%} or %}; 0
  // where it is another.
  std::size_t raw_tag(std::size_t at, std::string_view name) const {
    while (at < source_.size() && is_blank(source_[at])) ++at;
    if (!std::string_view(source_).substr(at).starts_with(name)) return 0;
    at += name.size();
    while (at < source_.size() && is_blank(source_[at])) ++at;
    const std::string_view rest = std::string_view(source_).substr(at);
    return rest.starts_with("%}") || rest.starts_with("-%}") ||
                   (name == "endraw" && rest.starts_with("+%}"))
               ? at
               : 0;
  }

  void raw() {
    const int begun = line_;
    advance(raw_tag(at_, "raw") - at_);
    const bool strip = here("-");
    advance(strip ? 3 : 2);
    if (strip) skip_blanks();
    line_start_ = source_[at_ - 1] == '\n';
    for (std::size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; tag += 2) {
      const char sign =
          tag + 2 < source_.size() && (source_[tag + 2] == '-' || source_[tag + 2] == '+')
              ? source_[tag + 2]
              : '\0';
      const std::size_t end = raw_tag(tag + 2 + (sign != '\0' ? 1 : 0), "endraw");
      if (end == 0) continue;
      data(std::string_view(source_).substr(at_, tag - at_), sign, true);
      advance(end - at_);
      tag_end("%}", true);
      return;
    }
    line_ = begun;
    fault("{{% raw %}} is not closed by {{% endraw %}}");
  }

  void inside(bool print) {
    const int begun = line_;
    open_.clear();
    for (;;) {
      if (open_.empty() && tag_end(print ? "}}" : "%}", !print)) {
        add(print ? TokenType::print_end : TokenType::block_end, "");
        return;
      }
      if (at_ >= source_.size()) {
        line_ = begun;
        fault("a tag is not closed by {}", print ? "}}" : "%}");
      }
      const char c = source_[at_];
      if (is_space_at(at_)) {
        skip_blanks();
      } else if (is_digit(c)) {
        number();
      } else if (starts_name(c)) {
        name();
      } else if (c == '"' || c == '\'') {
        quoted(c);
      } else {
        symbol();
      }
    }
  }

  void name() {
    std::size_t n = 0;
    while (at_ + n < source_.size() &&
           (starts_name(source_[at_ + n]) || is_digit(source_[at_ + n])))
      ++n;
    add(TokenType::name, source_.substr(at_, n));
    advance(n);
  }

  void quoted(char quote) {
    std::size_t end = at_ + 1;
    while (end < source_.size() && source_[end] != quote) end += source_[end] == '\\' ? 2u : 1u;
    if (end >= source_.size()) fault("a string is not closed by {}", quote);
    add(TokenType::string, unescaped(std::string_view(source_).substr(at_ + 1, end - at_ - 1)));
    advance(end - at_ + 1);
  }

  void number() {
    const auto digits = [&](std::size_t at) {
      std::size_t n = 0;
      while (at + n < source_.size() &&
             (is_digit(source_[at + n]) ||
              (source_[at + n] == '_' && n > 0 && at + n + 1 < source_.size() &&
               is_digit(source_[at + n + 1]))))
        ++n;
      return n;
    };
    std::size_t n = digits(at_);
    bool whole = true;
    if (source_[at_] == '0' && n == 1 && at_ + 1 < source_.size() &&
        std::string_view("xXoObB").find(source_[at_ + 1]) != std::string_view::npos) {
      n = 2;
      while (at_ + n < source_.size() &&
             (std::isxdigit(static_cast<unsigned char>(source_[at_ + n])) != 0 ||
              source_[at_ + n] == '_'))
        ++n;
    } else {
      const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';
      if (!after_dot && at_ + n + 1 < source_.size() && source_[at_ + n] == '.' &&
          is_digit(source_[at_ + n + 1])) {
        n += 1 + digits(at_ + n + 1);
        whole = false;
      }
      if (!after_dot && at_ + n < source_.size() &&
          (source_[at_ + n] == 'e' || source_[at_ + n] == 'E')) {
        const std::size_t sign = at_ + n + 1 < source_.size() && (source_[at_ + n + 1] == '-' ||
                                                                  source_[at_ + n + 1] == '+')
                                     ? 1
                                     : 0;
        const std::size_t more = digits(at_ + n + 1 + sign);
        if (more > 0) {
          n += 1 + sign + more;
          whole = false;
        }
      }
    }
    const std::string text = source_.substr(at_, n);
    add(TokenType::number, text);
    if (whole) {
      const auto value = parse_integer(text, 0);
      if (!value) fault("'{}' is no number", text.substr(0, 40));
      tokens_.back().number = integer(*value);
    } else {
      const auto value = parse_real(text);
      if (!value) fault("'{}' is no number", text.substr(0, 40));
      tokens_.back().number = real(*value);
    }
    advance(n);
  }

  void symbol() {
    static constexpr std::array<std::string_view, 27> kSymbols = {
        "//", "**", "==", "!=", ">=", "<=", "+", "-", "*", "/", "%", "~", "[", "]",
        "(",  ")",  "{",  "}",  ">",  "<",  "=", ".", ":", "|", ",", ";", "!"};
    for (const std::string_view s : kSymbols) {
      if (!here(s)) continue;
      const std::size_t opens = std::string_view("([{").find(s),
                        closes = std::string_view(")]}").find(s);
      if (opens != std::string_view::npos) open_ += ")]}"[opens];
      if (closes != std::string_view::npos) {
        if (open_.empty() || open_.back() != s[0]) fault("unexpected '{}'", s);
        open_.pop_back();
      }
      add(TokenType::symbol, std::string(s));
      return advance(s.size());
    }
    fault("unexpected character '{}'", source_.substr(at_, character_at(source_, at_).bytes));
  }
};

}  // namespace

std::vector<Token> tokenize(std::string_view source, int& line) {
  line = 1;
  return Lexer(source, line).run();
}

}  // namespace weft::jinja

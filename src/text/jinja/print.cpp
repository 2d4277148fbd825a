// How values print: Python's str() and repr(), and json.dumps.
#include <utf8proc.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "text/characters/unicode.h"
#include "text/jinja/value.h"

namespace weft::jinja {
namespace {

bool printable(std::int32_t code) {
  if (code < 0) return false;
  if (code < 128) return code >= 32 && code != 127;
  switch (utf8proc_category(code)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

void append_quoted(std::string& out, const std::string& s) {
  const bool has_single = s.find('\'') != std::string::npos,
             has_double = s.find('"') != std::string::npos;
  const char quote = has_single && !has_double ? '"' : '\'';
  out += quote;
  for (std::size_t at = 0; at < s.size();) {
    const Character c = character_at(s, at);
    if (c.code == quote || c.code == '\\') {
      out += '\\';
      out += static_cast<char>(c.code);
    } else if (c.code == '\n' || c.code == '\r' || c.code == '\t') {
      out += c.code == '\n' ? "\\n" : c.code == '\r' ? "\\r" : "\\t";
    } else if (printable(c.code)) {
      out.append(s, at, c.bytes);
    } else {
      const auto code =
          static_cast<std::uint32_t>(c.code < 0 ? static_cast<unsigned char>(s[at]) : c.code);
      out += code < 0x100     ? fmt::format("\\x{:02x}", code)
             : code < 0x10000 ? fmt::format("\\u{:04x}", code)
                              : fmt::format("\\U{:08x}", code);
    }
    at += c.bytes;
  }
  out += quote;
}

class Printer {
 public:
  explicit Printer(Budget& budget) : budget_(budget) {}
  std::string take() {
    budget_.bytes(out_.size());
    return std::move(out_);
  }

  void repr(const Value& v) {
    budget_.steps();
    if (static_cast<std::int64_t>(out_.size()) > budget_.bytes_left()) budget_.bytes(out_.size());
    switch (v.kind) {
      case Kind::undefined:
        out_ += "Undefined";
        return;
      case Kind::none:
        out_ += "None";
        return;
      case Kind::boolean:
        out_ += v.integer != 0 ? "True" : "False";
        return;
      case Kind::integer:
        out_ += std::to_string(v.integer);
        return;
      case Kind::real:
        out_ += float_repr(v.real);
        return;
      case Kind::string:
        append_quoted(out_, v.text());
        return;
      case Kind::list:
        return items(v, "[", "]");
      case Kind::tuple:
        return items(v, "(", v.items().size() == 1 ? ",)" : ")");
      case Kind::range:
        out_ += v.text();
        return;
      case Kind::view:
        out_ += v.text();
        return items(v, "([", "])");
      case Kind::dict:
        return pairs(v);
      default:
        fault("a {} cannot be printed", type_name(v));
    }
  }

 private:
  Budget& budget_;
  std::string out_;

  void items(const Value& v, const char* open, const char* close) {
    out_ += open;
    const char* separator = "";
    for (const Value& item : v.items()) {
      out_ += separator;
      repr(item);
      separator = ", ";
    }
    out_ += close;
  }

  void pairs(const Value& v) {
    out_ += '{';
    const char* separator = "";
    for (const auto& [key, value] : v.pairs()) {
      out_ += separator;
      repr(key);
      out_ += ": ";
      repr(value);
      separator = ", ";
    }
    out_ += '}';
  }
};

class JsonWriter {
 public:
  JsonWriter(const JsonStyle& style, Budget& budget) : style_(style), budget_(budget) {}
  std::string take() {
    budget_.bytes(out_.size());
    return std::move(out_);
  }

  void write(const Value& v, int level) {
    budget_.steps();
    if (static_cast<std::int64_t>(out_.size()) > budget_.bytes_left()) budget_.bytes(out_.size());
    switch (v.kind) {
      case Kind::none:
        out_ += "null";
        return;
      case Kind::boolean:
        out_ += v.integer != 0 ? "true" : "false";
        return;
      case Kind::integer:
        out_ += std::to_string(v.integer);
        return;
      case Kind::real:
        out_ += number(v.real);
        return;
      case Kind::string:
        return quoted(v.text());
      case Kind::list:
      case Kind::tuple:
        return array(v, level);
      case Kind::dict:
        return object(v, level);
      default:
        fault("Object of type {} is not JSON serializable", type_name(v));
    }
  }

 private:
  const JsonStyle& style_;
  Budget& budget_;
  std::string out_;

  static std::string number(double d) {
    return std::isnan(d)   ? "NaN"
           : std::isinf(d) ? (d < 0 ? "-Infinity" : "Infinity")
                           : float_repr(d);
  }

  void line(int level) {
    if (!style_.indented) return;
    out_ += '\n';
    for (int i = 0; i < level; ++i) out_ += style_.indent;
  }

  void escape(std::uint32_t code) {
    const auto at =
        std::string_view("\"\\\n\r\t\b\f").find(static_cast<char>(code < 128 ? code : 0));
    if (code != 0 && at != std::string_view::npos) {
      out_ += '\\';
      out_ += "\"\\nrtbf"[at];
    } else if (code < 0x10000) {
      out_ += fmt::format("\\u{:04x}", code);
    } else {
      out_ += fmt::format("\\u{:04x}\\u{:04x}", 0xD800 + ((code - 0x10000) >> 10),
                          0xDC00 + ((code - 0x10000) & 0x3FF));
    }
  }

  void quoted(const std::string& s) {
    out_ += '"';
    for (std::size_t at = 0; at < s.size();) {
      const Character c = character_at(s, at);
      if (c.code >= 0 && (c.code < 32 || c.code == '"' || c.code == '\\' ||
                          (style_.ensure_ascii && c.code > 126))) {
        escape(static_cast<std::uint32_t>(c.code));
      } else {
        out_.append(s, at, c.bytes);
      }
      at += c.bytes;
    }
    out_ += '"';
  }

  void array(const Value& v, int level) {
    out_ += '[';
    bool first = true;
    for (const Value& item : v.items()) {
      if (!first) out_ += style_.item_separator;
      first = false;
      line(level + 1);
      write(item, level + 1);
    }
    if (!first) line(level);
    out_ += ']';
  }

  void key(const Value& v) {
    switch (v.kind) {
      case Kind::string:
        return quoted(v.text());
      case Kind::none:
        return quoted("null");
      case Kind::boolean:
        return quoted(v.integer != 0 ? "true" : "false");
      case Kind::integer:
        return quoted(std::to_string(v.integer));
      case Kind::real:
        return quoted(number(v.real));
      default:
        fault("keys must be str, int, float, bool or None, not {}", type_name(v));
    }
  }

  void object(const Value& v, int level) {
    Pairs sorted;
    if (style_.sort_keys) {
      sorted = v.pairs();
      std::stable_sort(sorted.begin(), sorted.end(), [&](const auto& a, const auto& b) {
        return less(a.first, b.first, budget_);
      });
    }
    out_ += '{';
    bool first = true;
    for (const auto& [k, value] : style_.sort_keys ? sorted : v.pairs()) {
      if (!first) out_ += style_.item_separator;
      first = false;
      line(level + 1);
      key(k);
      out_ += style_.key_separator;
      write(value, level + 1);
    }
    if (!first) line(level);
    out_ += '}';
  }
};

}  // namespace

std::string float_repr(double d) {
  if (std::isnan(d)) return "nan";
  if (std::isinf(d)) return d < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof buffer, d, std::chars_format::scientific).ptr;
  const std::string shortest(buffer, end);  // d.ddde±xx
  const std::size_t e = shortest.find('e');
  const int exponent = std::stoi(shortest.substr(e + 1));
  const bool negative = shortest[0] == '-';
  std::string digits;
  for (const char c : shortest.substr(0, e)) {
    if (c >= '0' && c <= '9') digits += c;
  }
  std::string out = negative ? "-" : "";
  const int n = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out += digits[0];
    if (n > 1) out.append(".").append(digits, 1);
    out += fmt::format("e{}{:02d}", exponent < 0 ? '-' : '+', std::abs(exponent));
  } else if (exponent < 0) {
    out.append("0.").append(static_cast<std::size_t>(-exponent - 1), '0').append(digits);
  } else if (n <= exponent + 1) {
    out.append(digits).append(static_cast<std::size_t>(exponent + 1 - n), '0').append(".0");
  } else {
    const auto whole = static_cast<std::size_t>(exponent) + 1;
    out.append(digits, 0, whole).append(".").append(digits, whole);
  }
  return out;
}

std::string repr(const Value& v, Budget& budget) {
  Printer printer(budget);
  printer.repr(v);
  return printer.take();
}

std::string str(const Value& v, Budget& budget) {
  if (v.is_undefined()) return "";
  if (!v.is_string()) return repr(v, budget);
  budget.bytes(v.text().size());
  return v.text();
}

std::string to_json(const Value& v, const JsonStyle& style, Budget& budget) {
  JsonWriter writer(style, budget);
  writer.write(v, 0);
  return writer.take();
}

}  // namespace weft::jinja

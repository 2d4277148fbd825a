// Python's two ways of filling in a text: "%s of %d" % (a, b) and "{} of {}".format(a, b).
#include <cmath>
#include <cstdio>

#include "text/characters/unicode.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

constexpr int kMaxWidth = 1000;

struct Specification {
  std::string flags;
  int width = 0, precision = -1;
  char type = 's';
};

// snprintf with the C form of the specification: flags, width and precision mean the same there.
template <class T>
std::string printed(const Specification& s, const char* length, T value) {
  char buffer[2 * kMaxWidth + 400];
  const std::string form =
      s.precision < 0
          ? fmt::format("%{}{}{}{}", s.flags, s.width > 0 ? std::to_string(s.width) : "", length,
                        s.type)
          : fmt::format("%{}{}.{}{}{}", s.flags, s.width > 0 ? std::to_string(s.width) : "",
                        s.precision, length, s.type);
  const int n = std::snprintf(buffer, sizeof buffer, form.c_str(), value);
  return std::string(buffer, static_cast<std::size_t>(std::min<int>(
                                 std::max(n, 0), static_cast<int>(sizeof buffer) - 1)));
}

std::string filled(const Specification& s, const Value& v, Budget& budget) {
  if (s.type == 's' || s.type == 'r') {
    std::string text = s.type == 's' ? str(v, budget) : repr(v, budget);
    if (s.precision >= 0) text = sliced(text, none(), integer(s.precision), none(), budget);
    const std::size_t n = characters(text), width = static_cast<std::size_t>(s.width);
    const std::string padding(width > n ? width - n : 0, ' ');
    return s.flags.find('-') != std::string::npos ? text + padding : padding + text;
  }
  if (!v.is_number()) fault("%{} format: a real number is required, not {}", s.type, type_name(v));
  if (s.type == 'd' || s.type == 'i' || s.type == 'u') {
    if (v.kind == Kind::real && !(std::abs(v.real) < 9e18))
      fault("the number {} is too large", float_repr(v.real));
    Specification whole = s;
    whole.type = 'd';
    return printed(whole, "ll",
                   static_cast<long long>(v.kind == Kind::real ? static_cast<std::int64_t>(v.real)
                                                               : v.integer));
  }
  return printed(s, "", v.number());
}

// The number at `at`, which moves behind it; `otherwise` where there is none.
int width_at(const std::string& format, std::size_t& at, int otherwise) {
  int width = otherwise;
  for (; at < format.size() && format[at] >= '0' && format[at] <= '9'; ++at) {
    width = std::max(width, 0) * 10 + (format[at] - '0');
    if (width > kMaxWidth) fault("'%' formats with a width above {} are not supported", kMaxWidth);
  }
  return width;
}

}  // namespace

std::string percent_format(const std::string& format, const Value& arguments, Budget& budget) {
  const bool many = arguments.kind == Kind::tuple;
  std::size_t used = 0;
  const auto next = [&]() -> const Value& {
    if (many ? used >= arguments.items().size() : used > 0)
      fault("not enough arguments for format string");
    ++used;
    return many ? arguments.items()[used - 1] : arguments;
  };
  std::string out;
  for (std::size_t at = 0; at < format.size(); ++at) {
    if (format[at] != '%') {
      out += format[at];
      continue;
    }
    ++at;
    const Value* named = nullptr;
    if (at < format.size() && format[at] == '(') {
      const std::size_t end = format.find(')', at);
      if (end == std::string::npos) fault("incomplete format key");
      if (!arguments.is_dict()) fault("format requires a mapping");
      const std::string key = format.substr(at + 1, end - at - 1);
      named = find(arguments.pairs(), key);
      if (named == nullptr)
        fault("the format '{}' names '{}', which is not given", format.substr(0, 60),
              key.substr(0, 60));
      at = end + 1;
    }
    Specification s;
    for (;
         at < format.size() && std::string_view("-+ #0").find(format[at]) != std::string_view::npos;
         ++at) {
      if (s.flags.find(format[at]) == std::string::npos) s.flags += format[at];
    }
    s.width = width_at(format, at, 0);
    if (at < format.size() && format[at] == '.') s.precision = width_at(format, ++at, 0);
    if (at >= format.size()) fault("incomplete format");
    s.type = format[at];
    if (s.type == '%') {
      out += '%';
      continue;
    }
    if (std::string_view("srdiufFeEgG").find(s.type) == std::string_view::npos)
      fault("format '%{}' is not supported; allowed: s r d i u f F e E g G", s.type);
    out += filled(s, named != nullptr ? *named : next(), budget);
    budget.steps();
  }
  const bool may_be_unused = arguments.is_dict() || arguments.kind == Kind::list ||
                             arguments.kind == Kind::range || arguments.is_undefined();
  if (!may_be_unused && (many ? used < arguments.items().size() : used == 0))
    fault("not all arguments converted during string formatting");
  budget.bytes(out.size());
  return out;
}

std::string brace_format(const std::string& format, const std::vector<Value>& positional,
                         const Pairs& named, Budget& budget) {
  std::string out;
  std::size_t next = 0;
  for (std::size_t at = 0; at < format.size(); ++at) {
    const char c = format[at];
    if ((c == '{' || c == '}') && at + 1 < format.size() && format[at + 1] == c) {
      out += c;
      ++at;
      continue;
    }
    if (c == '}') fault("Single '}}' encountered in format string");
    if (c != '{') {
      out += c;
      continue;
    }
    const std::size_t end = format.find('}', at);
    if (end == std::string::npos) fault("Single '{{' encountered in format string");
    std::string field = format.substr(at + 1, end - at - 1);
    bool quoted = false;
    if (field.ends_with("!r") || field.ends_with("!s")) {
      quoted = field.back() == 'r';
      field.resize(field.size() - 2);
    }
    if (field.find_first_of(".[:!{") != std::string::npos)
      fault("the format field '{}' is not supported; allowed: a name or a number",
            field.substr(0, 60));
    const Value* value = nullptr;
    if (field.empty() || field.find_first_not_of("0123456789") == std::string::npos) {
      const std::size_t i = field.empty()      ? next++
                            : field.size() > 6 ? positional.size()
                                               : static_cast<std::size_t>(std::stoi(field));
      if (i < positional.size()) value = &positional[i];
    } else {
      value = find(named, field);
    }
    if (value == nullptr)
      fault("the format '{}' names '{}', which is not given", format.substr(0, 60),
            field.substr(0, 60));
    out += quoted ? repr(*value, budget) : str(*value, budget);
    at = end;
  }
  budget.bytes(out.size());
  return out;
}

}  // namespace weft::jinja

// Filters of one value, and the tests behind `is`. Filters of lists are in jinja_list_filters.cpp.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "text/jinja/builtins.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

Value length_of(const Value& v) {
  if (v.is_undefined()) return integer(0);
  if (v.is_string()) return integer(static_cast<std::int64_t>(characters(v.text())));
  if (v.is_sized()) return integer(static_cast<std::int64_t>(v.items().size()));
  if (v.is_dict()) return integer(static_cast<std::int64_t>(v.pairs().size()));
  if (v.kind == Kind::loop)
    return integer(static_cast<std::int64_t>(static_cast<const Loop&>(*v.object).items.size()));
  fault("object of type '{}' has no len()", type_name(v));
}

Value truncated(double d) {
  if (std::isnan(d)) fault("cannot convert float NaN to integer");
  if (!(std::abs(d) < 9.2e18)) fault("the number {} is too large", float_repr(d));
  return integer(static_cast<std::int64_t>(d));
}

Value to_int(const Value& v, const Parameters& p) {
  if (v.is_undefined()) fault("{}", v.text());
  const Value otherwise = p[0] != nullptr ? *p[0] : integer(0);
  if (v.is_integral()) return integer(v.integer);
  if (v.kind == Kind::real) return std::isnan(v.real) ? otherwise : truncated(v.real);
  if (!v.is_string()) return otherwise;
  const std::int64_t base = p.integer(1, 10);
  if (base < 0 || base > 36) return otherwise;
  if (const auto whole = parse_integer(v.text(), static_cast<int>(base))) return integer(*whole);
  const auto number = parse_real(v.text());
  return number && std::isfinite(*number) ? truncated(*number) : otherwise;
}

Value to_float(const Value& v, const Parameters& p) {
  if (v.is_undefined()) fault("{}", v.text());
  if (v.is_number()) return real(v.number());
  const auto number = v.is_string() ? parse_real(v.text()) : std::nullopt;
  return number ? real(*number) : p[0] != nullptr ? *p[0] : real(0);
}

double rounded(double d, std::int64_t precision) {
  if (!std::isfinite(d) || precision > 22) return d;
  if (precision < -308) return std::copysign(0.0, d);
  if (precision >= 0) {
    char buffer[400];
    std::snprintf(buffer, sizeof buffer, "%.*f", static_cast<int>(precision), d);
    return std::strtod(buffer, nullptr);
  }
  const double unit = std::pow(10.0, static_cast<double>(-precision));
  return std::nearbyint(d / unit) * unit;
}

Value round_filter(const Value& v, const Parameters& p) {
  const std::int64_t precision = p.integer(0, 0);
  const std::string method = p.text(1).value_or("common");
  if (method != "common" && method != "ceil" && method != "floor")
    fault("round: method must be common, ceil or floor");
  if (!v.is_number())
    fault("{}", v.is_undefined()
                    ? v.text()
                    : fmt::format("type {} doesn't define __round__ method", type_name(v)));
  if (method == "common") {
    if (v.kind == Kind::real) return real(rounded(v.real, precision));
    return precision >= 0 ? integer(v.integer)
                          : integer(static_cast<std::int64_t>(
                                rounded(static_cast<double>(v.integer), precision)));
  }
  if (precision < -300 || precision > 300)
    fault("round: a precision of {} is out of range", precision);
  const double unit = std::pow(10.0, static_cast<double>(precision)), scaled = v.number() * unit;
  return real((method == "ceil" ? std::ceil(scaled) : std::floor(scaled)) / unit);
}

Value indented(const std::string& s, const Parameters& p, Budget& budget) {
  std::string indent = p[0] != nullptr && p[0]->is_string() ? p[0]->text() : "";
  if (p[0] == nullptr || !p[0]->is_string()) {
    const std::int64_t width = p.integer(0, 4);
    if (width > 10'000) fault("indent: a width of {} is too large", width);
    indent.assign(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
  }
  const bool first = p.flag(1), blank = p.flag(2);
  std::string out = first ? indent : "";
  bool begun = false;
  for (const std::string& line : lines_of(s + "\n", false)) {
    if (begun) {
      out += '\n';
      if (blank || !line.empty()) out += indent;
      budget.bytes(indent.size());
    }
    begun = true;
    out += line;
  }
  return string(std::move(out));
}

Value tojson(const Value& v, const Parameters& p, Budget& budget) {
  JsonStyle style;
  style.ensure_ascii = p.flag(0);
  style.sort_keys = p.flag(3);
  if (p[1] != nullptr && !p[1]->is_none()) {
    style.indented = true;
    style.item_separator.resize(1);
    const std::int64_t width = p[1]->is_string() ? 0 : p.integer(1, 0);
    if (width > 1000) fault("tojson: an indent of {} is too large", width);
    style.indent =
        p[1]->is_string()
            ? p[1]->text()
            : std::string(static_cast<std::size_t>(std::max<std::int64_t>(width, 0)), ' ');
  }
  if (p[2] != nullptr && !p[2]->is_none()) {
    const std::vector<Value> both = iterate(*p[2], budget);
    if (both.size() != 2 || !both[0].is_string() || !both[1].is_string())
      fault("tojson: separators are to be two strings");
    style.item_separator = both[0].text();
    style.key_separator = both[1].text();
  }
  return string(to_json(v, style, budget));
}

bool is_case(const Value& v, bool is_upper, Budget& budget) {
  const std::string s = str(v, budget);
  return is_upper ? upper(s) == s && lower(s) != s : lower(s) == s && upper(s) != s;
}

bool same(const Value& a, const Value& b, Budget& budget) {
  if (a.kind != b.kind) return false;
  return a.object == nullptr || a.is_string() || a.is_undefined() ? equal(a, b, budget)
                                                                  : a.object == b.object;
}

bool is_iterable(const Value& v) {
  return v.is_undefined() || v.is_string() || v.is_sized() || v.is_dict() ||
         v.kind == Kind::iterator || v.kind == Kind::loop;
}

// Tests of a value alone.
std::optional<bool> test_alone(const std::string& name, const Value& v) {
  if (name == "defined") return !v.is_undefined();
  if (name == "undefined") return v.is_undefined();
  if (name == "none") return v.is_none();
  if (name == "boolean") return v.kind == Kind::boolean;
  if (name == "true" || name == "false")
    return v.kind == Kind::boolean && (v.integer != 0) == (name == "true");
  if (name == "integer") return v.kind == Kind::integer;
  if (name == "float") return v.kind == Kind::real;
  if (name == "number") return v.is_number();
  if (name == "string") return v.is_string();
  if (name == "mapping") return v.is_dict();
  if (name == "sequence") return v.is_undefined() || v.is_string() || v.is_indexed() || v.is_dict();
  if (name == "iterable") return is_iterable(v);
  if (name == "callable")
    return v.is_undefined() || v.kind == Kind::function || v.kind == Kind::macro ||
           v.kind == Kind::method;
  return std::nullopt;
}

// The operator that a test of two values is another name for.
std::string operator_of(const std::string& test) {
  static const std::vector<std::pair<std::string, std::string>> kNames = {
      {"eq", "=="}, {"equalto", "=="}, {"ne", "!="},         {"lt", "<"},  {"lessthan", "<"},
      {"le", "<="}, {"gt", ">"},       {"greaterthan", ">"}, {"ge", ">="}, {"in", "in"}};
  for (const auto& [name, op] : kNames) {
    if (name == test || op == test) return op;
  }
  return "";
}

}  // namespace

Value apply_filter(const std::string& name, const Value& to, const Arguments& arguments,
                   Budget& budget) {
  budget.steps();
  if (auto value = apply_list_filter(name, to, arguments, budget)) return *value;
  const auto parameters = [&](std::vector<const char*> names) {
    return Parameters(name, arguments, std::move(names));
  };
  if (name == "default" || name == "d") {
    const Parameters p = parameters({"default_value", "boolean"});
    if (!to.is_undefined() && !(p.flag(1) && !truth(to))) return to;
    return p[0] != nullptr ? *p[0] : string("");
  }
  if (name == "length" || name == "count") return parameters({}), length_of(to);
  if (name == "tojson")
    return tojson(to, parameters({"ensure_ascii", "indent", "separators", "sort_keys"}), budget);
  if (name == "int") return to_int(to, parameters({"default", "base"}));
  if (name == "float") return to_float(to, parameters({"default"}));
  if (name == "round") return round_filter(to, parameters({"precision", "method"}));
  if (name == "abs") {
    parameters({});
    if (!to.is_number())
      fault("{}", to.is_undefined()
                      ? to.text()
                      : fmt::format("bad operand type for abs(): '{}'", type_name(to)));
    return to.number() < 0 || (to.kind == Kind::real && std::signbit(to.real)) ? negated(to)
           : to.kind == Kind::real                                             ? to
                                   : integer(to.integer);
  }
  if (name == "replace") {
    const Parameters p = parameters({"old", "new", "count"});
    const std::int64_t count = p[2] == nullptr || p[2]->is_none() ? -1 : p.integer(2, -1);
    return string(replaced(str(to, budget), str(p.required(0), budget), str(p.required(1), budget),
                           count, budget));
  }
  if (name == "indent") {
    if (!to.is_string())
      fault("indent takes a string, not {}", to.is_undefined() ? to.text() : type_name(to));
    return indented(to.text(), parameters({"width", "first", "blank"}), budget);
  }
  if (name == "format") {
    Pairs named;
    for (const auto& [key, value] : arguments.named) named.emplace_back(string(key), value);
    if (!named.empty() && !arguments.positional.empty())
      fault("format takes positional or named arguments, not both");
    return string(percent_format(
        str(to, budget),
        named.empty() ? sequence(Kind::tuple, arguments.positional) : dict(std::move(named)),
        budget));
  }
  if (name == "trim") {
    const Parameters p = parameters({"chars"});
    return string(stripped(str(to, budget), p.text(0), true, true));
  }
  if (name == "attr") {
    const Parameters p = parameters({"name"});
    const Value found = attribute(to, p.text(0).value_or(""), budget);
    return to.is_dict() && found.kind != Kind::method ? undefined("the dict has no such attribute")
                                                      : found;
  }
  const bool alone = name == "upper" || name == "lower" || name == "title" ||
                     name == "capitalize" || name == "string" || name == "safe";
  if (!alone) fault("the filter '{}' is unknown or not supported", name);
  parameters({});
  std::string s = str(to, budget);
  return string(name == "upper"        ? upper(s)
                : name == "lower"      ? lower(s)
                : name == "title"      ? titled_words(s)
                : name == "capitalize" ? capitalized(s)
                                       : std::move(s));
}

bool apply_test(const std::string& name, const Value& of, const Arguments& arguments,
                Budget& budget) {
  budget.steps();
  if (const auto answer = test_alone(name, of)) {
    const Parameters none_taken(name, arguments, {});
    return *answer;
  }
  if (name == "upper" || name == "lower") {
    const Parameters none_taken(name, arguments, {});
    return is_case(of, name == "upper", budget);
  }
  if (name == "even" || name == "odd" || name == "divisibleby") {
    const Parameters p(
        name, arguments,
        name == "divisibleby" ? std::vector<const char*>{"num"} : std::vector<const char*>{});
    const Value by = name == "divisibleby" ? p.required(0) : integer(2);
    return equal(arithmetic("%", of, by, budget), integer(name == "odd" ? 1 : 0), budget);
  }
  const std::string op = operator_of(name);
  if (op.empty() && name != "sameas") fault("the test '{}' is unknown or not supported", name);
  const Parameters p(name, arguments, {"other"});
  return name == "sameas" ? same(of, p.required(0), budget)
                          : compared(op, of, p.required(0), budget);
}

}  // namespace weft::jinja

// Methods of strings, lists, dicts and loops, and the functions that every template has.
#include <algorithm>
#include <ctime>
#include <set>

#include "text/characters/unicode.h"
#include "text/jinja/builtins.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

const std::set<std::string> kStringMethods = {
    "strip",    "lstrip",  "rstrip",  "split",     "rsplit",       "splitlines",   "startswith",
    "endswith", "upper",   "lower",   "title",     "capitalize",   "replace",      "find",
    "rfind",    "index",   "count",   "join",      "removeprefix", "removesuffix", "format",
    "isdigit",  "isalpha", "isalnum", "isspace",   "isupper",      "islower",      "zfill",
    "ljust",    "rjust",   "center",  "partition", "rpartition"};

Value strings(Kind kind, const std::vector<std::string>& parts, Budget& budget) {
  std::vector<Value> items;
  for (const std::string& part : parts) items.push_back(string(part));
  budget.bytes(parts.size() * 2 * sizeof(Value));
  budget.steps(parts.size());
  return sequence(kind, std::move(items));
}

template <class Predicate>
bool every_character(const std::string& s, Predicate&& holds) {
  for (std::size_t at = 0; at < s.size();) {
    const Character c = character_at(s, at);
    if (!holds(c)) return false;
    at += c.bytes;
  }
  return !s.empty();
}

bool begins_or_ends(const std::string& self, const Value& with, bool begins) {
  if (with.kind == Kind::tuple) {
    return std::any_of(with.items().begin(), with.items().end(),
                       [&](const Value& one) { return begins_or_ends(self, one, begins); });
  }
  if (!with.is_string())
    fault("startswith and endswith take a string or a tuple of strings, not {}", type_name(with));
  return begins ? self.starts_with(with.text()) : self.ends_with(with.text());
}

// A part of `self` as find, rfind, index and count see it: where it is, in characters; -1 where it
// is not.
std::int64_t place(const std::string& self, const std::string& part, bool last) {
  const std::size_t at = last ? self.rfind(part) : find_text(self, part, 0);
  return at == std::string::npos
             ? -1
             : static_cast<std::int64_t>(characters(std::string_view(self).substr(0, at)));
}

std::string padded(const std::string& self, const std::string& name, const Parameters& p,
                   Budget& budget) {
  const std::int64_t width = p.integer(0, 0), n = static_cast<std::int64_t>(characters(self));
  p.required(0);
  const std::string fill = p.text(1).value_or(name == "zfill" ? "0" : " ");
  if (characters(fill) != 1) fault("the fill character is to be one character long");
  if (width <= n) return self;
  const std::int64_t missing = width - n;
  if (missing > (1 << 20)) fault("a width of {} is too large", width);
  std::int64_t left = name == "ljust" ? 0 : missing;
  if (name == "center") left = missing / 2 + (missing & width & 1);  // as CPython rounds it
  std::string out;
  for (std::int64_t i = 0; i < left; ++i) out += fill;
  const bool sign = name == "zfill" && !self.empty() && (self[0] == '-' || self[0] == '+');
  out = sign ? self[0] + out + self.substr(1) : out + self;
  for (std::int64_t i = left; i < missing; ++i) out += fill;
  budget.bytes(out.size());
  return out;
}

Value parted(const std::string& self, const Parameters& p, bool last, Budget& budget) {
  const std::string separator = p.text(0).value_or("");
  if (separator.empty()) fault("empty separator");
  const std::size_t at = last ? self.rfind(separator) : find_text(self, separator, 0);
  if (at == std::string::npos)
    return strings(
        Kind::tuple,
        last ? std::vector<std::string>{"", "", self} : std::vector<std::string>{self, "", ""},
        budget);
  return strings(Kind::tuple, {self.substr(0, at), separator, self.substr(at + separator.size())},
                 budget);
}

Value joined(const std::string& separator, const Value& with, Budget& budget) {
  std::string out;
  bool first = true;
  for (const Value& one : iterate(with, budget)) {
    if (!one.is_string()) fault("join: expected str, {} found", type_name(one));
    budget.bytes(separator.size() + one.text().size());
    if (!first) out += separator;
    first = false;
    out += one.text();
  }
  return string(std::move(out));
}

std::optional<Value> asks(const std::string& self, const std::string& name) {
  const auto of_class = [](const Character& c, CharClass wanted) {
    return class_of(c.code) == wanted;
  };
  if (name == "isdigit")
    return boolean(every_character(self, [&](const Character& c) {
      return c.code < 128 ? c.code >= '0' && c.code <= '9' : of_class(c, CharClass::number);
    }));
  if (name == "isalpha")
    return boolean(
        every_character(self, [&](const Character& c) { return of_class(c, CharClass::letter); }));
  if (name == "isalnum")
    return boolean(every_character(self, [&](const Character& c) {
      return of_class(c, CharClass::letter) || of_class(c, CharClass::number);
    }));
  if (name == "isspace") return boolean(!self.empty() && stripped(self, {}, true, false).empty());
  if (name == "isupper") return boolean(upper(self) == self && lower(self) != self);
  if (name == "islower") return boolean(lower(self) == self && upper(self) != self);
  return std::nullopt;
}

Value call_dict_method(const Value& self, const std::string& name, const Arguments& arguments,
                       Budget& budget) {
  if (name == "get") {
    const Parameters p("get", arguments, {"key", "default"});
    const Value* found = find(self.pairs(), p.required(0), budget);
    return found != nullptr ? *found : p[1] != nullptr ? *p[1] : none();
  }
  const Parameters none_taken(name, arguments, {});
  if (name == "copy") return self;
  std::vector<Value> items;
  for (const auto& [key, value] : self.pairs())
    items.push_back(name == "keys"     ? key
                    : name == "values" ? value
                                       : sequence(Kind::tuple, {key, value}));
  budget.steps(items.size());
  budget.bytes(items.size() * sizeof(Value));
  return sequence(Kind::view, std::move(items), "dict_" + name);
}

Value call_list_method(const Value& self, const std::string& name, const Arguments& arguments,
                       Budget& budget) {
  if (name == "copy") return self;
  const Parameters p(name, arguments, {"value"});
  std::int64_t n = 0;
  for (std::size_t i = 0; i < self.items().size(); ++i) {
    if (!equal(self.items()[i], p.required(0), budget)) continue;
    if (name == "index") return integer(static_cast<std::int64_t>(i));
    ++n;
  }
  if (name == "index") fault("the list has no such item");
  return integer(n);
}

Value call_loop_method(Loop& loop, const std::string& name, const Arguments& arguments,
                       Budget& budget) {
  if (name == "cycle") {
    if (arguments.positional.empty()) fault("no items for cycling given");
    return arguments.positional[loop.index % arguments.positional.size()];
  }
  bool same = loop.seen && loop.seen->size() == arguments.positional.size();
  for (std::size_t i = 0; same && i < loop.seen->size(); ++i)
    same = equal((*loop.seen)[i], arguments.positional[i], budget);
  loop.seen = arguments.positional;
  return boolean(!same);
}

Value make_dict(const Arguments& arguments, Budget& budget) {
  if (arguments.positional.size() > 1)
    fault("dict takes at most 1 positional argument, not {}", arguments.positional.size());
  Pairs pairs;
  if (!arguments.positional.empty()) {
    const Value& from = arguments.positional[0];
    if (from.is_undefined()) fault("{}", from.text());
    if (from.is_dict()) pairs = from.pairs();
    for (const Value& pair : from.is_dict() ? std::vector<Value>() : iterate(from, budget)) {
      const std::vector<Value> both = iterate(pair, budget);
      if (both.size() != 2) fault("dict takes pairs, not a sequence of {}", both.size());
      put(pairs, both[0], both[1], budget);
    }
  }
  for (const auto& [name, value] : arguments.named) put(pairs, string(name), value, budget);
  return dict(std::move(pairs));
}

Value make_space(const Arguments& arguments, Budget& budget) {
  const Value made = make_dict(arguments, budget);
  auto space = std::make_shared<Dict>();
  space->pairs = made.pairs();
  for (const auto& pair : space->pairs) {
    if (pair.first.is_string() && pair.first.text().starts_with('_'))
      fault("the attribute '{}' of a namespace begins with an underscore", pair.first.text());
  }
  Value v;
  v.kind = Kind::space;
  v.object = std::move(space);
  return v;
}

Value make_range(const Arguments& arguments, Budget& budget) {
  constexpr std::int64_t kMaxRange = 100'000;  // as Jinja's sandbox
  if (!arguments.named.empty() || arguments.positional.empty() || arguments.positional.size() > 3)
    fault("range takes 1 to 3 integers");
  std::int64_t bounds[3] = {0, 0, 1};
  const std::size_t n = arguments.positional.size();
  for (std::size_t i = 0; i < n; ++i) {
    if (!arguments.positional[i].is_integral())
      fault("range takes integers, not {}", type_name(arguments.positional[i]));
    bounds[n == 1 ? 1 : i] = arguments.positional[i].integer;
  }
  const auto [start, stop, step] = bounds;
  if (step == 0) fault("the step of a range cannot be 0");
  std::vector<Value> items;
  for (std::int64_t i = start; step > 0 ? i < stop : i > stop;) {
    if (static_cast<std::int64_t>(items.size()) >= kMaxRange)
      fault("a range has more than {} items", kMaxRange);
    items.push_back(integer(i));
    if (__builtin_add_overflow(i, step, &i)) break;
  }
  budget.steps(items.size());
  budget.bytes(items.size() * sizeof(Value));
  return sequence(Kind::range, std::move(items),
                  step == 1 ? fmt::format("range({}, {})", start, stop)
                            : fmt::format("range({}, {}, {})", start, stop, step));
}

Value time_now(const std::string& format) {
  const std::time_t now = std::time(nullptr);
  std::tm local{};
  localtime_r(&now, &local);
  std::string out(format.size() * 8 + 256, '\0');
  out.resize(std::strftime(out.data(), out.size(), format.c_str(), &local));
  return string(std::move(out));
}

}  // namespace

bool is_string_method(const std::string& name) { return kStringMethods.contains(name); }

Value call_string_method(const std::string& self, const std::string& name,
                         const Arguments& arguments, Budget& budget) {
  budget.steps(1 + self.size() / 64);
  budget.bytes(self.size());
  if (name.starts_with('r') &&
      !arguments.positional
           .empty()) {  // a search from the right takes the product of both sizes at worst
    budget.steps(self.size() / 1000 * arguments.positional[0].text().size());
  }
  if (name == "format") {
    Pairs named;
    for (const auto& [key, value] : arguments.named) named.emplace_back(string(key), value);
    return string(brace_format(self, arguments.positional, named, budget));
  }
  if (name == "split" || name == "rsplit") {
    const Parameters p(name, arguments, {"sep", "maxsplit"});
    return strings(Kind::list, split(self, p.text(0), p.integer(1, -1), name == "rsplit"), budget);
  }
  if (name == "splitlines")
    return strings(Kind::list, lines_of(self, Parameters(name, arguments, {"keepends"}).flag(0)),
                   budget);
  if (name == "replace") {
    const Parameters p(name, arguments, {"old", "new", "count"});
    p.required(1);
    if (p[0]->is_none() || p[1]->is_none()) fault("replace takes strings, not NoneType");
    return string(replaced(self, *p.text(0), *p.text(1), p.integer(2, -1), budget));
  }
  if (name == "ljust" || name == "rjust" || name == "center")
    return string(padded(self, name, Parameters(name, arguments, {"width", "fillchar"}), budget));
  if (name == "zfill") {
    Arguments with_fill = arguments;
    with_fill.named.emplace_back("fillchar", string("0"));
    return string(padded(self, name, Parameters(name, with_fill, {"width", "fillchar"}), budget));
  }
  const bool alone = std::set<std::string>{"upper",   "lower",   "title",   "capitalize", "isdigit",
                                           "isalpha", "isalnum", "isspace", "isupper",    "islower"}
                         .contains(name);
  const Parameters p(name, arguments,
                     alone ? std::vector<const char*>{} : std::vector<const char*>{"value"});
  if (name == "upper") return string(upper(self));
  if (name == "lower") return string(lower(self));
  if (name == "title") return string(titled(self));
  if (name == "capitalize") return string(capitalized(self));
  if (const auto answer = asks(self, name)) return *answer;
  if (name == "strip" || name == "lstrip" || name == "rstrip")
    return string(stripped(self, p.text(0), name != "rstrip", name != "lstrip"));
  if (name == "startswith" || name == "endswith")
    return boolean(begins_or_ends(self, p.required(0), name == "startswith"));
  if (name == "join") return joined(self, p.required(0), budget);
  if (!p.required(0).is_string()) fault("{} takes a string, not {}", name, type_name(*p[0]));
  const std::string& part = p[0]->text();
  if (name == "partition" || name == "rpartition")
    return parted(self, p, name == "rpartition", budget);
  if (name == "removeprefix")
    return string(self.starts_with(part) ? self.substr(part.size()) : self);
  if (name == "removesuffix")
    return string(self.ends_with(part) ? self.substr(0, self.size() - part.size()) : self);
  if (name == "count") {
    if (part.empty()) return integer(static_cast<std::int64_t>(characters(self)) + 1);
    std::int64_t n = 0;
    for (std::size_t at = 0; (at = find_text(self, part, at)) != std::string::npos;
         at += part.size())
      ++n;
    return integer(n);
  }
  const std::int64_t at = place(self, part, name == "rfind");
  if (at < 0 && name == "index") fault("substring not found");
  return integer(at);
}

Value call_method(const Value& self, const std::string& name, const Arguments& arguments,
                  Budget& budget) {
  static const std::set<std::string> kChanging = {"append",  "extend",  "insert",     "remove",
                                                  "pop",     "popitem", "clear",      "sort",
                                                  "reverse", "update",  "setdefault", "fromkeys"};
  if (kChanging.contains(name))
    fault(
        "'{}' would change a {}; templates may not (build a new one with +, or keep it in a "
        "namespace)",
        name, type_name(self));
  if (self.is_string()) return call_string_method(self.text(), name, arguments, budget);
  if (self.is_dict()) return call_dict_method(self, name, arguments, budget);
  if (self.kind == Kind::loop)
    return call_loop_method(static_cast<Loop&>(*self.object), name, arguments, budget);
  return call_list_method(self, name, arguments, budget);
}

bool is_function(const std::string& name) {
  return name == "range" || name == "dict" || name == "namespace" || name == "raise_exception" ||
         name == "strftime_now";
}

Value call_function(const std::string& name, const Arguments& arguments, Budget& budget) {
  if (name == "range") return make_range(arguments, budget);
  if (name == "dict") return make_dict(arguments, budget);
  if (name == "namespace") return make_space(arguments, budget);
  if (name == "strftime_now")
    return time_now(Parameters(name, arguments, {"format"}).text(0).value_or(""));
  const Parameters p(name, arguments, {"message"});
  fault("{}", str(p.required(0), budget).substr(0, 1000));
}

}  // namespace weft::jinja

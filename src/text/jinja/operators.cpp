// Arithmetic, comparison, attributes and items.
#include <algorithm>
#include <cmath>
#include <set>

#include "text/jinja/builtins.h"
#include "text/jinja/text.h"

namespace weft::jinja {
namespace {

[[noreturn]] void wrong_types(const std::string& op, const Value& a, const Value& b) {
  if (a.is_undefined()) fault("{}", a.text());
  if (b.is_undefined()) fault("{}", b.text());
  fault("'{}' is not supported between '{}' and '{}'", op, type_name(a), type_name(b));
}

Value checked(bool overflows, const std::int64_t& result) {
  if (overflows) fault("a number is too large");
  return integer(result);
}

Value integer_power(std::int64_t base, std::int64_t exponent) {
  std::int64_t result = 1;
  bool overflows = false;
  while (exponent > 0 && !overflows) {
    if ((exponent & 1) != 0) overflows = __builtin_mul_overflow(result, base, &result);
    exponent >>= 1;
    if (exponent > 0) overflows |= __builtin_mul_overflow(base, base, &base);
  }
  return checked(overflows, result);
}

Value integers(const std::string& op, std::int64_t a, std::int64_t b) {
  std::int64_t r = 0;
  if (op == "+") return checked(__builtin_add_overflow(a, b, &r), r);
  if (op == "-") return checked(__builtin_sub_overflow(a, b, &r), r);
  if (op == "*") return checked(__builtin_mul_overflow(a, b, &r), r);
  if (op == "**" && b >= 0) return integer_power(a, b);
  if (b == 0) fault("division by zero");
  if (b == -1)
    return op == "%" ? integer(0) : checked(__builtin_sub_overflow(std::int64_t{0}, a, &r), r);
  const std::int64_t remainder = a % b;
  const bool round_down = remainder != 0 && (remainder < 0) != (b < 0);
  return op == "//" ? integer(a / b - (round_down ? 1 : 0))
                    : integer(remainder + (round_down ? b : 0));
}

Value reals(const std::string& op, double a, double b) {
  if (op == "+") return real(a + b);
  if (op == "-") return real(a - b);
  if (op == "*") return real(a * b);
  if (op == "**") {
    if (a == 0 && b < 0) fault("0.0 cannot be raised to a negative power");
    const double r = std::pow(a, b);
    if (std::isnan(r) && !std::isnan(a) && !std::isnan(b))
      fault("a negative number cannot be raised to a fraction");
    if (std::isinf(r) && std::isfinite(a) && std::isfinite(b)) fault("a number is too large");
    return real(r);
  }
  if (b == 0) fault("division by zero");
  if (op == "/") return real(a / b);
  double remainder = std::fmod(a, b), quotient = (a - remainder) / b;  // as CPython's float_divmod
  if (remainder != 0 && (b < 0) != (remainder < 0)) {
    remainder += b;
    quotient -= 1;
  } else if (remainder == 0) {
    remainder = std::copysign(0.0, b);
  }
  if (op == "%") return real(remainder);
  if (quotient == 0) return real(std::copysign(0.0, a / b));
  const double down = std::floor(quotient);
  return real(quotient - down > 0.5 ? down + 1 : down);
}

Value repeated(const Value& v, std::int64_t times, Budget& budget) {
  const std::size_t n = times < 0 ? 0 : static_cast<std::size_t>(times);
  const std::size_t size = v.is_string() ? v.text().size() : v.items().size() * sizeof(Value);
  if (size > 0 && n > (std::size_t{1} << 40) / size)
    fault("a value repeated {} times is too large", times);
  budget.bytes(n * size);
  budget.steps(size == 0 ? 0 : n / 64);
  if (v.is_string()) {
    std::string out;
    out.reserve(n * size);
    for (std::size_t i = 0; i < (size == 0 ? 0 : n); ++i) out += v.text();
    return string(std::move(out));
  }
  std::vector<Value> out;
  for (std::size_t i = 0; i < (size == 0 ? 0 : n); ++i)
    out.insert(out.end(), v.items().begin(), v.items().end());
  return sequence(v.kind, std::move(out));
}

bool is_list(const Value& v) { return v.kind == Kind::list || v.kind == Kind::tuple; }

const std::set<std::string> kDictMethods = {"items",  "keys",       "values",  "get",
                                            "copy",   "pop",        "popitem", "clear",
                                            "update", "setdefault", "fromkeys"};
const std::set<std::string> kListMethods = {"append", "extend",  "insert", "remove", "pop", "clear",
                                            "sort",   "reverse", "index",  "count",  "copy"};
const std::set<std::string> kTupleMethods = {"index", "count"};

bool has_method(const Value& v, const std::string& name) {
  switch (v.kind) {
    case Kind::string:
      return is_string_method(name);
    case Kind::dict:
      return kDictMethods.contains(name);
    case Kind::list:
      return kListMethods.contains(name);
    case Kind::tuple:
    case Kind::range:
      return kTupleMethods.contains(name);
    case Kind::loop:
      return name == "cycle" || name == "changed";
    default:
      return false;
  }
}

std::optional<Value> loop_attribute(const Loop& loop, const std::string& name) {
  const auto index = static_cast<std::int64_t>(loop.index),
             n = static_cast<std::int64_t>(loop.items.size());
  if (name == "index") return integer(index + 1);
  if (name == "index0") return integer(index);
  if (name == "revindex") return integer(n - index);
  if (name == "revindex0") return integer(n - index - 1);
  if (name == "first") return boolean(index == 0);
  if (name == "last") return boolean(index == n - 1);
  if (name == "length") return integer(n);
  if (name == "depth")
    return integer(1);  // only recursive loops, which there are none of, go deeper
  if (name == "depth0") return integer(0);
  if (name == "previtem")
    return index > 0 ? loop.items[loop.index - 1] : undefined("there is no previous item");
  if (name == "nextitem")
    return index + 1 < n ? loop.items[loop.index + 1] : undefined("there is no next item");
  return std::nullopt;
}

}  // namespace

Value arithmetic(const std::string& op, const Value& a, const Value& b, Budget& budget) {
  budget.steps();
  if (a.is_number() && b.is_number()) {
    const bool whole =
        a.is_integral() && b.is_integral() && op != "/" && !(op == "**" && b.integer < 0);
    return whole ? integers(op, a.integer, b.integer) : reals(op, a.number(), b.number());
  }
  if (op == "%" && a.is_string()) return string(percent_format(a.text(), b, budget));
  if (op == "+" && a.is_string() && b.is_string()) {
    budget.bytes(a.text().size() + b.text().size());
    return string(a.text() + b.text());
  }
  if (op == "+" && is_list(a) && a.kind == b.kind) {
    std::vector<Value> items = a.items();
    items.insert(items.end(), b.items().begin(), b.items().end());
    budget.bytes(items.size() * sizeof(Value));
    budget.steps(items.size());
    return sequence(a.kind, std::move(items));
  }
  if (op == "*" && b.is_integral() && (a.is_string() || is_list(a)))
    return repeated(a, b.integer, budget);
  if (op == "*" && a.is_integral() && (b.is_string() || is_list(b)))
    return repeated(b, a.integer, budget);
  wrong_types(op, a, b);
}

Value negated(const Value& v) {
  if (v.kind == Kind::real) return real(-v.real);
  if (!v.is_integral())
    fault("{}", v.is_undefined() ? v.text()
                                 : fmt::format("bad operand type for unary -: '{}'", type_name(v)));
  return integers("-", 0, v.integer);
}

bool compared(const std::string& op, const Value& a, const Value& b, Budget& budget) {
  if (op == "==") return equal(a, b, budget);
  if (op == "!=") return !equal(a, b, budget);
  if (op == "in") return contains(b, a, budget);
  if (op == "not in") return !contains(b, a, budget);
  if (op == "<") return less(a, b, budget);
  if (op == ">") return less(b, a, budget);
  const bool smaller = op == "<=" ? less(a, b, budget) : less(b, a, budget);
  return smaller || equal(a, b, budget);
}

Value attribute(const Value& of, const std::string& name, Budget& budget) {
  budget.steps();
  if (of.is_undefined()) fault("{}", of.text());
  if (of.kind == Kind::loop) {
    if (auto value = loop_attribute(static_cast<const Loop&>(*of.object), name)) return *value;
  }
  if (of.kind == Kind::space) {
    if (const Value* value = find(of.pairs(), name)) return *value;
  }
  if (has_method(of, name)) {
    auto method = std::make_shared<Method>();
    method->self = of;
    method->name = name;
    Value v;
    v.kind = Kind::method;
    v.object = std::move(method);
    return v;
  }
  if (of.is_dict()) {
    if (const Value* value = find(of.pairs(), name)) return *value;
  }
  return undefined(fmt::format("'{} object' has no attribute '{}'", type_name(of), name));
}

Value item(const Value& of, const Value& key, Budget& budget) {
  budget.steps();
  if (of.is_undefined()) fault("{}", of.text());
  if (of.is_dict() && key.kind != Kind::list && key.kind != Kind::dict) {
    if (const Value* value = find(of.pairs(), key, budget)) return *value;
  }
  if (key.is_integral() && of.is_indexed()) {
    const auto n = static_cast<std::int64_t>(of.items().size()),
               i = key.integer < 0 ? key.integer + n : key.integer;
    if (i >= 0 && i < n) return of.items()[static_cast<std::size_t>(i)];
  }
  if (key.is_integral() && of.is_string() &&
      key.integer > std::numeric_limits<std::int64_t>::min()) {
    std::string one = sliced(of.text(), key, key.integer == -1 ? none() : integer(key.integer + 1),
                             none(), budget);
    if (!one.empty()) return string(std::move(one));
  }
  if (key.is_string()) {
    const Value value = attribute(of, key.text(), budget);
    if (!value.is_undefined()) return value;
  }
  return undefined(
      fmt::format("'{} object' has no element {}", type_name(of),
                  key.is_string() || key.is_number() ? repr(key, budget) : type_name(key)));
}

Value slice(const Value& of, const Value& start, const Value& stop, const Value& step,
            Budget& budget) {
  if (of.is_undefined()) fault("{}", of.text());
  if (of.is_string()) return string(sliced(of.text(), start, stop, step, budget));
  if (!of.is_indexed()) fault("a '{}' cannot be sliced", type_name(of));
  std::vector<Value> items;
  for (const std::size_t i : slice_of(of.items().size(), start, stop, step))
    items.push_back(of.items()[i]);
  budget.bytes(items.size() * sizeof(Value));
  budget.steps(items.size());
  return sequence(of.kind == Kind::range ? Kind::list : of.kind, std::move(items));
}

Parameters::Parameters(const std::string& who, const Arguments& arguments,
                       std::vector<const char*> names)
    : who_(who), names_(std::move(names)), values_(names_.size()) {
  if (arguments.positional.size() > names_.size())
    fault("{} takes at most {} arguments, not {}", who_, names_.size(),
          arguments.positional.size());
  for (std::size_t i = 0; i < arguments.positional.size(); ++i)
    values_[i] = arguments.positional[i];
  for (const auto& [name, value] : arguments.named) {
    const auto at =
        static_cast<std::size_t>(std::find(names_.begin(), names_.end(), name) - names_.begin());
    if (at == names_.size()) fault("{} has no argument '{}'", who_, name);
    if (values_[at]) fault("{} is given '{}' twice", who_, name);
    values_[at] = value;
  }
}

const Value& Parameters::required(std::size_t i) const {
  if (!values_[i]) fault("{} needs the argument '{}'", who_, names_[i]);
  return *values_[i];
}

std::int64_t Parameters::integer(std::size_t i, std::int64_t otherwise) const {
  if (!values_[i]) return otherwise;
  if (!values_[i]->is_integral())
    fault("{}: '{}' is to be an integer, not {}", who_, names_[i], type_name(*values_[i]));
  return values_[i]->integer;
}

std::optional<std::string> Parameters::text(std::size_t i) const {
  if (!values_[i] || values_[i]->is_none()) return std::nullopt;
  if (!values_[i]->is_string())
    fault("{}: '{}' is to be a string, not {}", who_, names_[i], type_name(*values_[i]));
  return values_[i]->text();
}

}  // namespace weft::jinja

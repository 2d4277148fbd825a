#include "core/fields.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace weft {

std::string flag_of(std::string name) {
  std::replace(name.begin(), name.end(), '_', '-');
  return "--" + name;
}

void check_allowed(const std::string& what, std::int64_t value, const Integers& allowed) {
  if (allowed.min <= value && value <= allowed.max) return;
  user_error("{} is {}; allowed: {}{} {}", what, value, allowed.min,
             allowed.min_means ? fmt::format(" ({})", allowed.min_means) : "",
             allowed.max == kAnyInteger.max ? "or more" : fmt::format("to {}", allowed.max));
}

void check_allowed(const std::string& what, double value, const Reals& allowed) {
  const bool high_enough = allowed.min_open ? value > allowed.min : value >= allowed.min,
             low_enough = allowed.max_open ? value < allowed.max : value <= allowed.max;
  if (std::isfinite(value) && high_enough && low_enough) return;
  user_error("{} is {}; allowed: {}{} {} {}", what, value, allowed.min_open ? "above " : "",
             allowed.min, allowed.max_open ? "up to, not including," : "to", allowed.max);
}

void check_allowed(const std::string& what, const std::string& value, const Words& allowed) {
  const auto among = [&](const std::vector<std::string>& words) {
    return std::find(words.begin(), words.end(), value) != words.end();
  };
  if (among(allowed.known)) return;
  user_error("{} is '{}'{}; allowed: {}", what, value,
             among(allowed.later) ? ", which is to come" : "", fmt::join(allowed.known, ", "));
}

namespace {

class CheckFields : public UniformVisitor<CheckFields> {
 public:
  template <class T, class A>
  void each(const char* name, T& value, const A& allowed, const char*) {
    if constexpr (std::is_same_v<T, std::string>)
      if (value.empty()) return;
    check_allowed(flag_of(name), value, allowed);
  }
};

}  // namespace

void check_fields(const VisitFields& fields) {
  CheckFields check;
  fields(check);
}

}  // namespace weft

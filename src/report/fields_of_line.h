// Fields of a log's line, read so that no value, whatever it is, ends a report: one of another type
// or beyond what can be drawn counts as not there.
#pragma once

#include <cmath>
#include <cstdint>
#include <string>

#include "core/json.h"
#include "core/utf8.h"
#include "report/run.h"

namespace weft::report {

// The member, or null where there is none.
inline const OrderedJson& member(const OrderedJson& object, const char* key) {
  static const OrderedJson none;
  if (!object.is_object()) return none;
  const auto at = object.find(key);
  return at == object.end() ? none : *at;
}

inline double number_of(const OrderedJson& object, const char* key, double least = 0) {
  constexpr double kMost = 1e30;
  const OrderedJson& value = member(object, key);
  if (!value.is_number()) return kUnknown;
  const auto number = value.get<double>();
  return std::isfinite(number) && number >= least && number <= kMost ? number : kUnknown;
}

inline std::int64_t count_of(const OrderedJson& object, const char* key) {
  constexpr double kMost = 1e15;
  const OrderedJson& value = member(object, key);
  if (!value.is_number_integer()) return -1;
  const auto number = value.get<double>();
  return number >= 0 && number <= kMost ? static_cast<std::int64_t>(number) : -1;
}

inline std::string text_of_field(const OrderedJson& object, const char* key) {
  const OrderedJson& value = member(object, key);
  return value.is_string() ? made_utf8(value.get<std::string>()) : "";
}

}  // namespace weft::report

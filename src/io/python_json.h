// JSON as Python's json module writes and reads it: NaN and Infinity, numbers of any size, lone
// surrogates (U+FFFD here, as are bytes that are not UTF-8). Values stay text until they are asked
// for, so that what nobody wants is checked but not kept, and numbers keep their digits.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "core/check.h"
#include "io/json.h"

namespace weft {

// Text that is no JSON: why, and the byte where that shows.
class JsonFault : public Error {
 public:
  JsonFault(const std::string& reason, std::size_t place) : Error(reason), at(place) {}
  std::size_t at;
};

// An object or list whose values are stretches of the text it was read from, which must outlive it.
struct JsonItem {
  std::string key;         // of an object's member
  std::string_view value;  // from its first character to its last
};
class JsonItems {
 public:
  // Reads the object or list at text[at], moves `at` behind it. JsonFault where there is none, or
  // where it is nested deeper than kMaxJsonDepth.
  JsonItems(std::string_view text, std::size_t& at);
  const std::vector<JsonItem>& all() const { return items_; }
  const JsonItem* find(std::string_view key) const;  // of equal keys the last, as in Python
  std::string keys() const;                          // sorted: "a, b"

 private:
  std::vector<JsonItem> items_;
};

// Of a value's text that JsonItems gave:
const char* json_type(std::string_view value);  // string, number, object, array, boolean, null
std::string json_string(std::string_view value);
Json json_value(std::string_view value);  // whole numbers beyond 64 bits become floats

// The place of the next character that is no space; text.size() at the end.
std::size_t skip_json_spaces(std::string_view text, std::size_t at);

}  // namespace weft

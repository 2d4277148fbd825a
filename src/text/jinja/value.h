// Values of a template, with Python's meaning: what is true, what is equal, what is smaller, how it
// prints and how it looks as JSON.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"

namespace weft::jinja {

// What went wrong while a template was read or rendered; the line is added where it is caught.
struct Fault {
  std::string message;
};
template <class... Args>
[[noreturn]] void fault(fmt::format_string<Args...> format, Args&&... args) {
  throw Fault{fmt::format(format, std::forward<Args>(args)...)};
}

// What one rendering may spend. Templates come with models from anywhere: a bad one must end with a
// sentence, not with the memory.
class Budget {
 public:
  void steps(std::size_t n = 1);
  void bytes(std::size_t n);
  std::int64_t bytes_left() const { return bytes_left_; }

 private:
  std::int64_t steps_left_ = 20'000'000;
  std::int64_t bytes_left_ = std::int64_t{512} << 20;
};

// view: what keys(), values() and items() give. iterator: Python's generators, which are read once.
// space: namespace().
enum class Kind {
  undefined,
  none,
  boolean,
  integer,
  real,
  string,
  list,
  tuple,
  range,
  view,
  iterator,
  dict,
  space,
  method,
  function,
  macro,
  loop
};

struct Object {
  Object() = default;
  Object(const Object&) = delete;
  Object& operator=(const Object&) = delete;
  virtual ~Object() = default;
};

// Containers nested deeper are refused: printing, comparing and freeing them recurses.
constexpr int kMaxValueDepth = 100;

struct Value {
  Kind kind = Kind::undefined;
  union {
    std::int64_t integer = 0;  // boolean too
    double real;
  };
  std::shared_ptr<Object> object;

  bool is_undefined() const { return kind == Kind::undefined; }
  bool is_none() const { return kind == Kind::none; }
  bool is_string() const { return kind == Kind::string; }
  bool is_dict() const { return kind == Kind::dict; }
  bool is_integral() const { return kind == Kind::integer || kind == Kind::boolean; }
  bool is_number() const { return is_integral() || kind == Kind::real; }
  bool is_sized() const {
    return kind == Kind::list || kind == Kind::tuple || kind == Kind::range || kind == Kind::view;
  }  // items() and a length
  bool is_indexed() const { return is_sized() && kind != Kind::view; }
  double number() const { return kind == Kind::real ? real : static_cast<double>(integer); }
  const std::string& text() const;  // of a string; of an undefined value what is missing; of a view
                                    // or a function its name
  const std::vector<Value>& items() const;                    // of what is sized, or an iterator
  const std::vector<std::pair<Value, Value>>& pairs() const;  // of a dict or namespace
};

using Pairs = std::vector<std::pair<Value, Value>>;

struct Text : Object {
  std::string text;
};
struct Items : Object {
  std::vector<Value> items;
  std::string name;      // of a view
  std::size_t next = 0;  // of an iterator
  int depth = 1;
};
struct Dict : Object {
  Pairs pairs;
  int depth = 1;
};
struct Method : Object {  // an attribute that can be called
  Value self;
  std::string name;
};

Value none();
Value boolean(bool b);
Value integer(std::int64_t i);
Value real(double d);
Value string(std::string s);
Value undefined(std::string missing);  // e.g. "'x' is undefined"
Value function(std::string name);
Value sequence(Kind kind, std::vector<Value> items, std::string name = "");
Value dict(Pairs pairs);
Value from_json(const OrderedJson& json, int depth = 0);

const char* type_name(const Value& v);  // Python's
bool truth(const Value& v);
bool equal(const Value& a, const Value& b, Budget& budget);
bool less(const Value& a, const Value& b, Budget& budget);  // Fault where Python has no order
const Value* find(const Pairs& pairs, const Value& key, Budget& budget);
const Value* find(const Pairs& pairs, std::string_view key);
void put(Pairs& pairs, const Value& key, const Value& value, Budget& budget);
bool contains(const Value& container, const Value& item, Budget& budget);
// What a loop over `v` sees; an iterator is used up. Fault where Python cannot iterate.
std::vector<Value> iterate(const Value& v, Budget& budget);

std::string str(const Value& v, Budget& budget);
std::string repr(const Value& v, Budget& budget);
std::string float_repr(double d);

// json.dumps; separators as Python's defaults unless given.
struct JsonStyle {
  bool ensure_ascii = false, sort_keys = false, indented = false;
  std::string indent, item_separator = ", ", key_separator = ": ";
};
std::string to_json(const Value& v, const JsonStyle& style, Budget& budget);

}  // namespace weft::jinja

// What templates are given: operators, attributes, methods, filters, tests and functions, with the
// meaning that Jinja's sandbox for chat templates gives them. Values do not change: what would
// change one is refused, as it is there.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "text/jinja/value.h"

namespace weft::jinja {

struct Arguments {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// Arguments under the names of what they are for. Fault where there are too many, an unknown or a
// repeated one.
class Parameters {
 public:
  Parameters(const std::string& who, const Arguments& arguments, std::vector<const char*> names);
  const Value* operator[](std::size_t i) const {
    return values_[i] ? &*values_[i] : nullptr;
  }  // null where it is not given
  const Value& required(std::size_t i) const;
  bool flag(std::size_t i) const { return values_[i] && truth(*values_[i]); }
  std::int64_t integer(std::size_t i, std::int64_t otherwise) const;
  std::optional<std::string> text(
      std::size_t i) const;  // a string; nothing where it is none or not given

 private:
  std::string who_;
  std::vector<const char*> names_;
  std::vector<std::optional<Value>> values_;
};

// A for loop, as its body sees it in `loop`.
struct Loop : Object {
  std::vector<Value> items;
  std::size_t index = 0;
  std::optional<std::vector<Value>> seen;  // by changed()
};

Value arithmetic(const std::string& op, const Value& a, const Value& b, Budget& budget);
Value negated(const Value& v);
bool compared(const std::string& op, const Value& a, const Value& b, Budget& budget);

Value attribute(const Value& of, const std::string& name, Budget& budget);  // of.name
Value item(const Value& of, const Value& key, Budget& budget);              // of[key]
Value slice(const Value& of, const Value& start, const Value& stop, const Value& step,
            Budget& budget);

Value call_method(const Value& self, const std::string& name, const Arguments& arguments,
                  Budget& budget);
Value call_string_method(const std::string& self, const std::string& name,
                         const Arguments& arguments, Budget& budget);
bool is_string_method(const std::string& name);
bool is_function(const std::string& name);
Value call_function(const std::string& name, const Arguments& arguments, Budget& budget);
Value apply_filter(const std::string& name, const Value& to, const Arguments& arguments,
                   Budget& budget);
std::optional<Value> apply_list_filter(const std::string& name, const Value& to,
                                       const Arguments& arguments, Budget& budget);
bool apply_test(const std::string& name, const Value& of, const Arguments& arguments,
                Budget& budget);

}  // namespace weft::jinja

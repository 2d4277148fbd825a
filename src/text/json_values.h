// Values of tokenizer.json that several of its parts have.
#pragma once

#include <string>
#include <string_view>

#include "core/utf8.h"
#include "io/json.h"

namespace weft {

// The "type" of a part; a UserError where there is none.
std::string type_of_part(const Json& part, const std::string& what, const std::string& origin);

// The list of a Sequence.
const Json& parts_of_sequence(const Json& sequence, const char* key, const std::string& origin);

// {"String": "…"} or {"Regex": "…"}.
struct TextPattern {
  bool is_regex = false;
  std::string text;
  OrderedJson to_json() const { return OrderedJson{{is_regex ? "Regex" : "String", text}}; }
};
TextPattern read_text_pattern(const Json& part, const std::string& origin);

}  // namespace weft

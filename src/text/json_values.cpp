#include "text/json_values.h"

#include "core/check.h"
#include "text/characters/unicode.h"

namespace weft {

std::string type_of_part(const Json& part, const std::string& what, const std::string& origin) {
  CHECK_USER(part.is_object() && part.contains("type") && part["type"].is_string(),
             "{}: {} is {}; it must be an object with a type", origin, what, brief(part));
  return part["type"].get<std::string>();
}

const Json& parts_of_sequence(const Json& sequence, const char* key, const std::string& origin) {
  CHECK_USER(sequence.contains(key) && sequence[key].is_array(),
             "{}: {} of a Sequence is missing or no list", origin, key);
  return sequence[key];
}

TextPattern read_text_pattern(const Json& part, const std::string& origin) {
  const Json pattern = part.value("pattern", Json());
  for (const bool regex : {false, true}) {
    const char* key = regex ? "Regex" : "String";
    if (pattern.is_object() && pattern.contains(key) && pattern[key].is_string())
      return {regex, pattern[key].get<std::string>()};
  }
  if (pattern.is_string()) return {false, pattern.get<std::string>()};
  user_error("{}: pattern is {}; allowed: {{\"String\": text}}, {{\"Regex\": text}}", origin,
             brief(pattern));
}

}  // namespace weft

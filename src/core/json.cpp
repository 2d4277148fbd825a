#include "core/json.h"

namespace weft {
namespace {

// The text up to where it is too deep; all of it where it is not.
std::string_view as_deep_as_allowed(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\')
        ++i;
      else if (c == '"')
        in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxJsonDepth) return text.substr(0, i);  // the parser finds that it ends there
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return text;
}

template <class Value>
std::string text_of(const Value& value, int indent, bool ascii) {
  return value.dump(indent, ' ', ascii, Value::error_handler_t::replace);
}

std::string shortened(std::string text, std::size_t most) {
  if (text.size() <= most) return text;
  while (most > 0 && (static_cast<unsigned char>(text[most]) & 0xC0u) == 0x80) --most;
  text.resize(most);
  return text;
}

}  // namespace

Json parse_json(std::string_view text, const Json::parser_callback_t& watch) {
  return Json::parse(as_deep_as_allowed(text), watch);
}

OrderedJson parse_ordered_json(std::string_view text) {
  return OrderedJson::parse(as_deep_as_allowed(text));
}

std::optional<Json> try_parse_json(std::string_view text) {
  Json json = Json::parse(as_deep_as_allowed(text), nullptr, false);
  if (json.is_discarded()) return std::nullopt;
  return json;
}

std::string json_text(const Json& value, int indent) { return text_of(value, indent, false); }
std::string json_text(const OrderedJson& value, int indent) {
  return text_of(value, indent, false);
}
std::string json_ascii(const Json& value, int indent) { return text_of(value, indent, true); }
std::string json_ascii(const OrderedJson& value, int indent) {
  return text_of(value, indent, true);
}

std::string brief(const Json& value, std::size_t most) { return shortened(json_text(value), most); }
std::string brief(const OrderedJson& value, std::size_t most) {
  return shortened(json_text(value), most);
}

}  // namespace weft

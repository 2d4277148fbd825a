// JSON values and text. The parser and the printer are compiled once, in json.cpp: nobody else
// instantiates them (tests/core/includes_test.cpp looks), which is a good part of the build's time.
#pragma once

#include <cstddef>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;  // keeps the order of its keys

// Text nested deeper is not taken for JSON: copying and printing values recurses, and the stack is
// small.
constexpr int kMaxJsonDepth = 100;

// Throws Json::parse_error where the text is no JSON or too deep, another Json::exception where a
// number is beyond a double. `watch` sees each part as it is read.
Json parse_json(std::string_view text, const Json::parser_callback_t& watch = nullptr);
OrderedJson parse_ordered_json(std::string_view text);
std::optional<Json> try_parse_json(std::string_view text);  // nothing where it is no JSON

// The value's text: on one line, or indented by so many spaces. Bytes that are not UTF-8 become
// U+FFFD; ascii: every character beyond ASCII is \uXXXX.
std::string json_text(const Json& value, int indent = -1);
std::string json_text(const OrderedJson& value, int indent = -1);
std::string json_ascii(const Json& value, int indent = -1);
std::string json_ascii(const OrderedJson& value, int indent = -1);

// A value as an error quotes it: its beginning, whole characters, whatever its bytes.
std::string brief(const Json& value, std::size_t most = 60);
std::string brief(const OrderedJson& value, std::size_t most = 60);

}  // namespace weft

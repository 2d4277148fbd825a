// JSON files, with errors that name the file and the key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

namespace weft {

using Json = nlohmann::json;
using OrderedJson = nlohmann::ordered_json;

// Text nested deeper is not taken for JSON: copying and printing values recurses, and the stack is
// small.
constexpr int kMaxJsonDepth = 100;
// As Json::parse; a parse_error where the text is too deep.
Json parse_json(std::string_view text, const Json::parser_callback_t& watch = nullptr);

// A value as an error quotes it: its beginning, whole characters, whatever its bytes.
std::string brief(const Json& value, std::size_t most = 60);

// Runs a reader of `origin`. What the JSON library throws in it (a value of another type than is
// asked for, a key that is not there, a number beyond its type) is the file's damage: a UserError
// that names it.
[[noreturn]] void throw_damaged(const std::string& origin, const Json::exception& error);
template <class Body>
auto reading_json(const std::string& origin, const Body& body) {
  try {
    return body();
  } catch (const Json::exception& error) {
    throw_damaged(origin, error);
  }
}

// Whole file; UserErrors name the file: missing, a folder, not JSON (with the line), not an object.
Json read_json_object(const std::filesystem::path& file);

// One object of a JSON file and the place it came from, for typed reading:
// `config.integer("n_head", 1, 1 << 16)`. A value of the wrong type or out of range is a UserError
// "config.json: n_head is -3; allowed: 1 to 65536".
class JsonReader {
 public:
  JsonReader(const Json& object, std::string origin)
      : object_(&object), origin_(std::move(origin)) {}
  bool has(const std::string& key) const;  // present and not null
  std::int64_t integer(const std::string& key, std::int64_t min,
                       std::int64_t max) const;  // required
  std::int64_t integer(const std::string& key, std::int64_t min, std::int64_t max,
                       std::int64_t otherwise) const;
  double number(const std::string& key, double min, double max, double otherwise) const;  // finite
  bool boolean(const std::string& key, bool otherwise) const;
  std::string string(const std::string& key, const std::string& otherwise) const;
  const Json& json() const { return *object_; }
  const std::string& origin() const { return origin_; }

 private:
  const Json* object_;
  std::string origin_;
};

}  // namespace weft

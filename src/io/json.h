// JSON files, with errors that name the file and the key.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.h"

namespace weft {

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

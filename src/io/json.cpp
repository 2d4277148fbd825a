#include "io/json.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "core/log.h"
#include "io/files.h"

namespace weft {

void throw_damaged(const std::string& origin, const Json::exception& error) {
  const std::string said = error.what();  // "[json.exception.type_error.302] type must be …"
  const std::size_t tag = said.find("] ");
  user_error("{}: is damaged, or not what it should be: {}", origin,
             one_line(tag == std::string::npos ? said : said.substr(tag + 2), 200));
}

Json read_json_object(const std::filesystem::path& file) {
  const std::string text = read_text_file(file);
  Json json;
  try {
    json = parse_json(text);
  } catch (const Json::parse_error& error) {
    const auto end = text.begin() + static_cast<std::ptrdiff_t>(std::min(error.byte, text.size()));
    user_error("{}: not valid JSON near line {}", file.string(),
               1 + std::count(text.begin(), end, '\n'));
  } catch (const Json::exception&) {
    user_error("{}: not valid JSON (a number is beyond a double's range)", file.string());
  }
  CHECK_USER(json.is_object(), "{}: holds {}, not an object", file.string(), json.type_name());
  return json;
}

bool JsonReader::has(const std::string& key) const {
  const auto at = object_->find(key);
  return at != object_->end() && !at->is_null();
}

std::int64_t JsonReader::integer(const std::string& key, std::int64_t min, std::int64_t max) const {
  CHECK_USER(has(key), "{}: {} is missing; it must be a whole number from {} to {}", origin_, key,
             min, max);
  const Json& value = (*object_)[key];
  // A float that is whole ("1e3") counts; 2^63 and beyond do not.
  const bool whole =
      value.is_number_integer() ||
      (value.is_number_float() && std::nearbyint(value.get<double>()) == value.get<double>() &&
       std::abs(value.get<double>()) < 9e18);
  const bool too_large = value.is_number_unsigned() &&
                         value.get<std::uint64_t>() > static_cast<std::uint64_t>(INT64_MAX);
  CHECK_USER(whole && !too_large, "{}: {} is {}; allowed: whole numbers from {} to {}", origin_,
             key, brief(value), min, max);
  const auto number = value.get<std::int64_t>();
  CHECK_USER(min <= number && number <= max, "{}: {} is {}; allowed: {} to {}", origin_, key,
             number, min, max);
  return number;
}

std::int64_t JsonReader::integer(const std::string& key, std::int64_t min, std::int64_t max,
                                 std::int64_t otherwise) const {
  return has(key) ? integer(key, min, max) : otherwise;
}

double JsonReader::number(const std::string& key, double min, double max, double otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = (*object_)[key];
  CHECK_USER(value.is_number(), "{}: {} is {}; allowed: numbers from {} to {}", origin_, key,
             brief(value), min, max);
  const auto number = value.get<double>();
  CHECK_USER(std::isfinite(number) && min <= number && number <= max,
             "{}: {} is {}; allowed: {} to {}", origin_, key, number, min, max);
  return number;
}

bool JsonReader::boolean(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = (*object_)[key];
  CHECK_USER(value.is_boolean(), "{}: {} is {}; allowed: true, false", origin_, key, brief(value));
  return value.get<bool>();
}

std::string JsonReader::string(const std::string& key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = (*object_)[key];
  CHECK_USER(value.is_string(), "{}: {} is {}; it must be a string", origin_, key, brief(value));
  return value.get<std::string>();
}

}  // namespace weft

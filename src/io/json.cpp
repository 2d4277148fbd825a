#include "io/json.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <vector>

#include "core/check.h"

namespace weft {

std::string read_text_file(const std::filesystem::path& file) {
  std::error_code error;
  CHECK_USER(std::filesystem::exists(file, error), "{}: no such file", file.string());
  CHECK_USER(!std::filesystem::is_directory(file, error), "{}: is a folder, not a file",
             file.string());
  std::ifstream in(file, std::ios::binary);
  CHECK_USER(in.good(), "{}: cannot be read ({})", file.string(), std::strerror(errno));
  std::string text;
  std::vector<char> block(1 << 16);
  do {
    errno = 0;
    in.read(block.data(), static_cast<std::streamsize>(block.size()));
    CHECK(!in.bad(), "{}: reading failed ({})", file.string(), std::strerror(errno));
    text.append(block.data(), static_cast<std::size_t>(in.gcount()));
  } while (in);
  return text;
}

Json parse_json(std::string_view text, const Json::parser_callback_t& watch) {
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
      if (++depth > kMaxJsonDepth)
        return Json::parse(text.substr(0, i));  // throws: the text ends there
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return Json::parse(text, watch);
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
  } catch (const Json::exception& error) {  // such as a number beyond a double's range
    user_error("{}: not valid JSON ({})", file.string(), std::string(error.what()).substr(0, 100));
  }
  CHECK_USER(json.is_object(), "{}: holds {}, not an object", file.string(), json.type_name());
  return json;
}

namespace {

// write() and fsync(), with the system's reason when they fail.
void write_all(int fd, std::string_view content, const std::string& file) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    CHECK_USER(n > 0, "{}: writing failed ({})", file, std::strerror(errno));
    content.remove_prefix(static_cast<std::size_t>(n));
  }
  CHECK_USER(::fsync(fd) == 0, "{}: writing failed ({})", file, std::strerror(errno));
}

}  // namespace

void make_folder(const std::filesystem::path& folder) {
  std::error_code error;
  if (!folder.empty()) std::filesystem::create_directories(folder, error);
  CHECK_USER(!error && (folder.empty() || std::filesystem::is_directory(folder, error)),
             "{}: the folder cannot be made ({})", folder.string(),
             error ? error.message() : "a file is in its place");
}

void sync_folder(const std::filesystem::path& folder) {
  const int fd = ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // some file systems do not open folders; the rename itself has happened
  const int reason = ::fsync(fd) == 0 ? 0 : errno;
  ::close(fd);
  // Others (EINVAL, ENOTSUP, EROFS) say that this file system cannot sync folders.
  CHECK_USER(reason != EIO && reason != ENOSPC && reason != EDQUOT,
             "{}: the folder cannot be synced ({})", folder.string(), std::strerror(reason));
}

namespace {

// Renames, or removes `beside` and throws.
void move_into_place(const std::filesystem::path& beside, const std::filesystem::path& file) {
  if (::rename(beside.c_str(), file.c_str()) != 0) {
    const int reason = errno;
    ::unlink(beside.c_str());
    CHECK_USER(false, "{}: cannot be put in place ({})", file.string(), std::strerror(reason));
  }
  sync_folder(file.parent_path());
}

}  // namespace

void put_in_place(const std::filesystem::path& beside, const std::filesystem::path& file) {
  const int fd = ::open(beside.c_str(), O_RDONLY | O_CLOEXEC);
  const bool synced = fd >= 0 && ::fsync(fd) == 0;
  const int reason = errno;
  if (fd >= 0) ::close(fd);
  if (!synced) ::unlink(beside.c_str());
  CHECK_USER(synced, "{}: writing failed ({})", file.string(), std::strerror(reason));
  move_into_place(beside, file);
}

void reserve_room(const std::filesystem::path& file, std::int64_t bytes) {
  const int fd = ::open(file.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  CHECK_USER(fd >= 0, "{}: cannot be written ({})", file.string(), std::strerror(errno));
  const int reason = ::fallocate(fd, 0, 0, bytes) == 0 ? 0 : errno;
  ::close(fd);
  if (reason != ENOSPC && reason != EDQUOT && reason != EFBIG) return;
  ::unlink(file.c_str());
  std::filesystem::path name = file;  // as the user knows it
  if (name.extension() == ".tmp") name.replace_extension();
  user_error("{}: the disk is full: there is no room for its {} bytes ({})", name.string(), bytes,
             std::strerror(reason));
}

void write_file_atomically(const std::filesystem::path& file, std::string_view content) {
  const std::filesystem::path beside = file.string() + ".tmp";
  const int fd = ::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  CHECK_USER(fd >= 0, "{}: cannot be written ({})", file.string(), std::strerror(errno));
  try {
    write_all(fd, content, file.string());
  } catch (...) {
    ::close(fd);
    ::unlink(beside.c_str());
    throw;
  }
  ::close(fd);
  move_into_place(beside, file);
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
             key, value.dump().substr(0, 60), min, max);
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
             value.dump().substr(0, 60), min, max);
  const auto number = value.get<double>();
  CHECK_USER(std::isfinite(number) && min <= number && number <= max,
             "{}: {} is {}; allowed: {} to {}", origin_, key, number, min, max);
  return number;
}

bool JsonReader::boolean(const std::string& key, bool otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = (*object_)[key];
  CHECK_USER(value.is_boolean(), "{}: {} is {}; allowed: true, false", origin_, key,
             value.dump().substr(0, 60));
  return value.get<bool>();
}

std::string JsonReader::string(const std::string& key, const std::string& otherwise) const {
  if (!has(key)) return otherwise;
  const Json& value = (*object_)[key];
  CHECK_USER(value.is_string(), "{}: {} is {}; it must be a string", origin_, key,
             value.dump().substr(0, 60));
  return value.get<std::string>();
}

}  // namespace weft

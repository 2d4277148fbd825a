// Errors. CHECK is always on; a user's mistake is a UserError (exit code 2), anything else an Error
// (exit code 1).
#pragma once

#include <fmt/format.h>

#include <functional>
#include <stdexcept>
#include <string>

namespace weft {

// Something that failed; `what()` is one sentence with file and line of the check.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// The user's mistake: names the key or file, the value, and what is allowed. No file and line: the
// fault is not in our source.
class UserError : public Error {
 public:
  using Error::Error;
};

// A run that stopped early at a safe point and can be resumed (exit code 3).
class Interrupted : public Error {
 public:
  using Error::Error;
};

// What `body` threw, or nothing: for ranks that must tell each other before they throw
// (comm/agreement.h).
std::string caught(const std::function<void()>& body);

[[noreturn]] void throw_error(const char* file, int line, const char* condition,
                              const std::string& message);

template <class... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace weft

// Throws weft::Error unless `condition` holds; the message is formatted only then.
#define CHECK(condition, ...)                                                        \
  do {                                                                               \
    if (!(condition))                                                                \
      ::weft::throw_error(__FILE__, __LINE__, #condition, fmt::format(__VA_ARGS__)); \
  } while (false)

// Throws weft::UserError unless `condition` holds.
#define CHECK_USER(condition, ...)                     \
  do {                                                 \
    if (!(condition)) ::weft::user_error(__VA_ARGS__); \
  } while (false)

// Errors. CHECK is always on; a user's mistake is a UserError (exit code 2), a run that stopped
// early Interrupted (3), anything else an Error (1): a failing disk, lock, memory, peer or this
// program. The kind travels with the text from rank to rank (comm/agreement.h) and to the exit
// code.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <optional>
#include <stdexcept>
#include <string>

namespace weft {

// Something that failed; `what()` is one sentence. A CHECK adds its rank, file and line.
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

// What was thrown, as it can be told to another rank: its kind and its sentence, never empty.
enum class FailureKind : std::uint8_t { program = 1, user = 2, interrupted = 3 };
struct Failure {
  FailureKind kind = FailureKind::program;
  std::string text;
};

// The exception that is being handled. Whatever it is (out of memory, not a std::exception, one
// without text) it has a sentence, and is the program's unless it is ours and says otherwise.
Failure current_failure();
// What `body` threw, or nothing: for ranks that must tell each other before they throw.
std::optional<Failure> failure_of(const std::function<void()>& body);
// Throws the UserError, Interrupted or Error that it was.
[[noreturn]] void rethrow(const Failure& failure);
inline int exit_code(FailureKind kind) { return static_cast<int>(kind); }

// The rank that a CHECK of this process names, "[rank 2, shard.cpp:10: …]", where there are
// several; set once, before threads are, by who starts them (comm/mpi.cpp).
void set_error_rank(int rank, int n_ranks);
// `text` without that mark of this process, for who names the rank in front of it.
std::string without_rank(std::string text);

[[noreturn]] void throw_error(const char* file, int line, const char* condition,
                              const std::string& message);

template <class... Args>
[[noreturn]] void user_error(fmt::format_string<Args...> format, Args&&... args) {
  throw UserError(fmt::format(format, std::forward<Args>(args)...));
}
// The machine's failure: a file that is there but cannot be read, written or locked, no memory, a
// peer. An Error that needs no place in our source.
template <class... Args>
[[noreturn]] void machine_error(fmt::format_string<Args...> format, Args&&... args) {
  throw Error(fmt::format(format, std::forward<Args>(args)...));
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

// Throws weft::Error, without a place in our source, unless `condition` holds.
#define CHECK_MACHINE(condition, ...)                     \
  do {                                                    \
    if (!(condition)) ::weft::machine_error(__VA_ARGS__); \
  } while (false)

#include "core/check.h"

#include <cxxabi.h>

#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <new>
#include <system_error>
#include <typeinfo>

namespace weft {
namespace {

// "rank 2, ", or nothing where this process is alone. Process-wide by nature, as a rank is.
std::string& rank_mark() {
  static std::string mark;
  return mark;
}

// "weft::Error", for a sentence about an exception that brings none or none of ours.
std::string type_name(const std::exception& error) {
  int status = 0;
  char* name = abi::__cxa_demangle(typeid(error).name(), nullptr, nullptr, &status);
  std::string text = status == 0 && name ? name : typeid(error).name();
  std::free(name);
  return text;
}

// What a library threw and no reader of ours has turned into a sentence. Its words are about its
// own calls, of no use to who runs this; tests/fuzz/commands.py fails on it.
std::string foreign(const std::string& type) {
  return fmt::format(
      "an exception that should not have come this far ({}): this is a fault of Weft, not of what "
      "it was given; please report it with the command",
      type);
}

std::string text_of(const std::exception& error) {
  const std::string text = error.what();
  return text.empty() ? "failed without a reason (" + type_name(error) + ")" : text;
}

}  // namespace

Failure current_failure() {
  try {
    throw;
  } catch (const UserError& error) {
    return {FailureKind::user, text_of(error)};
  } catch (const Interrupted& error) {
    return {FailureKind::interrupted, text_of(error)};
  } catch (const std::bad_alloc&) {
    return {FailureKind::program, "out of memory"};
  } catch (const Error& error) {
    return {FailureKind::program, text_of(error)};
  } catch (const std::filesystem::filesystem_error& error) {
    return {FailureKind::program,
            fmt::format("{}: {}", error.path1().string(), error.code().message())};
  } catch (const std::system_error& error) {
    return {FailureKind::program, fmt::format("the system refuses: {}", error.code().message())};
  } catch (const std::exception& error) {
    return {FailureKind::program, foreign(type_name(error))};
  } catch (...) {
    return {FailureKind::program, foreign("an unknown type")};
  }
}

std::optional<Failure> failure_of(const std::function<void()>& body) {
  try {
    body();
  } catch (...) {
    return current_failure();
  }
  return std::nullopt;
}

void rethrow(const Failure& failure) {
  switch (failure.kind) {
    case FailureKind::user:
      throw UserError(failure.text);
    case FailureKind::interrupted:
      throw Interrupted(failure.text);
    case FailureKind::program:
      break;
  }
  throw Error(failure.text);
}

void set_error_rank(int rank, int n_ranks) {
  rank_mark() = n_ranks > 1 ? fmt::format("rank {}, ", rank) : "";
}

std::string without_rank(std::string text) {
  const std::string& mark = rank_mark();
  const std::size_t at = mark.empty() ? std::string::npos : text.rfind("[" + mark);
  if (at != std::string::npos) text.erase(at + 1, mark.size());
  return text;
}

void throw_error(const char* file, int line, const char* condition, const std::string& message) {
  const char* base = std::strrchr(file, '/');
  throw Error(fmt::format("{} [{}{}:{}: {}]", message, rank_mark(), base ? base + 1 : file, line,
                          condition));
}

}  // namespace weft

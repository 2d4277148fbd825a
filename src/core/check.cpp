#include "core/check.h"

#include <cstring>

namespace weft {

std::string caught(const std::function<void()>& body) {
  try {
    body();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

void throw_error(const char* file, int line, const char* condition, const std::string& message) {
  const char* base = std::strrchr(file, '/');
  throw Error(fmt::format("{} [{}:{}: {}]", message, base ? base + 1 : file, line, condition));
}

}  // namespace weft

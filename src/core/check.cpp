#include "core/check.h"

#include <cstring>

namespace weft {

void throw_error(const char* file, int line, const char* condition, const std::string& message) {
  const char* base = std::strrchr(file, '/');
  throw Error(fmt::format("{} [{}:{}: {}]", message, base ? base + 1 : file, line, condition));
}

}  // namespace weft

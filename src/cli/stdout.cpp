#include "cli/stdout.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/check.h"

namespace weft {

std::string stdout_failure() {
  errno = 0;
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return "";
  return fmt::format("stdout cannot be written ({})",
                     errno ? std::strerror(errno) : "an earlier write failed");
}

void flush_stdout() {
  if (const std::string failure = stdout_failure(); !failure.empty()) throw Error(failure);
}

}  // namespace weft

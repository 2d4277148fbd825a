#include "cli/stdout.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/check.h"

namespace weft {

namespace {

constexpr char kUnwritten[] = "stdout cannot be written ({})";

}  // namespace

void write_stdout(std::string_view text) {
  if (std::fwrite(text.data(), 1, text.size(), stdout) == text.size()) return;
  const int reason = errno;
  throw Error(fmt::format(kUnwritten, std::strerror(reason)));
}

std::string stdout_failure() {
  errno = 0;
  if (std::fflush(stdout) == 0 && !std::ferror(stdout)) return "";
  return fmt::format(kUnwritten, errno ? std::strerror(errno) : "an earlier write failed");
}

void flush_stdout() {
  if (const std::string failure = stdout_failure(); !failure.empty()) throw Error(failure);
}

}  // namespace weft

#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "core/utf8.h"

namespace weft {
namespace {

struct Logger {
  std::shared_ptr<spdlog::logger> sink = [] {
    auto logger = spdlog::stderr_logger_mt("weft");
    logger->set_pattern("%v");
    return logger;
  }();
  int rank = 0;
};

// Process-wide by nature: one stderr.
Logger& logger() {
  static Logger instance;
  return instance;
}

// Bytes of the character at `at`; 0: not UTF-8 (RFC 3629, so no surrogates).
std::size_t character_bytes(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) {
    return at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0u;
  };
  const unsigned first = byte(0);
  if (first < 0x80) return 1;
  const std::size_t n = first < 0xC2   ? 0
                        : first < 0xE0 ? 2
                        : first < 0xF0 ? 3
                        : first < 0xF5 ? 4
                                       : 0;
  for (std::size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xC0u) != 0x80) return 0;
  const bool bad = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
                   (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
  return bad ? 0 : n;
}

}  // namespace

std::string one_line(std::string_view message, std::size_t most) {
  std::string out;
  for (std::size_t at = 0; at < message.size();) {
    const std::size_t n = character_bytes(message, at);
    const auto c = static_cast<unsigned char>(message[at]);
    if (n == 0)
      out += "\xEF\xBF\xBD";
    else if (c == '\n')
      out += "\\n";
    else if (c == '\t')
      out += "\\t";
    else if (c < 0x20 || c == 0x7F)
      out += fmt::format("\\x{:02x}", c);
    else
      out += message.substr(at, n);
    at += std::max<std::size_t>(n, 1);
  }
  if (out.size() <= most) return out;
  const auto whole = [&](std::size_t at) {  // where a character begins
    while (at > 0 && (static_cast<unsigned char>(out[at]) & 0xC0u) == 0x80) --at;
    return at;
  };
  return out.substr(0, whole(most * 3 / 4)) + " … " + out.substr(whole(out.size() - most / 4));
}

void set_log_rank(int rank) { logger().rank = rank; }
void set_log_quiet(bool quiet) {
  logger().sink->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
}

void log_line(LogLevel level, std::string_view text) {
  const int rank = logger().rank;
  const std::string message = printable(text);  // it may quote a user's bytes
  switch (level) {
    case LogLevel::info:
      if (rank == 0) logger().sink->info("{}", message);
      break;
    case LogLevel::warning:
      if (rank == 0)
        logger().sink->warn("warning: {}", one_line(message));
      else
        logger().sink->warn("warning (rank {}): {}", rank, one_line(message));
      break;
    case LogLevel::error:
      logger().sink->error("{}", one_line(message));
      break;
  }
}

}  // namespace weft

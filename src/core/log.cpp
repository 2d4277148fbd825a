#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

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

}  // namespace

std::string one_line(std::string_view message, std::size_t most) {
  const std::string out = printable(message);
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

void log_line(LogLevel level, std::string_view message) {
  const int rank = logger().rank;
  switch (level) {
    case LogLevel::info:
      if (rank == 0) logger().sink->info("{}", printable(message));
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

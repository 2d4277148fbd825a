#include "core/log.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

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

void set_log_rank(int rank) { logger().rank = rank; }
void set_log_quiet(bool quiet) {
  logger().sink->set_level(quiet ? spdlog::level::warn : spdlog::level::info);
}

void log_line(LogLevel level, std::string_view message) {
  const int rank = logger().rank;
  switch (level) {
    case LogLevel::info:
      if (rank == 0) logger().sink->info("{}", message);
      break;
    case LogLevel::warning:
      if (rank == 0)
        logger().sink->warn("warning: {}", message);
      else
        logger().sink->warn("warning (rank {}): {}", rank, message);
      break;
    case LogLevel::error:
      logger().sink->error("{}", message);
      break;
  }
}

}  // namespace weft

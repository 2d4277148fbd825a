// Progress and warnings, to stderr. Rank 0 speaks; warnings of other ranks carry their number.
#pragma once

#include <fmt/format.h>

#include <string>
#include <string_view>

namespace weft {

enum class LogLevel { info, warning, error };

// The rank that messages of this process carry; set once after MPI has started.
void set_log_rank(int rank);
void set_log_quiet(bool quiet);  // no info lines

// As one line that any terminal and log can hold: what is not UTF-8 replaced, control characters
// escaped, cut in its middle where it is longer than `most` bytes. Names and values that a message
// quotes may be anything.
std::string one_line(std::string_view message, std::size_t most = 2000);

// Warnings and errors are made one_line().
void log_line(LogLevel level, std::string_view message);

template <class... Args>
void log_info(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::info, fmt::format(format, std::forward<Args>(args)...));
}
template <class... Args>
void log_warning(fmt::format_string<Args...> format, Args&&... args) {
  log_line(LogLevel::warning, fmt::format(format, std::forward<Args>(args)...));
}

}  // namespace weft

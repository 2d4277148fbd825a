// When this process's time is over, and by whose word.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>

namespace weft {

// Seconds of "S", "M:S" or "H:M:S", in which all but the first number are below 60; none of
// anything else.
std::optional<double> parse_walltime(std::string_view text);
// What --walltime says; UserError where it says something else, or nothing that lasts.
double checked_walltime(const std::string& text);

constexpr const char* kWalltimeHelp =
    "the time that there is, as seconds, MM:SS or HH:MM:SS since the process began; a PBS or Slurm "
    "job's own end counts too where it is earlier";

std::string duration_text(double seconds);  // "1 h 5 min", "2 min 10 s", "3.2 s"

class Deadline {
 public:
  Deadline() = default;                         // never
  Deadline(double left_s, std::string source);  // so many seconds from now; "--walltime 60"
  bool is_known() const { return known_; }
  double left_s() const;                       // infinite where it is never; may be negative
  double total_s() const { return total_s_; }  // from the process's begin
  const std::string& source() const { return source_; }
  std::string text() const;  // "20:15:07 by --walltime 60, in 58 s"

 private:
  bool known_ = false;
  std::chrono::steady_clock::time_point end_{};
  double total_s_ = 0;
  std::string source_;
};

}  // namespace weft

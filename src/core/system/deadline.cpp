#include "core/system/deadline.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>
#include <ctime>
#include <limits>
#include <utility>

#include "core/check.h"
#include "core/system/process.h"

namespace weft {

std::optional<double> parse_walltime(std::string_view text) {
  constexpr std::int64_t kMost = 1'000'000'000;  // thirty years: what follows is no time of a job
  std::int64_t seconds = 0;
  for (int part = 0;; ++part) {
    const std::size_t colon = text.find(':');
    const std::string_view digits = text.substr(0, colon);
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(digits.begin(), digits.end(), value);
    if (error != std::errc() || end != digits.end() || digits[0] == '-' || value > kMost ||
        part == 3 || (part > 0 && (value > 59 || digits.size() > 2)))
      return std::nullopt;
    seconds = seconds * 60 + value;
    if (seconds > kMost) return std::nullopt;
    if (colon == std::string_view::npos) return static_cast<double>(seconds);
    text.remove_prefix(colon + 1);
  }
}

double checked_walltime(const std::string& text) {
  const auto seconds = parse_walltime(text);
  CHECK_USER(seconds && *seconds > 0,
             "--walltime is '{}'; allowed: more than 0, as seconds, MM:SS or HH:MM:SS", text);
  return *seconds;
}

std::string duration_text(double seconds) {
  const auto whole = static_cast<std::int64_t>(std::llround(seconds));
  if (whole >= 3600) return fmt::format("{} h {} min", whole / 3600, whole / 60 % 60);
  if (whole >= 60) return fmt::format("{} min {} s", whole / 60, whole % 60);
  return seconds >= 10 ? fmt::format("{} s", whole) : fmt::format("{:.1f} s", seconds);
}

Deadline::Deadline(double left_s, std::string source)
    : known_(true),
      end_(std::chrono::steady_clock::now() +
           std::chrono::duration_cast<std::chrono::steady_clock::duration>(
               std::chrono::duration<double>(left_s))),
      total_s_(process_elapsed_s() + left_s),
      source_(std::move(source)) {}

double Deadline::left_s() const {
  if (!known_) return std::numeric_limits<double>::infinity();
  return std::chrono::duration<double>(end_ - std::chrono::steady_clock::now()).count();
}

std::string Deadline::text() const {
  if (!known_) return "never";
  const double left = left_s();
  const std::time_t at = std::time(nullptr) + static_cast<std::time_t>(std::llround(left));
  std::tm local{};
  localtime_r(&at, &local);
  char clock[32];
  std::strftime(clock, sizeof clock, "%F %T", &local);
  return fmt::format("{} by {}, {}", clock, source_,
                     left < 0 ? "which is over" : "in " + duration_text(left));
}

}  // namespace weft

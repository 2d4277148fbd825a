#include "report/axis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "report/amounts.h"

namespace weft::report {

double round_step(double range, int n) {
  const double least = range / n, power = std::pow(10.0, std::floor(std::log10(least)));
  for (const double factor : {1.0, 2.0, 5.0})
    if (factor * power >= least * (1 - 1e-9)) return factor * power;
  return 10 * power;
}

void Axis::fit(const std::vector<double>& values, int n_ticks) {
  low = std::numeric_limits<double>::infinity(), high = -low;
  for (const double v : values) {
    if (!std::isfinite(v) || (powers_of_two && v <= 0)) continue;
    low = std::min(low, v), high = std::max(high, v);
  }
  if (low > high) low = powers_of_two ? 1 : 0, high = 1;
  ticks.clear();
  if (powers_of_two) {
    fit_powers(n_ticks);
    return;
  }
  if (from_zero) low = std::min(low, 0.0), high = std::max(high, 0.0);
  if (high - low <= 1e-12 * std::max(std::abs(low), std::abs(high)))  // one value, or none
    low -= from_zero ? 0 : std::max(1e-9, std::abs(low) * 0.05),
        high += std::max(1e-9, std::abs(high) * 0.05);
  if (whole && high - low < 1) high = low + 1;
  step = round_step(high - low, n_ticks);
  if (whole) step = std::max(1.0, step);
  const double first = std::floor(low / step + 1e-9), last = std::ceil(high / step - 1e-9);
  for (double i = first; i <= last; ++i) ticks.push_back(i * step);
  if (whole) {  // counts fill their axis; ticks stand within
    ticks.erase(
        std::remove_if(ticks.begin(), ticks.end(), [&](double t) { return t < low || t > high; }),
        ticks.end());
    return;
  }
  low = first * step, high = last * step;
}

// From power to power where a value is one, else with a little room past the values.
void Axis::fit_powers(int n_ticks) {
  constexpr double kRoom = 0.12;
  const auto end = [](double exponent, double room) {
    const double round = std::round(exponent);
    return std::abs(exponent - round) < 1e-9 ? round : exponent + room;
  };
  double first = end(std::log2(low), -kRoom), last = end(std::log2(high), kRoom);
  if (std::floor(last) - std::ceil(first) < 1) first = std::floor(first), last = std::ceil(last);
  if (last - first < 1) first -= 1, last += 1;
  const double stride = std::max(1.0, std::ceil((last - first) / n_ticks));
  for (double e = std::ceil(first); e <= last; e += stride) ticks.push_back(std::exp2(e));
  low = std::exp2(first), high = std::exp2(last);
}

double Axis::at(double value) const {
  if (powers_of_two)
    return value > 0 ? std::log2(value / low) / std::log2(high / low)
                     : std::numeric_limits<double>::quiet_NaN();
  return (value - low) / (high - low);
}

std::string Axis::label(double tick) const {
  if (powers_of_two) return tick >= 1 ? grouped(tick) : fmt::format("{}", tick);
  double scale = 1, most = std::max(std::abs(low), std::abs(high));
  std::string behind;
  if (percent) {
    scale = 0.01, behind = " %";
  } else {
    constexpr const char* kPrefixes[] = {"", " k", " M", " G", " T", " P", " E"};
    std::size_t at = 0;
    while (most >= 10'000 && at + 1 < std::size(kPrefixes)) most /= 1000, scale *= 1000, ++at;
    behind = kPrefixes[at];
  }
  const double shown = step / scale;
  if (most / scale >= 1e7 || (shown < 1e-6 && tick != 0)) return fmt::format("{:.4g}", tick);
  const int decimals = std::clamp(static_cast<int>(std::ceil(-std::log10(shown) - 1e-9)), 0, 9);
  const double value = std::abs(tick) < step / 1e6 ? 0 : tick / scale;
  std::string text = fmt::format("{:.{}f}", value, decimals);
  if (decimals == 0 && std::abs(value) >= 1000) text = grouped(value);
  return tick == 0 && !percent ? "0" : text + behind;
}

}  // namespace weft::report

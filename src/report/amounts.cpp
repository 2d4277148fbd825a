#include "report/amounts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "core/utf8.h"

namespace weft::report {
namespace {

// Decimals that leave so many significant digits, rounded: 0.9996 has four digits before it
// is 1.00.
int decimals_of(double value, int digits) {
  if (value == 0) return 0;
  const std::string rounded = fmt::format("{:.{}e}", value, digits - 1);
  const int exponent = std::stoi(rounded.substr(rounded.find('e') + 1));
  return std::clamp(digits - 1 - exponent, 0, 12);
}

std::string with_groups(std::string text) {
  const std::size_t first = text.starts_with('-') ? 1 : 0;
  std::size_t end = text.find('.');
  if (end == std::string::npos) end = text.size();
  for (std::size_t at = end; at > first + 3;) {
    at -= 3;
    text.insert(at, 1, ',');
  }
  return text;
}

// What a terminal gives two columns: East Asian scripts and pictures, roughly.
bool is_wide(std::string_view character) {
  if (character.size() < 3) return false;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(character[i]); };
  if (character.size() == 4) return byte(0) == 0xF0 && byte(1) >= 0x9F;
  const unsigned code = (byte(0) & 0x0Fu) << 12 | (byte(1) & 0x3Fu) << 6 | (byte(2) & 0x3Fu);
  return (code >= 0x1100 && code <= 0x115F) || (code >= 0x2E80 && code <= 0xA4CF) ||
         (code >= 0xAC00 && code <= 0xD7A3) || (code >= 0xF900 && code <= 0xFAFF) ||
         (code >= 0xFE30 && code <= 0xFE6F) || (code >= 0xFF00 && code <= 0xFF60);
}

}  // namespace

std::string grouped(double value) {
  return std::isnan(value) ? kNothing : with_groups(fmt::format("{:.0f}", value));
}

std::string significant(double value, int digits) {
  if (std::isnan(value)) return kNothing;
  if (value != 0 && (std::abs(value) >= 1e15 || std::abs(value) < 1e-6))
    return fmt::format("{:.{}g}", value, digits);
  return with_groups(fmt::format("{:.{}f}", value, decimals_of(value, digits)));
}

std::string with_prefix(double value, const char* unit) {
  if (std::isnan(value)) return kNothing;
  constexpr const char* kPrefixes[] = {"", "k", "M", "G", "T", "P", "E"};
  std::size_t at = 0;
  while (std::abs(value) >= 999.5 && at + 1 < std::size(kPrefixes)) {
    value /= 1000;
    ++at;
  }
  const std::string behind = std::string(kPrefixes[at]) + unit;
  const std::string number =
      at == 0 && value == std::floor(value) ? fmt::format("{:.0f}", value) : significant(value, 3);
  return behind.empty() ? number : number + " " + behind;
}

std::string bytes_text(double value) { return with_prefix(value, "B"); }

std::string seconds_text(double value) {
  if (std::isnan(value)) return kNothing;
  if (value == 0) return "0 s";
  if (value < 1e-3) return significant(value * 1e6, 3) + " µs";
  if (value < 1) return significant(value * 1e3, 3) + " ms";
  if (value < 120) return significant(value, 3) + " s";
  const double minutes = std::round(value / 60);
  if (minutes < 120) return fmt::format("{:.0f} min", minutes);
  const double hours = std::floor(minutes / 60);
  return fmt::format("{} h {:02.0f} min", grouped(hours), minutes - 60 * hours);
}

std::string percent(double share) {
  return std::isnan(share) ? kNothing : fmt::format("{:.1f} %", 100 * share);
}

std::string loss_text(double value) {
  if (std::isnan(value)) return kNothing;
  return std::abs(value) < 1e6 ? fmt::format("{:.4f}", value) : fmt::format("{:.4g}", value);
}

std::vector<int> tenths_of_percent(const std::vector<double>& shares) {
  const double sum = std::accumulate(shares.begin(), shares.end(), 0.0);
  std::vector<int> tenths(shares.size());
  if (!(sum > 0)) return tenths;
  std::vector<std::size_t> order(shares.size());
  std::iota(order.begin(), order.end(), 0);
  std::vector<double> left(shares.size());
  int total = 0;
  for (std::size_t i = 0; i < shares.size(); ++i) {
    const double exact = 1000 * shares[i] / sum;
    tenths[i] = static_cast<int>(std::floor(exact));
    left[i] = exact - tenths[i];
    total += tenths[i];
  }
  std::stable_sort(order.begin(), order.end(),
                   [&](std::size_t a, std::size_t b) { return left[a] > left[b]; });
  for (std::size_t i = 0; total < 1000; ++i, ++total) ++tenths[order[i % order.size()]];
  return tenths;
}

std::string tenths_text(int tenths) { return fmt::format("{}.{}", tenths / 10, tenths % 10); }

std::size_t columns_of(const std::string& text) {
  std::size_t columns = 0;
  for (std::size_t at = 0, n; at < text.size(); at += n) {
    n = shown_character_at(text, at).bytes;
    columns += is_wide(std::string_view(text).substr(at, n)) ? 2 : 1;
  }
  return columns;
}

std::string shortened(const std::string& text, std::size_t most) {
  if (columns_of(text) <= most || most < 3) return text;
  std::vector<std::string_view> characters;
  for (std::size_t at = 0, n = 0; at < text.size(); at += n) {
    n = shown_character_at(text, at).bytes;
    characters.push_back(std::string_view(text).substr(at, n));
  }
  std::size_t used = 1, front = 0, back = characters.size();
  for (bool first = true; front < back; first = !first) {  // from both ends in turn
    const std::size_t next = columns_of(std::string(characters[first ? front : back - 1]));
    if (used + next > most) break;
    used += next;
    if (first)
      ++front;
    else
      --back;
  }
  std::string out;
  for (std::size_t i = 0; i < front; ++i) out += characters[i];
  out += "…";
  for (std::size_t i = back; i < characters.size(); ++i) out += characters[i];
  return out;
}

}  // namespace weft::report

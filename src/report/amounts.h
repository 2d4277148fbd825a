// Numbers as a reader wants them: few digits, a unit, and parts of a whole that sum to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace weft::report {

constexpr const char* kNothing = "–";  // what a table shows where nothing is known

std::string grouped(double value);                        // 1,234,567
std::string significant(double value, int digits);        // 0.0123, 12.3, 1,230
std::string with_prefix(double value, const char* unit);  // 12.3 M, 1.5 GB
std::string bytes_text(double value);                     // 12.3 MB
std::string seconds_text(double value);                   // 4.2 ms, 12.3 s, 1 h 05 min
std::string percent(double share);                        // 34.5 %
std::string loss_text(double value);                      // 3.1416

// Shares of a whole in tenths of a percent that sum to 1000 exactly: the largest remainders are
// rounded up.
std::vector<int> tenths_of_percent(const std::vector<double>& shares);
std::string tenths_text(int tenths);  // 123: 12.3

// Columns that a text takes on a terminal: its characters, wide ones twice.
std::size_t columns_of(const std::string& text);
// Cut in its middle where it is wider.
std::string shortened(const std::string& text, std::size_t most);

}  // namespace weft::report

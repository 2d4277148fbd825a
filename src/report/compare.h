// Two runs beside each other.
#pragma once

#include <string>
#include <vector>

#include "report/run.h"

namespace weft::report {

struct Difference {
  std::string name, first, second;  // an option's values; empty: not there
};

struct Comparison {
  double speed_ratio = kUnknown;  // the second's tokens/s over the first's
  // of the steps that both have a loss of
  std::int64_t common = 0, equal = 0;  // steps; those whose losses are equal to the bit
  double largest = kUnknown;           // |difference of loss|
  std::int64_t largest_at = -1;        // its step
  std::int64_t first_unequal = -1;
  std::vector<std::pair<std::int64_t, double>> loss_differences;  // second - first, by step
  std::vector<Difference> options;
};

Comparison compare_runs(const Run& first, const Run& second);

}  // namespace weft::report

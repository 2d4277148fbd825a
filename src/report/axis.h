// An axis of a chart: where a value stands on it, and the round values that it is marked with.
#pragma once

#include <string>
#include <vector>

namespace weft::report {

struct Axis {
  std::string title;
  bool powers_of_two = false;  // logarithmic
  bool from_zero = false;
  bool whole = false;    // values are counts
  bool percent = false;  // values are shares of 1

  // Set by fit().
  double low = 0, high = 1, step = 1;
  std::vector<double> ticks;

  // Room for the values (those that are not finite, and on a logarithmic axis not positive, do not
  // count) and ticks, about so many.
  void fit(const std::vector<double>& values, int n_ticks);
  double at(double value) const;  // 0 at the low end, 1 at the high end; NaN where it has no place
  std::string label(double tick) const;

 private:
  void fit_powers(int n_ticks);
};

// 1, 2 or 5 times a power of ten: the least that cuts `range` into at most `n` parts.
double round_step(double range, int n);

}  // namespace weft::report

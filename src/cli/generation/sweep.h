// A sweep of `weft generate`: every combination of the options that are given as lists.
#pragma once

#include <string>
#include <vector>

#include "core/fields.h"

namespace weft {

struct SweepAxis {
  std::string flag;  // --temperature
  std::vector<std::string> values;
};

struct Sweep {
  std::vector<std::string> args;  // the command's, each list replaced by its axis' first value
  std::vector<std::size_t> at;    // of each axis, where in args its value is
  std::vector<SweepAxis> axes;    // --model first, the others as they were given

  std::size_t n_combinations() const;
  // The values of combination i, one an axis: the last axis changes fastest.
  std::vector<std::string> values(std::size_t i) const;
  std::vector<std::string> args_of(std::size_t i) const;
};

// Lists are values with commas ("0.2,0.7") of options of the group "generation" that take a number,
// of --seed, and of --model where no path is called so. No axes where there are none. UserErrors
// name the option: an empty value, too many combinations.
Sweep find_sweep(const std::vector<std::string>& args, const VisitFields& fields);

}  // namespace weft

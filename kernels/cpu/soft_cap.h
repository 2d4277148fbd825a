// cap·tanh(x/cap) and its slope, one element at a time; a cap of 0 is none.
#pragma once

#include <cmath>

namespace weft::cpu {

inline float capped(float x, float cap) { return cap == 0 ? x : cap * std::tanh(x / cap); }

inline float cap_slope(float x, float cap) {
  if (cap == 0) return 1;
  const float t = std::tanh(x / cap);
  return 1 - t * t;
}

}  // namespace weft::cpu

// What the emulated GPU's arithmetic may return where the host's is better, or may round otherwise.
#pragma once

#include <bit>
#include <cstdint>

namespace weft::emulation {

// x off by as many units in the last place, at most `ulps` either way, as a hash of `input` says:
// what an approximate instruction may return (CUDA C++ Programming Guide, mathematical functions).
inline float approximate(float x, int ulps, float input) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t size = bits & 0x7FFFFFFFu, most = static_cast<std::uint32_t>(ulps);
  if (size <= most || size + most >= 0x7F800000u) return x;  // 0, infinity, NaN and next to them
  std::uint32_t hash = std::bit_cast<std::uint32_t>(input) * 0x9E3779B1u;
  hash = (hash ^ hash >> 15) * 0x85EBCA77u;
  return std::bit_cast<float>(bits + (hash ^ hash >> 13) % (2 * most + 1) - most);
}

// Not to be contracted with what takes it.
inline float apart(float x) {
  asm("" : "+m"(x));
  return x;
}

}  // namespace weft::emulation

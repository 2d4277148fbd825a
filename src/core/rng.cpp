#include "core/rng.h"

#include <cmath>

namespace weft {

std::array<double, 2> normals(std::uint32_t a, std::uint32_t b) {
  const double radius = std::sqrt(-2.0 * std::log((a + 1.0) * 0x1p-32));  // above 0: a finite one
  const double angle = b * (2.0 * M_PI * 0x1p-32);
  return {radius * std::cos(angle), radius * std::sin(angle)};
}

std::uint64_t name_hash(std::string_view name) {
  std::uint64_t hash = 0xCBF29CE484222325ull;
  for (const char c : name) hash = (hash ^ static_cast<std::uint8_t>(c)) * 0x100000001B3ull;
  return hash;
}

}  // namespace weft

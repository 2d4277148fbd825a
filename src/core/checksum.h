// Checksums that depend on content alone: not on threads, ranks or the order of summing.
#pragma once

#include <cstdint>
#include <string_view>

#include "core/rng.h"

namespace weft {

// Of element i of a list: Σ of these, modulo 2^64, is the list's.
inline std::uint64_t element_checksum(std::uint64_t index, std::uint64_t bits) {
  return mix64(index * 0x9E3779B97F4A7C15ull ^ bits);
}

inline std::uint64_t text_checksum(std::string_view text) {
  std::uint64_t sum = text.size();
  for (std::size_t i = 0; i < text.size(); ++i)
    sum += mix64(i << 8 | static_cast<std::uint8_t>(text[i]));
  return sum;
}

}  // namespace weft

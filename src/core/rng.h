// Counter-based random numbers: Philox4x32-10 (Salmon et al., SC11). A number depends on its key
// and counter alone, never on how many were drawn before it, so any grid draws the same.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

namespace weft {

using Philox = std::array<std::uint32_t, 4>;

// One block of four random words.
inline Philox philox(std::uint64_t key, Philox counter) {
  auto k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = 0xD2511F53ull * counter[0], p1 = 0xCD9E8D57ull * counter[2];
    counter = {
        static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ k0, static_cast<std::uint32_t>(p1),
        static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ k1, static_cast<std::uint32_t>(p0)};
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  return counter;
}

// A word as a number in [0, 1), multiples of 2^-24.
inline float uniform(std::uint32_t word) { return static_cast<float>(word >> 8) * 0x1p-24f; }

// Two words as two independent normal numbers of mean 0 and deviation 1 (Box and Muller).
std::array<double, 2> normals(std::uint32_t a, std::uint32_t b);

// Of a tensor's name, for keys (FNV-1a).
std::uint64_t name_hash(std::string_view name);

// SplitMix64's finaliser: a bijective mix, for keys and checksums.
inline std::uint64_t mix64(std::uint64_t x) {
  x += 0x9E3779B97F4A7C15ull;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

}  // namespace weft

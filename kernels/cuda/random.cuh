// core/rng.h and kernels/cpu/dropout_mask-inl.h on the device: the same words, the same masks, bit
// for bit.
#pragma once

#include <cuda_runtime.h>

#include <cmath>
#include <cstdint>

#include "core/rng.h"
#include "kernels/ops.h"

namespace weft::cuda {

// Dropout as kernels are handed it.
struct DropoutMask {
  std::uint64_t key = 0;
  std::uint32_t threshold = 0;  // kept iff the word's upper 24 bits reach it; 0: all are kept
  float scale = 1;              // 1 / (1 - p)
  std::uint64_t first_sample = 0;
};

inline DropoutMask dropout_mask(const Dropout& drop) {
  return {mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site)),
          static_cast<std::uint32_t>(std::ceil(static_cast<double>(drop.p) * 0x1p24)),
          1.0f / (1.0f - drop.p), static_cast<std::uint64_t>(drop.first_sample)};
}

// philox(key, c) of core/rng.h, in place.
__device__ __forceinline__ void philox(std::uint64_t key, std::uint32_t& c0, std::uint32_t& c1,
                                       std::uint32_t& c2, std::uint32_t& c3) {
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
#pragma unroll
  for (int round = 0; round < 10; ++round) {
    const std::uint32_t high0 = __umulhi(0xD2511F53u, c0), low0 = 0xD2511F53u * c0,
                        high1 = __umulhi(0xCD9E8D57u, c2), low1 = 0xCD9E8D57u * c2;
    c0 = high1 ^ c1 ^ k0;
    c1 = low1;
    c2 = high0 ^ c3 ^ k1;
    c3 = low0;
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
}

// Words of elements 4·block … 4·block + 3 of the sequence.
__device__ __forceinline__ uint4 random_words(std::uint64_t key, std::uint64_t block,
                                              std::uint64_t sequence) {
  uint4 words = {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                 static_cast<std::uint32_t>(sequence), static_cast<std::uint32_t>(sequence >> 32)};
  philox(key, words.x, words.y, words.z, words.w);
  return words;
}

__device__ __forceinline__ float dropout_factor(const DropoutMask& mask, std::uint32_t word) {
  return (word >> 8) >= mask.threshold ? mask.scale : 0.0f;
}

// factor[i] = 1/(1-p) where element begin + i of sequence `row` of the batch is kept, else 0. kN is
// 1, or a multiple of 4 as begin then is.
template <int kN>
__device__ __forceinline__ void dropout_factors(float (&factor)[kN], const DropoutMask& mask,
                                                std::int64_t row, std::int64_t begin) {
  const std::uint64_t sequence = mask.first_sample + static_cast<std::uint64_t>(row),
                      block = static_cast<std::uint64_t>(begin) / 4;
  if constexpr (kN == 1) {
    const uint4 words = random_words(mask.key, block, sequence);
    const std::uint32_t low = begin & 1 ? words.y : words.x, high = begin & 1 ? words.w : words.z;
    factor[0] = dropout_factor(mask, begin & 2 ? high : low);
  } else {
    static_assert(kN % 4 == 0);
#pragma unroll
    for (int i = 0; i < kN; i += 4) {
      const uint4 words =
          random_words(mask.key, block + static_cast<std::uint64_t>(i / 4), sequence);
      factor[i] = dropout_factor(mask, words.x);
      factor[i + 1] = dropout_factor(mask, words.y);
      factor[i + 2] = dropout_factor(mask, words.z);
      factor[i + 3] = dropout_factor(mask, words.w);
    }
  }
}

}  // namespace weft::cuda

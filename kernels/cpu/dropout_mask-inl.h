// Which elements dropout keeps, recomputed from the counter RNG wherever it is needed. Included
// once per SIMD target.
#if defined(WEFT_DROPOUT_MASK_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WEFT_DROPOUT_MASK_INL_H_
#undef WEFT_DROPOUT_MASK_INL_H_
#else
#define WEFT_DROPOUT_MASK_INL_H_
#endif

#include <hwy/highway.h>

#include <cmath>
#include <cstdint>

#include "core/rng.h"
#include "kernels/ops.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

struct DropoutKey {
  std::uint64_t key;
  std::uint32_t threshold;  // kept iff the word's upper 24 bits reach it
  float scale;              // 1 / (1 - p)
};

HWY_INLINE DropoutKey dropout_key(const Dropout& drop) {
  return {mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site)),
          static_cast<std::uint32_t>(std::ceil(static_cast<double>(drop.p) * 0x1p24)),
          1.0f / (1.0f - drop.p)};
}

// words[4·l + k] = word k of the Philox block first_block + l of sequence s, for one vector of l.
// Each 64-bit lane runs one block.
HWY_INLINE void philox_blocks(std::uint32_t* HWY_RESTRICT words, std::uint64_t key,
                              std::uint64_t first_block, std::uint64_t s) {
#if HWY_TARGET == HWY_SCALAR  // has no even lanes to multiply
  const Philox one = philox(
      key, {static_cast<std::uint32_t>(first_block), static_cast<std::uint32_t>(first_block >> 32),
            static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32)});
  for (std::size_t k = 0; k < 4; ++k) words[k] = one[k];
#else
  const hn::ScalableTag<std::uint64_t> d;
  const hn::Repartition<std::uint32_t, decltype(d)> d32;
  const std::size_t L = hn::Lanes(d);
  const auto low = hn::Set(d, 0xFFFFFFFFull);
  const auto block = hn::Add(hn::Iota(d, 0), hn::Set(d, first_block));
  auto c0 = hn::And(block, low), c1 = hn::ShiftRight<32>(block);
  auto c2 = hn::Set(d, s & 0xFFFFFFFFull), c3 = hn::Set(d, s >> 32);
  const auto m0 = hn::BitCast(d32, hn::Set(d, 0xD2511F53ull)),
             m1 = hn::BitCast(d32, hn::Set(d, 0xCD9E8D57ull));
  std::uint32_t k0 = static_cast<std::uint32_t>(key), k1 = static_cast<std::uint32_t>(key >> 32);
  for (int round = 0; round < 10; ++round) {
    const auto p0 = hn::MulEven(m0, hn::BitCast(d32, c0)),
               p1 = hn::MulEven(m1, hn::BitCast(d32, c2));
    c0 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p1), c1), hn::Set(d, std::uint64_t{k0}));
    c2 = hn::Xor(hn::Xor(hn::ShiftRight<32>(p0), c3), hn::Set(d, std::uint64_t{k1}));
    c1 = hn::And(p1, low);
    c3 = hn::And(p0, low);
    k0 += 0x9E3779B9u;
    k1 += 0xBB67AE85u;
  }
  HWY_ALIGN std::uint64_t lanes[4][HWY_MAX_BYTES / 8];
  hn::Store(c0, d, lanes[0]);
  hn::Store(c1, d, lanes[1]);
  hn::Store(c2, d, lanes[2]);
  hn::Store(c3, d, lanes[3]);
  for (std::size_t l = 0; l < L; ++l)
    for (std::size_t k = 0; k < 4; ++k) words[4 * l + k] = static_cast<std::uint32_t>(lanes[k][l]);
#endif
}

// factor[i] = 1/(1-p) where element begin + i of sequence s is kept, else 0.
HWY_INLINE void dropout_factors(float* HWY_RESTRICT factor, const DropoutKey& key, std::uint64_t s,
                                std::int64_t begin, std::int64_t n) {
  const auto L = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<std::uint64_t>()));
  std::uint32_t words[HWY_MAX_BYTES / 8 * 4];
  for (std::int64_t block = begin / 4; block * 4 < begin + n; block += L) {
    philox_blocks(words, key.key, static_cast<std::uint64_t>(block), s);
    const std::int64_t at = block * 4 - begin;  // of words[0]
    const std::int64_t from = at < 0 ? -at : 0, to = at + 4 * L > n ? n - at : 4 * L;
    for (std::int64_t k = from; k < to; ++k)
      factor[at + k] = (words[k] >> 8) >= key.threshold ? key.scale : 0.0f;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();
#endif

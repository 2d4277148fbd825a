// Keys and values as a cache holds them, widened to fp32 in registers, and what attention over one
// query shares with attention over a tile of them. Included once per SIMD target.
#if defined(WEFT_CACHED_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WEFT_CACHED_ROWS_INL_H_
#undef WEFT_CACHED_ROWS_INL_H_
#else
#define WEFT_CACHED_ROWS_INL_H_
#endif

#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <cstring>

#include "kernels/cpu/attention_tile.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// A token's D keys or values of one head. load(d, c): element c and those behind it that fill a
// vector; at(c): one element. Both give the same bits.
struct WideRow {
  static constexpr std::int64_t kElemBytes = sizeof(float);
  const float* row;
  WideRow(const void* rows, std::int64_t elem, std::int64_t /*D*/)
      : row(static_cast<const float*>(rows) + elem) {}
  template <class V>
  HWY_INLINE hn::Vec<V> load(V d, std::int64_t c) const {
    return hn::LoadU(d, row + c);
  }
  float at(std::int64_t c) const { return row[c]; }
};

struct Bf16Row {
  static constexpr std::int64_t kElemBytes = sizeof(BFloat16);
  const BFloat16* row;
  Bf16Row(const void* rows, std::int64_t elem, std::int64_t /*D*/)
      : row(static_cast<const BFloat16*>(rows) + elem) {}
  template <class V>
  HWY_INLINE hn::Vec<V> load(V d, std::int64_t c) const {
    const hn::Rebind<hwy::bfloat16_t, V> half;
    return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::bfloat16_t*>(row + c)));
  }
  float at(std::int64_t c) const { return to_float(row[c]); }
};

// D bytes, then the scale that they are multiplied by.
struct Int8Row {
  static constexpr std::int64_t kElemBytes = 1;
  const std::int8_t* row;
  float scale;
  Int8Row(const void* rows, std::int64_t elem, std::int64_t D)
      : row(static_cast<const std::int8_t*>(rows) + elem) {
    std::memcpy(&scale, row + D, sizeof scale);
  }
  template <class V>
  HWY_INLINE hn::Vec<V> load(V d, std::int64_t c) const {
    const hn::Rebind<std::int8_t, V> bytes;
    const hn::Rebind<std::int32_t, V> ints;
    return hn::Mul(hn::Set(d, scale),
                   hn::ConvertTo(d, hn::PromoteTo(ints, hn::LoadU(bytes, row + c))));
  }
  float at(std::int64_t c) const { return scale * static_cast<float>(row[c]); }
};

// body.operator()<Row>() for the cache's dtype.
template <class Body>
HWY_INLINE void with_row(DType kv, const Body& body) {
  if (kv == DType::f32)
    body.template operator()<WideRow>();
  else if (kv == DType::bf16)
    body.template operator()<Bf16Row>();
  else
    body.template operator()<Int8Row>();
}

// e^x; a NaN stays one, where Highway's Exp makes it 0.
template <class D, class V>
HWY_INLINE V exp_of(D d, V x) {
  return hn::IfThenElse(hn::IsNaN(x), x, hn::Exp(d, x));
}

// What q is multiplied by before it meets k: with a cap the product is what tanh takes.
HWY_INLINE float score_factor(float scale, float softcap) {
  return softcap > 0 ? scale / softcap : scale;
}

// s = cap·tanh(s) where s already holds score/cap; slope = 1 - tanh² unless null. Whole vectors of
// the first `columns` columns of (n_k, kTile).
HWY_INLINE void cap_tile(float* HWY_RESTRICT s, float* HWY_RESTRICT slope, std::int64_t n_k,
                         std::int64_t columns, float cap) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto factor = hn::Set(d, cap), one = hn::Set(d, 1.0f);
  for (std::int64_t j = 0; j < n_k; ++j)
    for (std::int64_t e = j * kTile; e < j * kTile + columns; e += L) {
      const auto t = hn::Tanh(d, hn::LoadU(d, s + e));
      hn::StoreU(hn::Mul(factor, t), d, s + e);
      if (slope) hn::StoreU(hn::NegMulAdd(t, t, one), d, slope + e);
    }
}

// Where key j and its value lie after row 0, in elements; they go on for the rest of j's tile.
HWY_INLINE std::int64_t key_offset(const HeadForward& h, std::int64_t j) {
  const std::int64_t row =
      h.pages.table ? h.pages.table[j / h.pages.size] * h.pages.size + j % h.pages.size : j;
  return row * h.kv_stride;
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();
#endif

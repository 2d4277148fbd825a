// Weights of any storage type as fp32. Included once per SIMD target.
#if defined(WEFT_WIDEN_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WEFT_WIDEN_INL_H_
#undef WEFT_WIDEN_INL_H_
#else
#define WEFT_WIDEN_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// A vector of weights.
HWY_INLINE hn::Vec<F> load(F d, const float* w) { return hn::LoadU(d, w); }
HWY_INLINE hn::Vec<F> load(F d, const BFloat16* w) {
  const hn::Rebind<hwy::bfloat16_t, F> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::bfloat16_t*>(w)));
}
HWY_INLINE hn::Vec<F> load(F d, const Float16* w) {
  const hn::Rebind<hwy::float16_t, F> half;
  return hn::PromoteTo(d, hn::LoadU(half, reinterpret_cast<const hwy::float16_t*>(w)));
}
inline float widen(float w) { return w; }
inline float widen(BFloat16 w) { return to_float(w); }
inline float widen(Float16 w) { return to_float(w); }

template <class W>
HWY_INLINE void widen_row(float* HWY_RESTRICT to, const W* HWY_RESTRICT from, std::int64_t n) {
  const F d;
  const auto lanes = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + lanes <= n; i += lanes) hn::StoreU(load(d, from + i), d, to + i);
  for (; i < n; ++i) to[i] = widen(from[i]);
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();
#endif

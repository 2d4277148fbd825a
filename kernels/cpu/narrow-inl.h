// fp32 to bf16. Included once per SIMD target.
#if defined(WEFT_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WEFT_NARROW_INL_H_
#undef WEFT_NARROW_INL_H_
#else
#define WEFT_NARROW_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>
#include <cstring>

#include "core/tensor.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {

// As to_bfloat16(), in a loop that the compiler vectorises.
HWY_INLINE void narrow_bf16(BFloat16* HWY_RESTRICT y, const float* HWY_RESTRICT x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    std::uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    const bool nan = (bits & 0x7FFFFFFFu) > 0x7F800000u;
    const std::uint32_t rounded = (bits + 0x7FFFu + ((bits >> 16) & 1u)) >> 16;
    y[i].bits = static_cast<std::uint16_t>(nan ? (bits >> 16) | 0x40u : rounded);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/dropout.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cstring>

#include "kernels/backends.h"
#include "kernels/cpu/dropout_mask-inl.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {

// Elements [begin, begin + n) of sequence s.
void DropoutRow(float* y, const float* x, const Dropout& drop, std::int64_t s, std::int64_t begin,
                std::int64_t n) {
  const DropoutKey key = dropout_key(drop);
  float factor[512];
  for (std::int64_t i = 0; i < n; i += 512) {
    const std::int64_t m = std::min<std::int64_t>(512, n - i);
    dropout_factors(factor, key, static_cast<std::uint64_t>(s), begin + i, m);
    for (std::int64_t j = 0; j < m; ++j) y[i + j] = x[i + j] * factor[j];
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(DropoutRow);

void dropout(View y, ConstView x, const Dropout& drop, Stream& stream) {
  if (drop.p == 0) {
    if (y.data() != x.data()) std::memcpy(y.data(), x.data(), x.bytes());
    return;
  }
  const auto [B, T, C] = x.dims<3>();
  const auto* in = x.as<float>();
  auto* out = y.as<float>();
  parallel_for(stream, B * T, row_grain(C),
               [&, T = T, C = C](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t r = begin; r < end; ++r) HWY_DYNAMIC_DISPATCH(DropoutRow)
                 (out + r * C, in + r * C, drop, drop.first_sample + r / T, r % T * C, C);
               });
}

}  // namespace weft::cpu
#endif

#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/elementwise.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/backends.h"
#include "kernels/cpu/narrow-inl.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

void SoftCapRun(float* y, const float* x, float cap, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto cap_v = hn::Set(d, cap);
  for (std::int64_t i = 0; i < n; i += L) {
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(n - i));
    const bool whole = i + L <= n;
    const auto in = whole ? hn::LoadU(d, x + i) : hn::MaskedLoad(mask, d, x + i);
    const auto out = hn::Mul(cap_v, hn::Tanh(d, hn::Div(in, cap_v)));
    if (whole)
      hn::StoreU(out, d, y + i);
    else
      hn::BlendedStore(out, mask, d, y + i);
  }
}

// Plain loops: the compiler vectorises them for each target.
void AddRun(float* y, const float* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] += x[i];
}
void ScaleRun(float* y, float s, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) y[i] *= s;
}
void WidenBf16(float* y, const BFloat16* x, std::int64_t n) {
  for (std::int64_t i = 0; i < n; ++i) {
    const std::uint32_t bits = static_cast<std::uint32_t>(x[i].bits) << 16;
    std::memcpy(y + i, &bits, 4);
  }
}
void NarrowBf16(BFloat16* y, const float* x, std::int64_t n) { narrow_bf16(y, x, n); }

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(SoftCapRun);
HWY_EXPORT(AddRun);
HWY_EXPORT(ScaleRun);
HWY_EXPORT(WidenBf16);
HWY_EXPORT(NarrowBf16);

namespace {

constexpr std::int64_t kGrain = 1 << 14;

float element(ConstView x, std::int64_t i) {
  if (x.dtype() == DType::f32) return x.as<float>()[i];
  return x.dtype() == DType::bf16 ? to_float(x.as<BFloat16>()[i]) : to_float(x.as<Float16>()[i]);
}

void set_element(View y, std::int64_t i, float value) {
  if (y.dtype() == DType::f32)
    y.as<float>()[i] = value;
  else if (y.dtype() == DType::bf16)
    y.as<BFloat16>()[i] = to_bfloat16(value);
  else
    y.as<Float16>()[i] = to_float16(value);
}

}  // namespace

void add(View y, ConstView x, Stream& stream) {
  parallel_for(stream, x.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(AddRun)(y.as<float>() + begin, x.as<float>() + begin, end - begin);
  });
}

void scale(View y, float s, Stream& stream) {
  parallel_for(stream, y.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(ScaleRun)(y.as<float>() + begin, s, end - begin);
  });
}

void soft_cap(View y, ConstView x, float cap, Stream& stream) {
  parallel_for(stream, y.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(SoftCapRun)
    (y.as<float>() + begin, x.as<float>() + begin, cap, end - begin);
  });
}

void convert(View y, ConstView x, Stream& stream) {
  const DType from = x.dtype(), to = y.dtype();
  parallel_for(stream, x.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t n = end - begin;
    const auto at = static_cast<std::size_t>(begin) * dtype_bytes(from);
    if (from == to)
      std::memcpy(static_cast<std::byte*>(y.data()) + at,
                  static_cast<const std::byte*>(x.data()) + at,
                  static_cast<std::size_t>(n) * dtype_bytes(from));
    else if (from == DType::bf16 && to == DType::f32)
      HWY_DYNAMIC_DISPATCH(WidenBf16)(y.as<float>() + begin, x.as<BFloat16>() + begin, n);
    else if (from == DType::f32 && to == DType::bf16)
      HWY_DYNAMIC_DISPATCH(NarrowBf16)(y.as<BFloat16>() + begin, x.as<float>() + begin, n);
    else
      for (std::int64_t i = begin; i < end; ++i) set_element(y, i, element(x, i));
  });
}

}  // namespace weft::cpu
#endif

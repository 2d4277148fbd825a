#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;

HWY_INLINE V sigmoid(F d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V clamped = hn::Max(x, hn::Set(d, -87.0f));  // below it exp(-x) overflows; the sigmoid is 0 to fp32 by then
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(clamped))));
}

// tanh form: y = x·σ(2u), u = sqrt(2/π)(x + 0.044715 x³), as 0.5·(1 + tanh u) = σ(2u)
constexpr float kTwoRoot2OverPi = 1.5957691216057308f, kCubic = 0.044715f;

struct GeluTanh {
  HWY_INLINE V value(F d, V x) const { return hn::Mul(x, sigmoid(d, twice_u(d, x))); }
  HWY_INLINE V slope(F d, V x) const {
    const V s = sigmoid(d, twice_u(d, x)), one = hn::Set(d, 1.0f);
    const V du = hn::Mul(hn::Set(d, kTwoRoot2OverPi), hn::MulAdd(hn::Set(d, 3 * kCubic), hn::Mul(x, x), one));
    return hn::Add(s, hn::Mul(hn::Mul(hn::Mul(x, s), hn::Sub(one, s)), du));
  }
  HWY_INLINE V twice_u(F d, V x) const {
    return hn::Mul(hn::Mul(hn::Set(d, kTwoRoot2OverPi), x), hn::MulAdd(hn::Set(d, kCubic), hn::Mul(x, x), hn::Set(d, 1.0f)));
  }
};

// erf by the rational approximation of Eigen's generic_fast_erf_float: within a few ulp on all of fp32.
HWY_INLINE V erf(F d, V x) {
  const V c = hn::Clamp(x, hn::Set(d, -4.0f), hn::Set(d, 4.0f)), z = hn::Mul(c, c);
  V p = hn::Set(d, -2.72614225801306e-10f);
  for (float a : {2.77068142495902e-08f, -2.10102402082508e-06f, -5.69250639462346e-05f, -7.34990630326855e-04f, -2.95459980854025e-03f,
                  -1.60960333262415e-02f})
    p = hn::MulAdd(p, z, hn::Set(d, a));
  V q = hn::Set(d, -1.45660718464996e-05f);
  for (float b : {-2.13374055278905e-04f, -1.68282697438203e-03f, -7.37332916720468e-03f, -1.42647390514189e-02f})
    q = hn::MulAdd(q, z, hn::Set(d, b));
  return hn::Div(hn::Mul(c, p), q);
}

struct GeluErf {  // y = x·Φ(x)
  HWY_INLINE V value(F d, V x) const { return hn::Mul(x, normal_cdf(d, x)); }
  HWY_INLINE V slope(F d, V x) const {
    const V density = hn::Mul(hn::Set(d, 0.3989422804014327f), hn::Exp(d, hn::Mul(hn::Set(d, -0.5f), hn::Mul(x, x))));
    return hn::MulAdd(x, density, normal_cdf(d, x));
  }
  HWY_INLINE V normal_cdf(F d, V x) const {
    return hn::MulAdd(hn::Set(d, 0.5f), erf(d, hn::Mul(x, hn::Set(d, 0.7071067811865476f))), hn::Set(d, 0.5f));
  }
};

// out[i] = f(i) for [0, n), the last few through a padded vector.
template <class Kind>
void forward(float* y, const float* x, std::int64_t n, const Kind& kind) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + L <= n; i += L) hn::StoreU(kind.value(d, hn::LoadU(d, x + i)), d, y + i);
  if (i == n) return;
  const auto mask = hn::FirstN(d, static_cast<std::size_t>(n - i));
  hn::BlendedStore(kind.value(d, hn::MaskedLoad(mask, d, x + i)), mask, d, y + i);
}

template <class Kind>
void backward(float* dx, const float* dy, const float* x, std::int64_t n, const Kind& kind) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + L <= n; i += L) hn::StoreU(hn::Mul(kind.slope(d, hn::LoadU(d, x + i)), hn::LoadU(d, dy + i)), d, dx + i);
  if (i == n) return;
  const auto mask = hn::FirstN(d, static_cast<std::size_t>(n - i));
  hn::BlendedStore(hn::Mul(kind.slope(d, hn::MaskedLoad(mask, d, x + i)), hn::MaskedLoad(mask, d, dy + i)), mask, d, dx + i);
}

void ActivationForward(float* y, const float* x, std::int64_t n, Activation kind) {
  if (kind == Activation::gelu_tanh) forward(y, x, n, GeluTanh());
  else forward(y, x, n, GeluErf());
}

void ActivationBackward(float* dx, const float* dy, const float* x, std::int64_t n, Activation kind) {
  if (kind == Activation::gelu_tanh) backward(dx, dy, x, n, GeluTanh());
  else backward(dx, dy, x, n, GeluErf());
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(ActivationForward);
HWY_EXPORT(ActivationBackward);

constexpr std::int64_t kGrain = 1 << 13;

void activation(View y, ConstView x, Activation kind, Stream& stream) {
  parallel_for(stream, x.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(ActivationForward)(y.as<float>() + begin, x.as<float>() + begin, end - begin, kind);
  });
}

void activation_backward(View dx, ConstView dy, ConstView x, Activation kind, Stream& stream) {
  parallel_for(stream, x.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    HWY_DYNAMIC_DISPATCH(ActivationBackward)(dx.as<float>() + begin, dy.as<float>() + begin, x.as<float>() + begin, end - begin, kind);
  });
}

}  // namespace weft::cpu
#endif

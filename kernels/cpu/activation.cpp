#include <cstring>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/activation.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <hwy/contrib/math/math-inl.h>

#include "kernels/backends.h"
#include "kernels/cpu/arguments.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;

HWY_INLINE V sigmoid(F d, V x) {
  const V one = hn::Set(d, 1.0f);
  const V clamped = hn::Max(
      x, hn::Set(d, -87.0f));  // below it exp(-x) overflows; the sigmoid is 0 to fp32 by then
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Neg(clamped))));
}

// tanh form: y = x·σ(2u), u = sqrt(2/π)(x + 0.044715 x³), as 0.5·(1 + tanh u) = σ(2u)
constexpr float kTwoRoot2OverPi = 1.5957691216057308f, kCubic = 0.044715f;

struct GeluTanh {
  HWY_INLINE V value(F d, V x) const { return hn::Mul(x, sigmoid(d, twice_u(d, x))); }
  HWY_INLINE V slope(F d, V x) const {
    const V s = sigmoid(d, twice_u(d, x)), one = hn::Set(d, 1.0f);
    const V du = hn::Mul(hn::Set(d, kTwoRoot2OverPi),
                         hn::MulAdd(hn::Set(d, 3 * kCubic), hn::Mul(x, x), one));
    return hn::Add(s, hn::Mul(hn::Mul(hn::Mul(x, s), hn::Sub(one, s)), du));
  }
  HWY_INLINE V twice_u(F d, V x) const {
    return hn::Mul(hn::Mul(hn::Set(d, kTwoRoot2OverPi), x),
                   hn::MulAdd(hn::Set(d, kCubic), hn::Mul(x, x), hn::Set(d, 1.0f)));
  }
};

// erf by the rational approximation of Eigen's generic_fast_erf_float: within a few ulp on all of
// fp32.
HWY_INLINE V erf(F d, V x) {
  const V c = hn::Clamp(x, hn::Set(d, -4.0f), hn::Set(d, 4.0f)), z = hn::Mul(c, c);
  V p = hn::Set(d, -2.72614225801306e-10f);
  for (float a : {2.77068142495902e-08f, -2.10102402082508e-06f, -5.69250639462346e-05f,
                  -7.34990630326855e-04f, -2.95459980854025e-03f, -1.60960333262415e-02f})
    p = hn::MulAdd(p, z, hn::Set(d, a));
  V q = hn::Set(d, -1.45660718464996e-05f);
  for (float b : {-2.13374055278905e-04f, -1.68282697438203e-03f, -7.37332916720468e-03f,
                  -1.42647390514189e-02f})
    q = hn::MulAdd(q, z, hn::Set(d, b));
  return hn::Div(hn::Mul(c, p), q);
}

struct Silu {  // y = x·σ(x)
  HWY_INLINE V value(F d, V x) const { return hn::Mul(x, sigmoid(d, x)); }
  HWY_INLINE V slope(F d, V x) const {
    const V s = sigmoid(d, x), one = hn::Set(d, 1.0f);
    return hn::Mul(s, hn::MulAdd(x, hn::Sub(one, s), one));
  }
};

struct Relu {
  HWY_INLINE V value(F d, V x) const { return hn::Max(x, hn::Zero(d)); }
  HWY_INLINE V slope(F d, V x) const {
    return hn::IfThenElseZero(hn::Gt(x, hn::Zero(d)), hn::Set(d, 1.0f));
  }
};

struct Tanh {
  HWY_INLINE V value(F d, V x) const { return hn::Tanh(d, x); }
  HWY_INLINE V slope(F d, V x) const {
    const V t = hn::Tanh(d, x);
    return hn::NegMulAdd(t, t, hn::Set(d, 1.0f));
  }
};

struct GeluErf {  // y = x·Φ(x)
  HWY_INLINE V value(F d, V x) const { return hn::Mul(x, normal_cdf(d, x)); }
  HWY_INLINE V slope(F d, V x) const {
    const V density = hn::Mul(hn::Set(d, 0.3989422804014327f),
                              hn::Exp(d, hn::Mul(hn::Set(d, -0.5f), hn::Mul(x, x))));
    return hn::MulAdd(x, density, normal_cdf(d, x));
  }
  HWY_INLINE V normal_cdf(F d, V x) const {
    return hn::MulAdd(hn::Set(d, 0.5f), erf(d, hn::Mul(x, hn::Set(d, 0.7071067811865476f))),
                      hn::Set(d, 0.5f));
  }
};

struct Whole {  // a whole vector in memory
  HWY_INLINE V load(F d, const float* p) const { return hn::LoadU(d, p); }
  HWY_INLINE void store(F d, V x, float* p) const { hn::StoreU(x, d, p); }
};
struct Part {  // the first few lanes; the others read as 0
  hn::Mask<F> mask;
  HWY_INLINE V load(F d, const float* p) const { return hn::MaskedLoad(mask, d, p); }
  HWY_INLINE void store(F d, V x, float* p) const { hn::BlendedStore(x, mask, d, p); }
};

// f(i, memory) for each vector of [0, n).
template <class Body>
HWY_INLINE void over_vectors(std::int64_t n, const Body& f) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  std::int64_t i = 0;
  for (; i + L <= n; i += L) f(i, Whole());
  if (i < n) f(i, Part{hn::FirstN(d, static_cast<std::size_t>(n - i))});
}

template <class Body>
HWY_INLINE void with_kind(Activation kind, const Body& f) {
  switch (kind) {
    case Activation::gelu_tanh:
      return f(GeluTanh());
    case Activation::gelu_erf:
      return f(GeluErf());
    case Activation::silu:
      return f(Silu());
    case Activation::relu:
      return f(Relu());
    case Activation::tanh:
      return f(Tanh());
  }
}

// x + bias, or x where there is no bias.
template <class Memory>
HWY_INLINE V biased(F d, const Memory& at, const float* x, const float* bias, std::int64_t i) {
  return bias ? hn::Add(at.load(d, x + i), at.load(d, bias + i)) : at.load(d, x + i);
}

template <class Memory>
HWY_INLINE void accumulate(F d, const Memory& at, V x, float* sum, std::int64_t i) {
  if (sum) at.store(d, hn::Add(at.load(d, sum + i), x), sum + i);
}

void ActivationRow(float* y, const float* x, const float* bias, std::int64_t n, Activation kind) {
  const F d;
  with_kind(kind, [&](const auto& act) {
    over_vectors(n, [&](std::int64_t i, const auto& at) {
      at.store(d, act.value(d, biased(d, at, x, bias, i)), y + i);
    });
  });
}

void ActivationBackwardRow(const ActivationGradRow& r, std::int64_t n, Activation kind) {
  const F d;
  with_kind(kind, [&](const auto& act) {
    over_vectors(n, [&](std::int64_t i, const auto& at) {
      const V dx = hn::Mul(act.slope(d, biased(d, at, r.x, r.bias, i)), at.load(d, r.dy + i));
      at.store(d, dx, r.dx + i);
      accumulate(d, at, dx, r.dbias, i);
    });
  });
}

void GatedActivationRow(float* y, const float* x, const float* bias, std::int64_t n,
                        Activation kind) {
  const F d;
  with_kind(kind, [&](const auto& act) {
    over_vectors(n, [&](std::int64_t i, const auto& at) {
      const V gate = biased(d, at, x, bias, i), up = biased(d, at, x, bias, n + i);
      at.store(d, hn::Mul(act.value(d, gate), up), y + i);
    });
  });
}

void GatedActivationBackwardRow(const ActivationGradRow& r, std::int64_t n, Activation kind) {
  const F d;
  with_kind(kind, [&](const auto& act) {
    over_vectors(n, [&](std::int64_t i, const auto& at) {
      const V gate = biased(d, at, r.x, r.bias, i), up = biased(d, at, r.x, r.bias, n + i),
              dy = at.load(d, r.dy + i);
      const V d_gate = hn::Mul(hn::Mul(act.slope(d, gate), up), dy),
              d_up = hn::Mul(act.value(d, gate), dy);
      at.store(d, d_gate, r.dx + i);
      at.store(d, d_up, r.dx + n + i);
      accumulate(d, at, d_gate, r.dbias, i);
      accumulate(d, at, d_up, r.dbias, n + i);
    });
  });
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(ActivationRow);
HWY_EXPORT(ActivationBackwardRow);
HWY_EXPORT(GatedActivationRow);
HWY_EXPORT(GatedActivationBackwardRow);

namespace {

constexpr std::int64_t kGrain = 1 << 13;

const float* bias_or_null(ConstView bias) { return bias.empty() ? nullptr : bias.as<float>(); }

// row(n, dbias) for each of N rows. dbias (empty, or `width` wide) is summed in pieces that depend
// on N alone, then added up in order.
template <class Row>
void backward_rows(const Gradient& dbias, std::int64_t N, std::int64_t width, Stream& stream,
                   const Row& row) {
  if (dbias.empty()) {
    parallel_for(stream, N, row_grain(width), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t n = begin; n < end; ++n) row(n, nullptr);
    });
    return;
  }
  const std::int64_t pieces = std::clamp<std::int64_t>(N / 32, 1, 64),
                     grain = std::max<std::int64_t>((N + pieces - 1) / pieces, 1);
  const std::size_t bytes = static_cast<std::size_t>(pieces * width) * sizeof(float);
  auto* partial = static_cast<float*>(stream.scratch(bytes));
  std::memset(partial, 0, bytes);
  parallel_for(stream, N, grain, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) row(n, partial + begin / grain * width);
  });
  join_pieces(dbias, partial, pieces, width, width);
}

}  // namespace

void activation(View y, ConstView x, ConstView bias, Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  if (bias.empty()) {  // the rows are one long row
    parallel_for(stream, N * F, kGrain, [&](std::int64_t begin, std::int64_t end) {
      HWY_DYNAMIC_DISPATCH(ActivationRow)
      (y.as<float>() + begin, x.as<float>() + begin, nullptr, end - begin, kind);
    });
    return;
  }
  parallel_for(stream, N, row_grain(F), [&, F = F](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) HWY_DYNAMIC_DISPATCH(ActivationRow)
    (y.as<float>() + n * F, x.as<float>() + n * F, bias.as<float>(), F, kind);
  });
}

void activation_backward(View dx, Gradient dbias, ConstView dy, ConstView x, ConstView bias,
                         Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  if (bias.empty() && dbias.empty()) {
    parallel_for(stream, N * F, kGrain, [&](std::int64_t begin, std::int64_t end) {
      const ActivationGradRow row = {dx.as<float>() + begin, nullptr, dy.as<float>() + begin,
                                     x.as<float>() + begin, nullptr};
      HWY_DYNAMIC_DISPATCH(ActivationBackwardRow)(row, end - begin, kind);
    });
    return;
  }
  backward_rows(dbias, N, F, stream, [&, F = F](std::int64_t n, float* sums) {
    const ActivationGradRow row = {dx.as<float>() + n * F, sums, dy.as<float>() + n * F,
                                   x.as<float>() + n * F, bias_or_null(bias)};
    HWY_DYNAMIC_DISPATCH(ActivationBackwardRow)(row, F, kind);
  });
}

void gated_activation(View y, ConstView x, ConstView bias, Activation kind, Stream& stream) {
  const auto [N, F] = y.dims<2>();
  parallel_for(stream, N, row_grain(2 * F), [&, F = F](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) HWY_DYNAMIC_DISPATCH(GatedActivationRow)
    (y.as<float>() + n * F, x.as<float>() + n * 2 * F, bias_or_null(bias), F, kind);
  });
}

void gated_activation_backward(View dx, Gradient dbias, ConstView dy, ConstView x, ConstView bias,
                               Activation kind, Stream& stream) {
  const auto [N, F] = dy.dims<2>();
  backward_rows(dbias, N, 2 * F, stream, [&, F = F](std::int64_t n, float* sums) {
    const ActivationGradRow row = {dx.as<float>() + n * 2 * F, sums, dy.as<float>() + n * F,
                                   x.as<float>() + n * 2 * F, bias_or_null(bias)};
    HWY_DYNAMIC_DISPATCH(GatedActivationBackwardRow)(row, F, kind);
  });
}

}  // namespace weft::cpu
#endif

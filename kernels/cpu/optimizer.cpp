#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/optimizer.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <vector>

#include "kernels/backends.h"
#include "kernels/cpu/arguments.h"
#include "kernels/cpu/narrow-inl.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

void AdamWRun(float* w, float* m, float* v, const float* g, BFloat16* copy, std::int64_t n,
              const AdamWFactors& f) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto scale = hn::Set(d, f.grad_scale), beta1 = hn::Set(d, f.beta1),
             beta2 = hn::Set(d, f.beta2), keep = hn::Set(d, f.keep), step = hn::Set(d, f.step),
             root = hn::Set(d, f.root), eps = hn::Set(d, f.eps);
  const auto rest1 = hn::Set(d, 1 - f.beta1), rest2 = hn::Set(d, 1 - f.beta2);
  for (std::int64_t i = 0; i < n; i += L) {
    const auto mask = hn::FirstN(d, static_cast<std::size_t>(n - i));
    const bool whole = i + L <= n;
    const auto load = [&](const float* p) {
      return whole ? hn::LoadU(d, p + i) : hn::MaskedLoad(mask, d, p + i);
    };
    const auto store = [&](hn::Vec<F> x, float* p) {
      if (whole)
        hn::StoreU(x, d, p + i);
      else
        hn::BlendedStore(x, mask, d, p + i);
    };
    const auto grad = hn::Mul(load(g), scale);
    const auto m_new = hn::MulAdd(beta1, load(m), hn::Mul(rest1, grad));
    const auto v_new = hn::MulAdd(beta2, load(v), hn::Mul(rest2, hn::Mul(grad, grad)));
    const auto denominator = hn::MulAdd(hn::Sqrt(v_new), root, eps);
    const auto w_new = hn::Sub(hn::Mul(load(w), keep), hn::Div(hn::Mul(step, m_new), denominator));
    store(m_new, m);
    store(v_new, v);
    store(w_new, w);
  }
  if (copy) narrow_bf16(copy, w, n);
}

// Σ x² of at most 4096 elements: fp32 in eight running vectors, added up in fp64.
double SquareRun(const float* x, std::int64_t n) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<F> s[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  std::int64_t i = 0;
  for (; i + 4 * L <= n; i += 4 * L)
    for (int k = 0; k < 4; ++k) {
      const auto value = hn::LoadU(d, x + i + k * L);
      s[k] = hn::MulAdd(value, value, s[k]);
    }
  double sum = 0;
  for (; i < n; ++i) sum += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  for (int k = 0; k < 4; ++k) sum += static_cast<double>(hn::GetLane(hn::SumOfLanes(d, s[k])));
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(AdamWRun);
HWY_EXPORT(SquareRun);

void adamw(std::span<const AdamWTensor> tensors, ConstView grad_scale, const AdamWArgs& args,
           Stream& stream) {
  const float scale = grad_scale.empty() ? 1.0f : *grad_scale.as<float>();
  const double correction1 =
      1 - std::pow(static_cast<double>(args.beta1), static_cast<double>(args.step));
  const double correction2 =
      1 - std::pow(static_cast<double>(args.beta2), static_cast<double>(args.step));
  struct Piece {
    const AdamWTensor* tensor;
    std::int64_t begin, size;
  };
  constexpr std::int64_t kPiece = 1 << 15;
  std::vector<Piece> pieces;
  for (const AdamWTensor& t : tensors)
    for (std::int64_t i = 0; i < t.weight.elems(); i += kPiece)
      pieces.push_back({&t, i, std::min(kPiece, t.weight.elems() - i)});
  parallel_for(
      stream, static_cast<std::int64_t>(pieces.size()), 1, [&](std::int64_t begin, std::int64_t) {
        const auto [t, at, size] = pieces[static_cast<std::size_t>(begin)];
        const AdamWFactors factors = {.grad_scale = scale,
                                      .beta1 = args.beta1,
                                      .beta2 = args.beta2,
                                      .keep = t->decay ? 1.0f - args.lr * args.weight_decay : 1.0f,
                                      .step = static_cast<float>(args.lr / correction1),
                                      .root = static_cast<float>(1 / std::sqrt(correction2)),
                                      .eps = args.eps};
        HWY_DYNAMIC_DISPATCH(AdamWRun)
        (t->weight.as<float>() + at, t->m.as<float>() + at, t->v.as<float>() + at,
         t->grad.as<float>() + at,
         t->weight_bf16.empty() ? nullptr : t->weight_bf16.as<BFloat16>() + at, size, factors);
      });
}

namespace {

double sum_of_squares_of_one(ConstView x, Stream& stream) {
  constexpr std::int64_t kPiece = 4096;
  const std::int64_t n = x.elems();
  std::vector<double> sums(static_cast<std::size_t>((n + kPiece - 1) / kPiece));
  const auto* values = x.as<float>();
  parallel_for(stream, n, 16 * kPiece, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; i += kPiece)
      sums[static_cast<std::size_t>(i / kPiece)] =
          HWY_DYNAMIC_DISPATCH(SquareRun)(values + i, std::min(kPiece, end - i));
  });
  double sum = 0;
  for (double s : sums) sum += s;
  return sum;
}

}  // namespace

void sum_of_squares(View total, std::span<const ConstView> tensors, Stream& stream) {
  double sum = 0;
  for (ConstView x : tensors) sum += sum_of_squares_of_one(x, stream);
  *total.as<double>() = sum;
}

void clip_scale(View scale, ConstView square, double max_norm, Stream&) {
  const double ratio = max_norm / (std::sqrt(*square.as<double>()) + 1e-6);
  *scale.as<float>() = max_norm > 0 && !(ratio > 1) ? static_cast<float>(ratio) : 1.0f;
}

}  // namespace weft::cpu
#endif

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/head_norm.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <cmath>
#include <cstring>

#include "kernels/backends.h"
#include "kernels/cpu/arguments.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scratch.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// out[h] = Σ_d a·b, or with a weight Σ_d a·(offset + weight)·b.
void HeadDotsToken(float* out, const float* a, const float* b, const HeadWeight& w) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto offset = hn::Set(d, w.offset);
  for (std::int64_t h = 0; h < w.n_heads; ++h, a += w.D, b += w.D) {
    const float* weight = w.weight ? w.weight + h * w.pitch : nullptr;
    auto total = hn::Zero(d);
    std::int64_t i = 0;
    for (; i + L <= w.D; i += L) {
      auto x = hn::LoadU(d, a + i);
      if (weight) x = hn::Mul(x, hn::Add(offset, hn::LoadU(d, weight + i)));
      total = hn::MulAdd(x, hn::LoadU(d, b + i), total);
    }
    float sum = hn::GetLane(hn::SumOfLanes(d, total));
    for (; i < w.D; ++i) sum += a[i] * (weight ? w.offset + weight[i] : 1.0f) * b[i];
    out[h] = sum;
  }
}

// x <- x·rstd[h]·(offset + weight)
void HeadNormToken(float* x, const float* rstd, const HeadWeight& w) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto offset = hn::Set(d, w.offset);
  for (std::int64_t h = 0; h < w.n_heads; ++h, x += w.D) {
    const float* weight = w.weight + h * w.pitch;
    const auto r = hn::Set(d, rstd[h]);
    std::int64_t i = 0;
    for (; i + L <= w.D; i += L)
      hn::StoreU(
          hn::Mul(hn::Mul(hn::LoadU(d, x + i), r), hn::Add(offset, hn::LoadU(d, weight + i))), d,
          x + i);
    for (; i < w.D; ++i) x[i] = x[i] * rstd[h] * (w.offset + weight[i]);
  }
}

// dy <- rstd[h]·(dy·(offset + weight) - x·mean[h]);  dweight += dy·x·rstd[h]
void HeadNormBackwardToken(float* dy, float* dweight, const float* x, const float* rstd,
                           const float* mean, const HeadWeight& w) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto offset = hn::Set(d, w.offset);
  for (std::int64_t h = 0; h < w.n_heads; ++h, x += w.D, dy += w.D) {
    const float* weight = w.weight + h * w.pitch;
    float* dw = dweight + h * w.pitch;
    const auto r = hn::Set(d, rstd[h]), m = hn::Set(d, mean[h]);
    std::int64_t i = 0;
    for (; i + L <= w.D; i += L) {
      const auto g = hn::LoadU(d, dy + i), raw = hn::LoadU(d, x + i);
      hn::StoreU(hn::MulAdd(g, hn::Mul(raw, r), hn::LoadU(d, dw + i)), d, dw + i);
      const auto scaled = hn::Mul(g, hn::Add(offset, hn::LoadU(d, weight + i)));
      hn::StoreU(hn::Mul(r, hn::NegMulAdd(raw, m, scaled)), d, dy + i);
    }
    for (; i < w.D; ++i) {
      const float g = dy[i];
      dw[i] += g * x[i] * rstd[h];
      dy[i] = rstd[h] * (g * (w.offset + weight[i]) - x[i] * mean[h]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(HeadDotsToken);
HWY_EXPORT(HeadNormToken);
HWY_EXPORT(HeadNormBackwardToken);

namespace {

HeadWeight weight_of(ConstView weight, std::int64_t D, const HeadNormArgs& args) {
  return {weight.empty() ? nullptr : weight.as<float>(), args.n_heads, D, args.whole ? D : 0,
          args.offset};
}

float sum_of(const float* x, std::int64_t n) {
  float sum = 0;
  for (std::int64_t i = 0; i < n; ++i) sum += x[i];
  return sum;
}

// rstd of each of a token's normed heads, and in backward rstd²·mean(dots), 0 of repeated ones.
void statistics(float* rstd, float* mean, const float* squares, const float* dots, std::int64_t G,
                std::int64_t D, const HeadNormArgs& args) {
  const std::int64_t n = args.whole ? G : 1;
  const auto elems = static_cast<float>(n * D);
  for (std::int64_t h = 0; h < args.n_heads; ++h) {
    if (args.whole && h > 0) {
      rstd[h] = rstd[0];
      if (mean) mean[h] = mean[0];
      continue;
    }
    rstd[h] = 1.0f / std::sqrt(sum_of(squares + h, n) / elems + args.eps);
    if (mean) mean[h] = rstd[h] * rstd[h] * (sum_of(dots + h, n) / elems);
  }
  if (mean) std::fill(mean, mean + args.n_repeated, 0.0f);
}

// Row n of (N, G): what dots() puts into the normed heads' columns, 0 in the others.
template <class Dots>
void fill_columns(View out, const HeadNormArgs& args, std::int64_t row_elems, Stream& stream,
                  const Dots& dots) {
  const auto [N, G] = out.dims<2>();
  parallel_for(stream, N, row_grain(row_elems), [&, G = G](std::int64_t begin, std::int64_t end) {
    for (std::int64_t n = begin; n < end; ++n) {
      float* row = out.as<float>() + n * G;
      std::fill(row, row + G, 0.0f);
      dots(row + args.place, n);
    }
  });
}

}  // namespace

void head_squares(View squares, ConstView heads, const HeadNormArgs& args, Stream& stream) {
  const auto [N, R, D] = heads.dims<3>();
  const HeadWeight none = weight_of(ConstView(), D, args);
  fill_columns(squares, args, args.n_heads * D, stream,
               [&, R = R, D = D](float* out, std::int64_t n) {
                 const float* x = heads.as<float>() + (n * R + args.first_row) * D;
                 HWY_DYNAMIC_DISPATCH(HeadDotsToken)(out, x, x, none);
                 std::fill(out, out + args.n_repeated, 0.0f);
               });
}

std::size_t head_norm_scratch_bytes(std::int64_t N, std::int64_t n_heads, std::int64_t head_dim) {
  const std::int64_t grain = row_grain(n_heads * head_dim);
  return static_cast<std::size_t>((N + grain - 1) / grain * n_heads) * sizeof(float);
}

void head_norm(View heads, View raw, ConstView squares, ConstView weight, const HeadNormArgs& args,
               Stream& stream) {
  const auto [N, R, D] = heads.dims<3>();
  const std::int64_t G = squares.dim(1), h = args.n_heads, grain = row_grain(h * D);
  const HeadWeight w = weight_of(weight, D, args);
  auto* room = static_cast<float*>(stream.scratch(head_norm_scratch_bytes(N, h, D)));
  parallel_for(stream, N, grain, [&, R = R, D = D](std::int64_t begin, std::int64_t end) {
    float* rstd = room + begin / grain * h;
    for (std::int64_t n = begin; n < end; ++n) {
      float* x = heads.as<float>() + (n * R + args.first_row) * D;
      statistics(rstd, nullptr, squares.as<float>() + n * G, nullptr, G, D, args);
      if (!raw.empty())
        std::memcpy(raw.as<float>() + n * h * D, x,
                    static_cast<std::size_t>(h * D) * sizeof(float));
      HWY_DYNAMIC_DISPATCH(HeadNormToken)(x, rstd, w);
    }
  });
}

void head_dots(View dots, ConstView dheads, ConstView raw, ConstView weight,
               const HeadNormArgs& args, Stream& stream) {
  const auto [N, R, D] = dheads.dims<3>();
  const std::int64_t h = args.n_heads;
  const HeadWeight w = weight_of(weight, D, args);
  fill_columns(dots, args, h * D, stream, [&, R = R, D = D](float* out, std::int64_t n) {
    HWY_DYNAMIC_DISPATCH(HeadDotsToken)
    (out, dheads.as<float>() + (n * R + args.first_row) * D, raw.as<float>() + n * h * D, w);
  });
}

void head_norm_backward(View dheads, Gradient dweight, ConstView raw, ConstView squares,
                        ConstView dots, ConstView weight, const HeadNormArgs& args,
                        Stream& stream) {
  const auto [N, R, D] = dheads.dims<3>();
  const std::int64_t G = squares.dim(1), h = args.n_heads, W = weight.elems();
  const HeadWeight w = weight_of(weight, D, args);
  // dweight is summed in pieces that depend on N alone, then added up in order.
  const std::int64_t pieces = std::clamp<std::int64_t>(N / 32, 1, 64),
                     grain = std::max<std::int64_t>((N + pieces - 1) / pieces, 1), room = W + 2 * h;
  const std::size_t bytes = static_cast<std::size_t>(pieces * room) * sizeof(float);
  auto* partial = static_cast<float*>(stream.scratch(bytes));
  std::memset(partial, 0, bytes);
  parallel_for(stream, N, grain, [&, R = R, D = D](std::int64_t begin, std::int64_t end) {
    float *dw = partial + begin / grain * room, *rstd = dw + W, *mean = rstd + h;
    for (std::int64_t n = begin; n < end; ++n) {
      statistics(rstd, mean, squares.as<float>() + n * G, dots.as<float>() + n * G, G, D, args);
      HWY_DYNAMIC_DISPATCH(HeadNormBackwardToken)
      (dheads.as<float>() + (n * R + args.first_row) * D, dw, raw.as<float>() + n * h * D, rstd,
       mean, w);
    }
  });
  join_pieces(dweight, partial, pieces, room, W);
}

}  // namespace weft::cpu
#endif

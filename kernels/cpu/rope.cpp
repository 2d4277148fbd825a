#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/rope.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;
using V = hn::Vec<F>;

HWY_INLINE void turn(V& a, V& b, V cos, V sin) {
  const V turned = hn::NegMulAdd(b, sin, hn::Mul(a, cos));
  b = hn::MulAdd(b, cos, hn::Mul(a, sin));
  a = turned;
}

HWY_INLINE void turn_one(float& a, float& b, float cos, float sin) {
  const float turned = a * cos - b * sin;
  b = b * cos + a * sin;
  a = turned;
}

// One token's heads: `n_heads` rows of D, of which the first 2·half dims are turned; direction is
// 1, or -1 to turn back.
void RopeToken(float* heads, const float* cos, const float* sin, std::int64_t n_heads,
               std::int64_t D, std::int64_t half, bool interleaved, float direction) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const V sign = hn::Set(d, direction);
  for (std::int64_t h = 0; h < n_heads; ++h) {
    float* x = heads + h * D;
    std::int64_t i = 0;
    V a, b;
    for (; i + L <= half; i += L) {
      const V c = hn::LoadU(d, cos + i), s = hn::Mul(sign, hn::LoadU(d, sin + i));
      if (interleaved) {
        hn::LoadInterleaved2(d, x + 2 * i, a, b);
        turn(a, b, c, s);
        hn::StoreInterleaved2(a, b, d, x + 2 * i);
      } else {
        a = hn::LoadU(d, x + i);
        b = hn::LoadU(d, x + half + i);
        turn(a, b, c, s);
        hn::StoreU(a, d, x + i);
        hn::StoreU(b, d, x + half + i);
      }
    }
    for (; i < half; ++i) {
      if (interleaved)
        turn_one(x[2 * i], x[2 * i + 1], cos[i], direction * sin[i]);
      else
        turn_one(x[i], x[half + i], cos[i], direction * sin[i]);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(RopeToken);

namespace {

void turn_heads(const char* op, View heads, ConstView positions, ConstView table,
                const RopeArgs& args, float direction, Stream& stream) {
  const auto [N, R, D] = heads.dims<3>();
  const std::int64_t S = table.dim(0), half = table.dim(2);
  const auto* position = positions.as<std::int32_t>();
  for (std::int64_t n = 0; n < N; ++n)
    CHECK(position[n] >= 0 && position[n] < S, "{}: position {} of token {}, of {}", op,
          position[n], n, S);
  parallel_for(stream, N, row_grain(args.n_heads * D),
               [&, R = R, D = D](std::int64_t begin, std::int64_t end) {
                 for (std::int64_t n = begin; n < end; ++n) {
                   const float* cos = table.as<float>() + position[n] * 2 * half;
                   HWY_DYNAMIC_DISPATCH(RopeToken)
                   (heads.as<float>() + n * R * D, cos, cos + half, args.n_heads, D, half,
                    args.interleaved, direction);
                 }
               });
}

}  // namespace

void rope(View heads, ConstView positions, ConstView table, const RopeArgs& args, Stream& stream) {
  turn_heads("rope", heads, positions, table, args, 1, stream);
}

void rope_backward(View heads, ConstView positions, ConstView table, const RopeArgs& args,
                   Stream& stream) {
  turn_heads("rope_backward", heads, positions, table, args, -1, stream);
}

}  // namespace weft::cpu
#endif

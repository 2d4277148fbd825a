// One warp's work on a tile of cached keys: 16 query vectors (query heads that share a KV head, of
// one or more rows) times the tile's keys, an online softmax, times the tile's values. Fragments as
// in attention_fragments.cuh.
//
// A query vector's bits do not depend on the tile of queries it is in: tensor cores treat a
// fragment's rows alike, every sum below runs in an order that only the widths fix, and no a·b + c
// is left to the compiler, which may round it once in one kernel and twice in another.
#pragma once

#include <cmath>

#include "kernels/cuda/attention_fragments.cuh"

namespace weft::cuda {

// A tile of keys or values in shared memory.
template <class T, int kWidth>
struct CacheTile : Tile<T, kWidth> {
  static constexpr int kKeys = kWidth * sizeof(T) > 256 ? 32 : 64,
                       kElems = kKeys * kWidth;  // fewer of wide ones, for registers' sake
};

struct RowPair {  // something of rows g and g + 8
  float of[2];
};

// What a query vector has seen so far: its largest score and the sum of 2^(score - max); this
// thread's share of the sum until join_quad.
struct SoftmaxState {
  RowPair max = {{-kInfinity, -kInfinity}}, sum = {{0, 0}};
};

// 2^(x - max), also where nothing has been seen yet and both are -infinity.
__device__ __forceinline__ float exp2_below(float x, float max) {
  return exp2_approx(x - (max == -kInfinity ? 0.0f : max));
}

// ---- scores

// s (16, 8 kTiles) = q kᵀ of the warp's 16 queries and keys [first_key, first_key + 8 kTiles) of
// the tile.
template <int kWidth, int kTiles>
__device__ __forceinline__ void multiply_keys(float (&s)[kTiles][4], const __nv_bfloat16* q,
                                              const __nv_bfloat16* k, int first_key) {
  using F = Fragments<__nv_bfloat16>;
  static_assert(kTiles % 2 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32, a_corner = F::corner_a<kWidth>(lane),
            b_corner = F::corner_rows<kWidth>(lane);
  clear(s);
#pragma unroll
  for (int column = 0; column < kWidth; column += F::kDepth) {
    F::A a;
    F::load_a<kWidth>(a, q, a_corner, 0, column);
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      F::B b;
      F::load_b_rows<kWidth>(b, k + first_key * kWidth, b_corner, 8 * n, column);
      F::multiply(s[n], s[n + 1], a, b);
    }
  }
}

// In fp32 the sums leave the tensor cores every 32 columns: these cut off what they do not hold.
// Tiles one by one, since a warp may have a single one.
template <int kWidth, int kTiles>
__device__ __forceinline__ void multiply_keys(float (&s)[kTiles][4], const float* q, const float* k,
                                              int first_key) {
  using F = Fragments<float>;
  using Layout = Tile<float, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % 32, corner = F::corner_rows<kWidth>(lane);
  constexpr int kSteps = 4;
  k += first_key * kWidth;
  clear(s);
#pragma unroll 1
  for (int column = 0; column < kWidth; column += F::kDepth * kSteps) {
    F::A a[kSteps];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
      F::load_a<kWidth>(a[step], q, corner, 0, column + F::kDepth * step);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      float part[4] = {0, 0, 0, 0};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const int chunk = column / 4 + 2 * step;
        F::multiply_one(part, a[step], k[Layout::shifted(corner, 8 * n, chunk)],
                        k[Layout::shifted(corner, 8 * n, chunk + 1)]);
      }
#pragma unroll
      for (int e = 0; e < 4; ++e) s[n][e] += part[e];
    }
  }
}

// ---- values

// acc (16, 8 kTiles) = acc·scale + p v,  v's columns from 8 first_tile on; p (16, keys of the
// tile).
template <int kWidth, int kTiles, int kKeyTiles>
__device__ __forceinline__ void multiply_values(float (&acc)[kTiles][4], const RowPair& scale,
                                                const float (&p)[kKeyTiles][4],
                                                const __nv_bfloat16* v, int first_tile) {
  using F = Fragments<__nv_bfloat16>;
  static_assert(kTiles % 2 == 0 && kKeyTiles % 2 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  // No carry: a warp's tiles begin at a multiple of their number.
  const int corner =
      Tile<__nv_bfloat16, kWidth>::shifted(F::corner_columns<kWidth>(lane), 0, first_tile);
  F::A a[kKeyTiles / 2];
#pragma unroll
  for (int step = 0; step < kKeyTiles / 2; ++step) F::to_a(a[step], p, step);
#pragma unroll
  for (int n = 0; n < kTiles; n += 2) {
    float part[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
#pragma unroll
    for (int step = 0; step < kKeyTiles / 2; ++step) {
      F::B b;
      F::load_b_columns<kWidth>(b, v, corner, F::kDepth * step, 8 * n);
      F::multiply(part[0], part[1], a[step], b);
    }
#pragma unroll
    for (int e = 0; e < 8; ++e)
      acc[n + e / 4][e % 4] = fmaf(acc[n + e / 4][e % 4], scale.of[e / 2 % 2], part[e / 4][e % 4]);
  }
}

// 32 keys at a time, for the tensor cores' rounding and for registers' sake.
template <int kWidth, int kTiles, int kKeyTiles>
__device__ __forceinline__ void multiply_values(float (&acc)[kTiles][4], const RowPair& scale,
                                                const float (&p)[kKeyTiles][4], const float* v,
                                                int first_tile) {
  using F = Fragments<float>;
  using Layout = Tile<float, kWidth>;
  constexpr int kSteps = 4;
  static_assert(kKeyTiles % kSteps == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const int even = Layout::offset(2 * t, 2 * first_tile + g / 4) + g % 4,
            odd = Layout::offset(2 * t + 1, 2 * first_tile + g / 4) + g % 4;
#pragma unroll
  for (int first = 0; first < kKeyTiles; first += kSteps) {
    F::A a[kSteps];
#pragma unroll
    for (int step = 0; step < kSteps; ++step) F::to_a(a[step], p, first + step);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      float part[4] = {0, 0, 0, 0};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const int row = 8 * (first + step);
        F::multiply_one(part, a[step], v[Layout::shifted(even, row, 2 * n)],
                        v[Layout::shifted(odd, row, 2 * n)]);
      }
#pragma unroll
      for (int e = 0; e < 4; ++e)
        acc[n][e] = first == 0 ? fmaf(acc[n][e], scale.of[e / 2], part[e]) : acc[n][e] + part[e];
    }
  }
}

// ---- softmax

// Scores, in units of log 2, become powers of 2 below their new maximum. Returns what the sums
// before are multiplied by.
template <int kTiles>
__device__ __forceinline__ RowPair online_softmax(float (&s)[kTiles][4], SoftmaxState& state) {
  RowPair scale;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float max = -kInfinity;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) max = fmaxf(max, fmaxf(s[n][2 * r], s[n][2 * r + 1]));
    max = fmaxf(state.max.of[r], quad_max(max));
    scale.of[r] = exp2_below(state.max.of[r], max);
    state.max.of[r] = max;
    float sum = 0;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      s[n][2 * r] = exp2_below(s[n][2 * r], max);
      s[n][2 * r + 1] = exp2_below(s[n][2 * r + 1], max);
      sum += s[n][2 * r] + s[n][2 * r + 1];
    }
    state.sum.of[r] = fmaf(state.sum.of[r], scale.of[r], sum);
  }
  return scale;
}

__device__ __forceinline__ void join_quad(SoftmaxState& state) {
#pragma unroll
  for (int r = 0; r < 2; ++r) state.sum.of[r] = quad_sum(state.sum.of[r]);
}

// Joins what one chunk of keys gave to what the chunks before it gave: the factors of both, and the
// state of both. A chunk in which nothing is seen changes nothing, and the first chunk joined to
// nothing is itself, to the bit.
__device__ __forceinline__ float2 join_chunk(float& max, float& sum, float chunk_max,
                                             float chunk_sum) {
  const float joined = fmaxf(max, chunk_max);
  const float2 factors = make_float2(exp2_below(max, joined), exp2_below(chunk_max, joined));
  max = joined;
  sum = fmaf(sum, factors.x, __fmul_rn(chunk_sum, factors.y));
  return factors;
}
__device__ __forceinline__ float join_value(float before, float chunk, const float2& factors) {
  return fmaf(before, factors.x, __fmul_rn(chunk, factors.y));
}

}  // namespace weft::cuda

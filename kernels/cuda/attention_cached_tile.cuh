// One warp's work on a tile of cached keys: 16 query vectors (query heads that share a KV head, of
// one or more rows) times the tile's keys, an online softmax, times the tile's values. Fragments as
// in instructions.cuh: a thread holds rows g and g + 8 of the 16, g = lane/4, and of every 8
// columns 2t and 2t + 1, t = lane%4.
//
// A query vector's bits do not depend on the tile of queries it is in: tensor cores treat a
// fragment's rows alike, every sum below runs in an order that only the widths fix, and no a·b + c
// is left to the compiler, which may round it once in one kernel and twice in another.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/cuda/instructions.cuh"

namespace weft::cuda {

// A tile of keys or values in shared memory: rows of kWidth elements (head dim padded), in units of
// 16 bytes. Unit u of row r lies at u ^ (r % 8), so that 8 rows' units of one column (ldmatrix), or
// words of it, fall on 32 different banks.
template <class T, int kWidth>
struct CacheTile {
  static constexpr int kUnit = 16 / static_cast<int>(sizeof(T)), kUnits = kWidth / kUnit;
  static constexpr int kKeys = kWidth * sizeof(T) > 256 ? 32 : 64,
                       kElems = kKeys * kWidth;  // fewer of wide ones, for registers' sake
  static_assert(kUnits % 8 == 0);

  static __device__ __forceinline__ int at(int row, int unit) {
    return row * kWidth + (unit ^ (row & 7)) * kUnit;
  }
  // From at(row, unit) to at(row + rows, unit + units) with `rows` a multiple of 8 and no bit that
  // both unit and units have: one exclusive or and a constant, where all addresses of an unrolled
  // loop would not fit into registers.
  static __device__ __forceinline__ int shifted(int offset, int rows, int units) {
    return (offset ^ (units & 7) * kUnit) + rows * kWidth + (units & ~7) * kUnit;
  }
};

struct RowPair {  // something of rows g and g + 8
  float of[2];
};

// What a query vector has seen so far: its largest score and the sum of 2^(score - max); this
// thread's share of the sum until join_quad.
struct SoftmaxState {
  RowPair max = {{-INFINITY, -INFINITY}}, sum = {{0, 0}};
};

// 2^(x - max), also where nothing has been seen yet and both are -infinity.
__device__ __forceinline__ float exp2_below(float x, float max) {
  return exp2_approx(x - (max == -INFINITY ? 0.0f : max));
}

__device__ __forceinline__ std::uint32_t bf16_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}
__device__ __forceinline__ void store_two(__nv_bfloat16* to, float low, float high) {
  *reinterpret_cast<std::uint32_t*>(to) = bf16_pair(low, high);
}
__device__ __forceinline__ void store_two(float* to, float low, float high) {
  *reinterpret_cast<float2*>(to) = make_float2(low, high);
}

// fp32 as the sum of two tf32 numbers, to 2^-22.  x y ≈ lo hi + hi lo + hi hi, the small products
// first.
struct SplitFloat {
  std::uint32_t hi, lo;
};
__device__ __forceinline__ SplitFloat split_tf32(float x) {
  const std::uint32_t hi = to_tf32(x);
  return {hi, to_tf32(x - __uint_as_float(hi))};
}
__device__ __forceinline__ void mma_split(float (&d)[4], const std::uint32_t (&a_hi)[4],
                                          const std::uint32_t (&a_lo)[4], float b0, float b1) {
  const SplitFloat low = split_tf32(b0), high = split_tf32(b1);
  const std::uint32_t b_hi[2] = {low.hi, high.hi}, b_lo[2] = {low.lo, high.lo};
  mma_m16n8k8_tf32(d, a_lo, b_hi);
  mma_m16n8k8_tf32(d, a_hi, b_lo);
  mma_m16n8k8_tf32(d, a_hi, b_hi);
}

// ---- scores

// s (16, 8 kTiles) = q kᵀ of the warp's 16 queries and keys [first_key, first_key + 8 kTiles) of
// the tile.
template <int kWidth, int kTiles>
__device__ __forceinline__ void multiply_keys(float (&s)[kTiles][4], const __nv_bfloat16* q,
                                              const __nv_bfloat16* k, int first_key) {
  using Tile = CacheTile<__nv_bfloat16, kWidth>;
  static_assert(kTiles % 2 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int a_corner = Tile::at(lane % 16, lane / 16),
            b_corner = Tile::at(first_key + lane / 16 * 8 + lane % 8, lane / 8 % 2);
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) s[n][e] = 0;
#pragma unroll
  for (int column = 0; column < kWidth; column += 16) {
    std::uint32_t a[4];
    load_matrix_x4(a, q + Tile::shifted(a_corner, 0, column / 8));
#pragma unroll
    for (int n = 0; n < kTiles; n += 2) {
      std::uint32_t b[4];
      load_matrix_x4(b, k + Tile::shifted(b_corner, 8 * n, column / 8));
      const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
      mma_m16n8k16(s[n], a, b0);
      mma_m16n8k16(s[n + 1], a, b1);
    }
  }
}

// In fp32 the sums leave the tensor cores every 32 columns: these may cut off what an addition does
// not hold, where fp32 rounds.
template <int kWidth, int kTiles>
__device__ __forceinline__ void multiply_keys(float (&s)[kTiles][4], const float* q, const float* k,
                                              int first_key) {
  using Tile = CacheTile<float, kWidth>;
  const int lane = static_cast<int>(threadIdx.x) % 32, corner = Tile::at(lane / 4, 0) + lane % 4;
  constexpr int kSteps = 4;
  k += first_key * kWidth;
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) s[n][e] = 0;
#pragma unroll 1
  for (int column = 0; column < kWidth; column += 8 * kSteps) {
    std::uint32_t hi[kSteps][4], lo[kSteps][4];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const SplitFloat x =
            split_tf32(q[Tile::shifted(corner, 8 * (i % 2), column / 4 + 2 * step + i / 2)]);
        hi[step][i] = x.hi;
        lo[step][i] = x.lo;
      }
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      float part[4] = {0, 0, 0, 0};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const int unit = column / 4 + 2 * step;
        mma_split(part, hi[step], lo[step], k[Tile::shifted(corner, 8 * n, unit)],
                  k[Tile::shifted(corner, 8 * n, unit + 1)]);
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
  using Tile = CacheTile<__nv_bfloat16, kWidth>;
  static_assert(kTiles % 2 == 0 && kKeyTiles % 2 == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32,
            corner = Tile::at(lane % 16, first_tile + lane / 16);
  std::uint32_t a[kKeyTiles / 2][4];
#pragma unroll
  for (int n = 0; n < kKeyTiles; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half)
      a[n / 2][2 * (n % 2) + half] = bf16_pair(p[n][2 * half], p[n][2 * half + 1]);
#pragma unroll
  for (int n = 0; n < kTiles; n += 2) {
    float part[2][4] = {{0, 0, 0, 0}, {0, 0, 0, 0}};
#pragma unroll
    for (int step = 0; step < kKeyTiles / 2; ++step) {
      std::uint32_t b[4];
      load_matrix_x4_transposed(b, v + Tile::shifted(corner, 16 * step, n));
      const std::uint32_t b0[2] = {b[0], b[1]}, b1[2] = {b[2], b[3]};
      mma_m16n8k16(part[0], a[step], b0);
      mma_m16n8k16(part[1], a[step], b1);
    }
#pragma unroll
    for (int e = 0; e < 8; ++e)
      acc[n + e / 4][e % 4] = fmaf(acc[n + e / 4][e % 4], scale.of[e / 2 % 2], part[e / 4][e % 4]);
  }
}

// The order of keys within a sum is free, so an accumulator's columns 2t and 2t + 1 are taken as
// the operand's t and t + 4: no lane needs another's p. 32 keys at a time, for the tensor cores'
// rounding and for registers' sake.
template <int kWidth, int kTiles, int kKeyTiles>
__device__ __forceinline__ void multiply_values(float (&acc)[kTiles][4], const RowPair& scale,
                                                const float (&p)[kKeyTiles][4], const float* v,
                                                int first_tile) {
  using Tile = CacheTile<float, kWidth>;
  constexpr int kSteps = 4;
  static_assert(kKeyTiles % kSteps == 0);
  const int lane = static_cast<int>(threadIdx.x) % 32, g = lane / 4, t = lane % 4;
  const int even = Tile::at(2 * t, 2 * first_tile + g / 4) + g % 4,
            odd = Tile::at(2 * t + 1, 2 * first_tile + g / 4) + g % 4;
#pragma unroll
  for (int first = 0; first < kKeyTiles; first += kSteps) {
    std::uint32_t hi[kSteps][4], lo[kSteps][4];
#pragma unroll
    for (int step = 0; step < kSteps; ++step)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        const SplitFloat x = split_tf32(p[first + step][2 * (i % 2) + i / 2]);
        hi[step][i] = x.hi;
        lo[step][i] = x.lo;
      }
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      float part[4] = {0, 0, 0, 0};
#pragma unroll
      for (int step = 0; step < kSteps; ++step) {
        const int row = 8 * (first + step);
        mma_split(part, hi[step], lo[step], v[Tile::shifted(even, row, 2 * n)],
                  v[Tile::shifted(odd, row, 2 * n)]);
      }
#pragma unroll
      for (int e = 0; e < 4; ++e)
        acc[n][e] = first == 0 ? fmaf(acc[n][e], scale.of[e / 2], part[e]) : acc[n][e] + part[e];
    }
  }
}

// ---- softmax

// Over the four lanes that share rows g and g + 8.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullWarp, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(kFullWarp, x, 1);
  return x + __shfl_xor_sync(kFullWarp, x, 2);
}

// Scores, in units of log 2, become powers of 2 below their new maximum. Returns what the sums
// before are multiplied by.
template <int kTiles>
__device__ __forceinline__ RowPair online_softmax(float (&s)[kTiles][4], SoftmaxState& state) {
  RowPair scale;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    float max = -INFINITY;
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

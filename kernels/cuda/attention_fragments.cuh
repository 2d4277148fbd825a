// What attention's kernels share, those of training and those of the cache: swizzled tiles in
// shared memory, tensor-core fragments of either dtype and products of them. Layouts of fragments
// as in instructions.cuh: g = lane/4, t = lane%4; a lane holds rows g and g + 8 of 16, and of every
// 8 columns 2t and 2t + 1.
#pragma once

#include <cstdint>
#include <cstring>
#include <limits>

#include "kernels/cuda/instructions.cuh"

namespace weft::cuda {

constexpr float kLog2E = 1.44269504088896341f;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Span {  // of keys or queries
  int begin, end;
};

// ---- tiles

// A tile is rows of kWidth elements in 16-byte chunks; chunk c of row r lies at c ^ (bits of r), so
// that the same chunk of 8 rows in turn (ldmatrix), or 8 rows' words in it, fall on 32 different
// banks.
template <class T, int kWidth>
struct Tile {
  static constexpr int kChunk = 16 / static_cast<int>(sizeof(T)), kChunks = kWidth / kChunk;
  static constexpr int kMask =
      kChunks % 8 == 0
          ? 7
          : 3;  // 3: a row is an odd number of half banks' widths, and its parity picks the half
  static constexpr int kUnrollDepth = sizeof(T) == 4 ? 1
                                      : kWidth == 96 ? 2
                                                     : 16;  // more would spill
  static_assert(kChunks % (kMask + 1) == 0);

  static __device__ __forceinline__ int offset(int row, int chunk) {
    return row * kWidth + (chunk ^ (row >> (kMask == 7 ? 0 : 1) & kMask)) * kChunk;
  }
  // The offset of a place `rows` (a multiple of 8) and `chunks` away from one in the first 8 rows
  // and first two chunks (or, for an even number of chunks, in one of them): an exclusive or and a
  // constant.
  static __device__ __forceinline__ int shifted(int offset, int rows, int chunks) {
    return (offset ^ (chunks & kMask) * kChunk) + rows * kWidth + (chunks & ~kMask) * kChunk;
  }
};

// Two elements side by side.
__device__ __forceinline__ std::uint32_t bf16_pair(float low, float high) {
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);
  std::uint32_t bits;
  memcpy(&bits, &pair, sizeof(bits));
  return bits;
}
__device__ __forceinline__ void store_pair(__nv_bfloat16* to, float low, float high) {
  const std::uint32_t bits = bf16_pair(low, high);
  *reinterpret_cast<std::uint32_t*>(to) = bits;
}
__device__ __forceinline__ void store_pair(float* to, float low, float high) {
  *reinterpret_cast<float2*>(to) = make_float2(low, high);
}

// ---- fragments

// Operands of the tensor cores: A is 16 rows by kDepth, B is kDepth by two tiles of 8 columns. B
// comes from a tile's rows (x yᵀ) or from its columns (p y); p is the accumulators of a product
// before, in registers.
template <class T>
struct Fragments;

template <>
struct Fragments<__nv_bfloat16> {
  using T = __nv_bfloat16;
  static constexpr int kDepth = 16;
  static constexpr bool kFlushes = false;  // whether sums leave the tensor core
  static constexpr int kSumSteps = 1;      // of kDepth in p y
  struct A {
    std::uint32_t r[4];
  };
  struct B {
    std::uint32_t r[4];  // b[0], b[1] of the first tile, then of the second
  };

  // Where a lane's part of the fragment at the tile's corner lies.
  template <int kWidth>
  static __device__ __forceinline__ int corner_a(int lane) {
    return Tile<T, kWidth>::offset(lane & 15, lane >> 4);
  }
  template <int kWidth>
  static __device__ __forceinline__ int corner_rows(int lane) {
    return Tile<T, kWidth>::offset((lane & 7) + (lane >> 4 << 3), lane >> 3 & 1);
  }
  template <int kWidth>
  static __device__ __forceinline__ int corner_columns(int lane) {
    return Tile<T, kWidth>::offset(lane & 15, lane >> 4);
  }

  template <int kWidth>
  static __device__ __forceinline__ void load_a(A& a, const T* tile, int corner, int row, int k) {
    load_matrix_x4(a.r, tile + Tile<T, kWidth>::shifted(corner, row, k / 8));
  }
  template <int kWidth>
  static __device__ __forceinline__ void load_b_rows(B& b, const T* tile, int corner, int n,
                                                     int k) {
    load_matrix_x4(b.r, tile + Tile<T, kWidth>::shifted(corner, n, k / 8));
  }
  template <int kWidth>
  static __device__ __forceinline__ void load_b_columns(B& b, const T* tile, int corner, int k,
                                                        int n) {
    load_matrix_x4_transposed(b.r, tile + Tile<T, kWidth>::shifted(corner, k, n / 8));
  }
  template <int kTiles>
  static __device__ __forceinline__ void to_a(A& a, const float (&p)[kTiles][4], int step) {
    a.r[0] = bf16_pair(p[2 * step][0], p[2 * step][1]);
    a.r[1] = bf16_pair(p[2 * step][2], p[2 * step][3]);
    a.r[2] = bf16_pair(p[2 * step + 1][0], p[2 * step + 1][1]);
    a.r[3] = bf16_pair(p[2 * step + 1][2], p[2 * step + 1][3]);
  }
  static __device__ __forceinline__ void multiply(float (&first)[4], float (&second)[4], const A& a,
                                                  const B& b) {
    const std::uint32_t b0[2] = {b.r[0], b.r[1]}, b1[2] = {b.r[2], b.r[3]};
    mma_m16n8k16(first, a.r, b0);
    mma_m16n8k16(second, a.r, b1);
  }
  static __device__ __forceinline__ float tanh(float x) {
    return 1.0f - __fdividef(2.0f, __expf(2.0f * x) + 1.0f);
  }  // to 1e-7 absolute
};

// fp32 as a sum of two tf32: x = hi + lo to 2^-23, since the tensor core cuts lo after 11 bits, and
// x y = hi hi + hi lo + lo hi to 2^-21. (A NaN's hi may be a number; its lo is NaN.) A tensor core
// also cuts its sums to 24 bits (Fasi et al., PeerJ CS 7:e330, 2021), so they leave it every 8
// columns in x yᵀ and at most every 32 rows in p y, and join the rest by an fp32 addition.
template <>
struct Fragments<float> {
  using T = float;
  static constexpr int kDepth = 8;
  static constexpr bool kFlushes = true;
  static constexpr int kSumSteps = 4;
  struct A {
    std::uint32_t hi[4], lo[4];
  };
  struct B {
    std::uint32_t hi[4], lo[4];  // b[0], b[1] of the first tile, then of the second
  };

  static __device__ __forceinline__ void split(std::uint32_t& hi, std::uint32_t& lo, float x) {
    hi = (__float_as_uint(x) + 0x1000u) & ~0x1FFFu;
    lo = __float_as_uint(x - __uint_as_float(hi));
  }
  template <int kWidth>
  static __device__ __forceinline__ int corner_a(int lane) {
    return Tile<T, kWidth>::offset(lane / 4, 0) + lane % 4;
  }
  template <int kWidth>
  static __device__ __forceinline__ int corner_rows(int lane) {
    return corner_a<kWidth>(lane);
  }
  // The order of k is free: an accumulator's columns 2t and 2t + 1 are taken as k = t and t + 4, so
  // p needs no exchange between lanes.
  template <int kWidth>
  static __device__ __forceinline__ int corner_columns(int lane) {
    return Tile<T, kWidth>::offset(2 * (lane % 4), lane / 16) + lane / 4 % 4;
  }

  template <int kWidth>
  static __device__ __forceinline__ void load_a(A& a, const T* tile, int corner, int row, int k) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      split(a.hi[i], a.lo[i],
            tile[Tile<T, kWidth>::shifted(corner, row + 8 * (i & 1), k / 4 + (i >> 1))]);
  }
  template <int kWidth>
  static __device__ __forceinline__ void load_b_rows(B& b, const T* tile, int corner, int n,
                                                     int k) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      split(b.hi[i], b.lo[i],
            tile[Tile<T, kWidth>::shifted(corner, n + 8 * (i >> 1), k / 4 + (i & 1))]);
  }
  template <int kWidth>
  static __device__ __forceinline__ void load_b_columns(B& b, const T* tile, int corner, int k,
                                                        int n) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {  // an odd row's chunks are exchanged in pairs
      const int even = Tile<T, kWidth>::shifted(corner, k, n / 4 + 2 * (i >> 1));
      split(b.hi[i], b.lo[i], tile[(i & 1) == 0 ? even : (even ^ 4) + kWidth]);
    }
  }
  template <int kTiles>
  static __device__ __forceinline__ void to_a(A& a, const float (&p)[kTiles][4], int step) {
    split(a.hi[0], a.lo[0], p[step][0]);
    split(a.hi[1], a.lo[1], p[step][2]);
    split(a.hi[2], a.lo[2], p[step][1]);
    split(a.hi[3], a.lo[3], p[step][3]);
  }
  static __device__ __forceinline__ void multiply_one(float (&d)[4], const A& a,
                                                      const std::uint32_t (&hi)[2],
                                                      const std::uint32_t (&lo)[2]) {
    mma_m16n8k8_tf32(d, a.lo, hi);
    mma_m16n8k8_tf32(d, a.hi, lo);
    mma_m16n8k8_tf32(d, a.hi, hi);
  }
  // The same with b[0] and b[1] not yet split.
  static __device__ __forceinline__ void multiply_one(float (&d)[4], const A& a, float b0,
                                                      float b1) {
    std::uint32_t hi[2], lo[2];
    split(hi[0], lo[0], b0);
    split(hi[1], lo[1], b1);
    multiply_one(d, a, hi, lo);
  }
  static __device__ __forceinline__ void multiply(float (&first)[4], float (&second)[4], const A& a,
                                                  const B& b) {
    multiply_one(first, a, {b.hi[0], b.hi[1]}, {b.lo[0], b.lo[1]});
    multiply_one(second, a, {b.hi[2], b.hi[3]}, {b.lo[2], b.lo[3]});
  }
  static __device__ __forceinline__ float tanh(float x) { return tanhf(x); }
};

template <int kTiles>
__device__ __forceinline__ void clear(float (&d)[kTiles][4]) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) d[n][e] = 0;
}
template <int kRowTiles, int kTiles>
__device__ __forceinline__ void clear(float (&d)[kRowTiles][kTiles][4]) {
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r) clear(d[r]);
}

// d (kRowTiles·16, columns [8n, 8n + 16)) += a b, of depth kSteps·kDepth.
template <class T, int kRowTiles, int kTiles, int kSteps, class LoadB>
__device__ __forceinline__ void multiply_pair(
    float (&d)[kRowTiles][kTiles][4], int n, const typename Fragments<T>::A (&a)[kRowTiles][kSteps],
    const LoadB& load_b) {
  using F = Fragments<T>;
  float sum[kRowTiles][2][4];
  if constexpr (F::kFlushes) clear(sum);
#pragma unroll
  for (int step = 0; step < kSteps; ++step) {
    typename F::B b;
    load_b(b, step);
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r) {
      if constexpr (F::kFlushes)
        F::multiply(sum[r][0], sum[r][1], a[r][step], b);
      else
        F::multiply(d[r][n], d[r][n + 1], a[r][step], b);
    }
  }
  if constexpr (F::kFlushes) {
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
      for (int e = 0; e < 8; ++e) d[r][n + e / 4][e % 4] += sum[r][e / 4][e % 4];
  }
}

// d (kRowTiles·16, kTiles·8) += rows [row, …) of x · rows [column, …) of y, transposed.
template <class T, int kWidth, int kRowTiles, int kTiles>
__device__ __forceinline__ void multiply_rows(float (&d)[kRowTiles][kTiles][4], const T* x, int row,
                                              const T* y, int column, int lane) {
  using F = Fragments<T>;
  const int corner_a = F::template corner_a<kWidth>(lane),
            corner_b = F::template corner_rows<kWidth>(lane);
#pragma unroll Tile < T, kWidth> ::kUnrollDepth
  for (int k = 0; k < kWidth; k += F::kDepth) {
    typename F::A a[kRowTiles][1];
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
      F::template load_a<kWidth>(a[r][0], x + row * kWidth, corner_a, 16 * r, k);
#pragma unroll
    for (int n = 0; n < kTiles; n += 2)
      multiply_pair<T>(d, n, a, [&](typename F::B& b, int) {
        F::template load_b_rows<kWidth>(b, y + column * kWidth, corner_b, 8 * n, k);
      });
  }
}

// ---- rows

// Over the four lanes that share rows g and g + 8.
__device__ __forceinline__ float quad_max(float x) {
  x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, 1));
  return fmaxf(x, __shfl_xor_sync(kFullWarp, x, 2));
}
__device__ __forceinline__ float quad_sum(float x) {
  x += __shfl_xor_sync(kFullWarp, x, 1);
  return x + __shfl_xor_sync(kFullWarp, x, 2);
}

}  // namespace weft::cuda

// A small matrix product on tiles that lie in the caches, the building block of attention. Included
// once per SIMD target.
#if defined(WEFT_TILE_GEMM_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef WEFT_TILE_GEMM_INL_H_
#undef WEFT_TILE_GEMM_INL_H_
#else
#define WEFT_TILE_GEMM_INL_H_
#endif

#include <hwy/highway.h>

#include <cstdint>

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// a(m, k) = data[m·row + k·col]: a transposed tile is the same tile with its strides swapped.
struct TileA {
  const float* data;
  std::int64_t row, col;
};

// MR rows × NV vectors of c at once; `tail` lanes of the last vector count (all of them when NV >
// 1).
template <int MR, int NV, bool kTail>
HWY_INLINE void tile_micro(TileA a, const float* HWY_RESTRICT b, std::int64_t ldb,
                           float* HWY_RESTRICT c, std::int64_t ldc, std::int64_t K, bool accumulate,
                           std::size_t tail) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto mask = hn::FirstN(d, tail);
  hn::Vec<decltype(d)> sums[MR][NV];
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      if (!accumulate)
        sums[m][v] = hn::Zero(d);
      else if constexpr (kTail)
        sums[m][v] = hn::MaskedLoad(mask, d, c + m * ldc);
      else
        sums[m][v] = hn::LoadU(d, c + m * ldc + v * L);
    }
  for (std::int64_t k = 0; k < K; ++k) {
    hn::Vec<decltype(d)> row[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      if constexpr (kTail)
        row[v] = hn::MaskedLoad(mask, d, b + k * ldb);
      else
        row[v] = hn::LoadU(d, b + k * ldb + v * L);
    }
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      const auto x = hn::Set(d, a.data[m * a.row + k * a.col]);
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v) sums[m][v] = hn::MulAdd(x, row[v], sums[m][v]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) {
      if constexpr (kTail)
        hn::BlendedStore(sums[m][v], mask, d, c + m * ldc);
      else
        hn::StoreU(sums[m][v], d, c + m * ldc + v * L);
    }
}

template <int MR>
HWY_INLINE void tile_rows(TileA a, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
                          std::int64_t N, std::int64_t K, bool accumulate) {
  const auto L = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  std::int64_t n = 0;
  for (; n + 2 * L <= N; n += 2 * L)
    tile_micro<MR, 2, false>(a, b + n, ldb, c + n, ldc, K, accumulate, 0);
  if (n + L <= N) {
    tile_micro<MR, 1, false>(a, b + n, ldb, c + n, ldc, K, accumulate, 0);
    n += L;
  }
  if (n < N)
    tile_micro<MR, 1, true>(a, b + n, ldb, c + n, ldc, K, accumulate,
                            static_cast<std::size_t>(N - n));
}

// c (M, N) = a (M, K) · b (K, N), or += when `accumulate`.
HWY_INLINE void tile_gemm(TileA a, const float* b, std::int64_t ldb, float* c, std::int64_t ldc,
                          std::int64_t M, std::int64_t N, std::int64_t K, bool accumulate) {
  std::int64_t m = 0;
  const auto rows = [&](std::int64_t at) { return TileA{a.data + at * a.row, a.row, a.col}; };
  for (; m + 6 <= M; m += 6) tile_rows<6>(rows(m), b, ldb, c + m * ldc, ldc, N, K, accumulate);
  switch (M - m) {
    case 5:
      return tile_rows<5>(rows(m), b, ldb, c + m * ldc, ldc, N, K, accumulate);
    case 4:
      return tile_rows<4>(rows(m), b, ldb, c + m * ldc, ldc, N, K, accumulate);
    case 3:
      return tile_rows<3>(rows(m), b, ldb, c + m * ldc, ldc, N, K, accumulate);
    case 2:
      return tile_rows<2>(rows(m), b, ldb, c + m * ldc, ldc, N, K, accumulate);
    case 1:
      return tile_rows<1>(rows(m), b, ldb, c + m * ldc, ldc, N, K, accumulate);
    default:
      return;
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();
#endif

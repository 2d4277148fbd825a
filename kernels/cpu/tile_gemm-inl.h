// A small matrix product on tiles that lie in the caches, the building block of attention and of
// small_gemm.cpp. Included once per SIMD target.
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

// Rows of a register tile two vectors wide: its sums, a row of b and one element of a fill the
// registers.
constexpr int kTileRows = HWY_TARGET <= HWY_AVX3 ? 12 : 6;

// What becomes of the sums: c = sums or c += sums.
struct TileC {
  float* data;
  std::int64_t ld;
  bool add = false;
  TileC at(std::int64_t m, std::int64_t n) const { return {data + m * ld + n, ld, add}; }
};

// to (K, n) = factor · fromᵀ, from (n, K)
HWY_INLINE void tile_transpose(float* HWY_RESTRICT to, std::int64_t ld_to,
                               const float* HWY_RESTRICT from, std::int64_t ld_from, std::int64_t n,
                               std::int64_t K, float factor) {
  std::int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  const auto scale = hn::Set(d, factor);
  for (; j + 4 <= n; j += 4) {
    const float* rows = from + j * ld_from;
    float* column = to + j;
    std::int64_t k = 0;
    for (; k + 4 <= K; k += 4, rows += 4, column += 4 * ld_to) {
      const auto row = [&](std::int64_t i)
                           HWY_ATTR { return hn::Mul(scale, hn::LoadU(d, rows + i * ld_from)); };
      const auto r0 = row(0), r1 = row(1), r2 = row(2), r3 = row(3);
      const auto low_02 = hn::InterleaveLower(d, r0, r2), low_13 = hn::InterleaveLower(d, r1, r3),
                 high_02 = hn::InterleaveUpper(d, r0, r2), high_13 = hn::InterleaveUpper(d, r1, r3);
      hn::StoreU(hn::InterleaveLower(d, low_02, low_13), d, column);
      hn::StoreU(hn::InterleaveUpper(d, low_02, low_13), d, column + ld_to);
      hn::StoreU(hn::InterleaveLower(d, high_02, high_13), d, column + 2 * ld_to);
      hn::StoreU(hn::InterleaveUpper(d, high_02, high_13), d, column + 3 * ld_to);
    }
    for (; k < K; ++k, ++rows, column += ld_to)
      for (std::int64_t i = 0; i < 4; ++i) column[i] = factor * rows[i * ld_from];
  }
#endif
  for (; j < n; ++j)
    for (std::int64_t k = 0; k < K; ++k) to[k * ld_to + j] = factor * from[j * ld_from + k];
}

// MR rows × NV vectors of c at once; `tail` lanes of the last vector count (all of them when NV >
// 1). Each sum starts at zero and runs in the order of k, whatever the tile that it lies in.
template <int MR, int NV, bool kTail>
HWY_INLINE void tile_micro(TileA a, const float* HWY_RESTRICT b, std::int64_t ldb, TileC c,
                           std::int64_t K, std::size_t tail) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const auto mask = hn::FirstN(d, tail);
  const auto load = [&](const float* from) HWY_ATTR {
    if constexpr (kTail)
      return hn::MaskedLoad(mask, d, from);
    else
      return hn::LoadU(d, from);
  };
  hn::Vec<decltype(d)> sums[MR][NV];
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sums[m][v] = hn::Zero(d);
  for (std::int64_t k = 0; k < K; ++k) {
    hn::Vec<decltype(d)> row[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) row[v] = load(b + k * ldb + v * L);
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
      float* to = c.data + m * c.ld + v * L;
      const auto sum = c.add ? hn::Add(load(to), sums[m][v]) : sums[m][v];
      if constexpr (kTail)
        hn::BlendedStore(sum, mask, d, to);
      else
        hn::StoreU(sum, d, to);
    }
}

template <int MR>
HWY_INLINE void tile_rows(TileA a, const float* b, std::int64_t ldb, TileC c, std::int64_t N,
                          std::int64_t K) {
  const auto L = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
  std::int64_t n = 0;
  for (; n + 2 * L <= N; n += 2 * L) tile_micro<MR, 2, false>(a, b + n, ldb, c.at(0, n), K, 0);
  if (n + L <= N) {
    tile_micro<MR, 1, false>(a, b + n, ldb, c.at(0, n), K, 0);
    n += L;
  }
  if (n < N) tile_micro<MR, 1, true>(a, b + n, ldb, c.at(0, n), K, static_cast<std::size_t>(N - n));
}

// The last M < kTileRows rows.
template <int MR = kTileRows - 1>
HWY_INLINE void tile_last_rows(TileA a, const float* b, std::int64_t ldb, TileC c, std::int64_t M,
                               std::int64_t N, std::int64_t K) {
  if constexpr (MR > 0) {
    if (M == MR)
      tile_rows<MR>(a, b, ldb, c, N, K);
    else
      tile_last_rows<MR - 1>(a, b, ldb, c, M, N, K);
  }
}

// c (M, N) from a (M, K) · b (K, N)
HWY_NOINLINE inline void tile_gemm(TileA a, const float* b, std::int64_t ldb, TileC c,
                                   std::int64_t M, std::int64_t N, std::int64_t K) {
  std::int64_t m = 0;
  const auto rows = [&](std::int64_t at) { return TileA{a.data + at * a.row, a.row, a.col}; };
  for (; m + kTileRows <= M; m += kTileRows)
    tile_rows<kTileRows>(rows(m), b, ldb, c.at(m, 0), N, K);
  tile_last_rows(rows(m), b, ldb, c.at(m, 0), M - m, N, K);
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();
#endif

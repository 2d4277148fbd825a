// small_bf16_gemm() by AVX-512 BF16: vdpbf16ps multiplies pairs of bf16 that follow one another in
// K and adds both products to an fp32 lane. Written in intrinsics: Highway 1.0 has no target for
// it.
#include <algorithm>
#include <memory>

#include "core/check.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/small_gemm.h"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>

namespace weft::cpu {
namespace {

#define WEFT_BF16 __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16")))

using Pair = std::uint32_t;  // bf16 of k (the low half) and of k + 1

constexpr int kTileRows = 12, kLanes = 16;
constexpr std::int64_t kWidth = 2 * kLanes;  // columns of a panel of b
constexpr std::int64_t kSumPairs = 256;      // of a sum before it is added to c

__mmask16 first(std::int64_t n) {
  return static_cast<__mmask16>(n >= kLanes ? 0xffff : (1u << std::max<std::int64_t>(n, 0)) - 1);
}

// The masked of 16 numbers, rounded to bf16; the others are 0.
WEFT_BF16 inline __m256i load(const float* x, __mmask16 mask) {
  return (__m256i)_mm512_maskz_cvtneps_pbh(mask, _mm512_maskz_loadu_ps(mask, x));
}
WEFT_BF16 inline __m256i load(const BFloat16* x, __mmask16 mask) {
  return _mm256_maskz_loadu_epi16(mask, x);
}

// to (K/2, n) of the columns of x (K, n); the last of an odd K is paired with 0.
template <class T>
WEFT_BF16 void pair_columns(Pair* to, std::int64_t ld_to, const T* x, std::int64_t ld,
                            std::int64_t n, std::int64_t K) {
  alignas(64) static constexpr std::uint16_t kAlternate[32] = {
      0, 32, 1, 33, 2,  34, 3,  35, 4,  36, 5,  37, 6,  38, 7,  39,
      8, 40, 9, 41, 10, 42, 11, 43, 12, 44, 13, 45, 14, 46, 15, 47};
  const __m512i alternate = _mm512_load_si512(kAlternate);
  for (std::int64_t k = 0; k < K; k += 2, x += 2 * ld, to += ld_to)
    for (std::int64_t i = 0; i < n; i += kLanes) {
      const __mmask16 mask = first(n - i);
      const __m256i even = load(x + i, mask),
                    odd = k + 1 < K ? load(x + ld + i, mask) : _mm256_setzero_si256();
      _mm512_mask_storeu_epi32(to + i, mask,
                               _mm512_permutex2var_epi16(_mm512_castsi256_si512(even), alternate,
                                                         _mm512_castsi256_si512(odd)));
    }
}

// to (K/2) of one row x (K)
template <class T>
WEFT_BF16 void pair_row(Pair* to, const T* x, std::int64_t K) {
  for (std::int64_t k = 0; k < K; k += kLanes)
    _mm256_mask_storeu_epi32(to + k / 2, static_cast<__mmask8>(first((K - k + 1) / 2)),
                             load(x + k, first(K - k)));
}

// to (K/2, n) of the rows of x (n, K), n <= kWidth
template <class T>
WEFT_BF16 void pair_rows(Pair* to, const T* x, std::int64_t ld, std::int64_t n, std::int64_t K) {
  alignas(64) Pair rows[4][kSumPairs];
  const std::int64_t pairs = (K + 1) / 2;
  std::int64_t j = 0;
  for (; j + 4 <= n; j += 4) {
    for (int i = 0; i < 4; ++i) pair_row(rows[i], x + (j + i) * ld, K);
    std::int64_t k = 0;
    for (; k + 4 <= pairs; k += 4) {
      __m128 r[4];
      for (int i = 0; i < 4; ++i) r[i] = _mm_loadu_ps(reinterpret_cast<const float*>(rows[i] + k));
      _MM_TRANSPOSE4_PS(r[0], r[1], r[2], r[3]);
      for (int i = 0; i < 4; ++i)
        _mm_storeu_ps(reinterpret_cast<float*>(to + (k + i) * kWidth + j), r[i]);
    }
    for (; k < pairs; ++k)
      for (int i = 0; i < 4; ++i) to[k * kWidth + j + i] = rows[i][k];
  }
  for (; j < n; ++j) {
    pair_row(rows[0], x + j * ld, K);
    for (std::int64_t k = 0; k < pairs; ++k) to[k * kWidth + j] = rows[0][k];
  }
}

// a(m, k/2) = data[m·row + k/2·col]
struct PairsA {
  const Pair* data;
  std::int64_t row, col;
};

// What becomes of the sums, as in tile_gemm-inl.h; columns past `n` are left as they are.
struct SumsTo {
  float* data;
  std::int64_t ld, n;
  bool add;
  const float* bias;
};

template <int MR, int NV>
WEFT_BF16 void micro(PairsA a, const Pair* b, SumsTo c, std::int64_t pairs) {
  __m512 sums[MR][NV];
#pragma GCC unroll 16
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) sums[m][v] = _mm512_setzero_ps();
  for (std::int64_t k = 0; k < pairs; ++k) {
    __m512i row[NV];
#pragma GCC unroll 2
    for (int v = 0; v < NV; ++v) row[v] = _mm512_loadu_si512(b + k * kWidth + v * kLanes);
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      const __m512i x = _mm512_set1_epi32(static_cast<int>(a.data[m * a.row + k * a.col]));
#pragma GCC unroll 2
      for (int v = 0; v < NV; ++v)
        sums[m][v] = _mm512_dpbf16_ps(sums[m][v], (__m512bh)x, (__m512bh)row[v]);
    }
  }
#pragma GCC unroll 2
  for (int v = 0; v < NV; ++v) {
    const __mmask16 mask = first(c.n - v * kLanes);
    const __m512 bias =
        c.bias ? _mm512_maskz_loadu_ps(mask, c.bias + v * kLanes) : _mm512_setzero_ps();
#pragma GCC unroll 16
    for (int m = 0; m < MR; ++m) {
      float* to = c.data + m * c.ld + v * kLanes;
      __m512 sum = sums[m][v];
      if (c.bias) sum = _mm512_add_ps(sum, bias);
      if (c.add) sum = _mm512_add_ps(_mm512_maskz_loadu_ps(mask, to), sum);
      _mm512_mask_storeu_ps(to, mask, sum);
    }
  }
}

// rows <= MR of a tile
template <int MR>
WEFT_BF16 void rows_of(std::int64_t rows, PairsA a, const Pair* b, SumsTo c, std::int64_t pairs) {
  if constexpr (MR > 0) {
    if (rows < MR) return rows_of<MR - 1>(rows, a, b, c, pairs);
    if (c.n > kLanes)
      micro<MR, 2>(a, b, c, pairs);
    else
      micro<MR, 1>(a, b, c, pairs);
  }
}

// What a thread packs of its piece: kSumPairs of each row (in multiples of 16) and column (in whole
// panels).
std::int64_t pitch_of(std::int64_t rows) { return (rows + kLanes - 1) / kLanes * kLanes; }
std::int64_t room_of(std::int64_t rows, std::int64_t columns) {
  return (pitch_of(rows) + (columns + kWidth - 1) / kWidth * kWidth) * kSumPairs;
}

template <class T>
WEFT_BF16 void piece_of(float* c, const float* a, const T* b, const float* bias, const GemmShape& s,
                        const GemmPiece& piece, Pair* room) {
  const std::int64_t pitch = pitch_of(piece.rows), end = piece.column + piece.columns;
  Pair* panels = room + pitch * kSumPairs;
  const PairsA rows = s.transpose_a ? PairsA{room, 1, pitch} : PairsA{room, kSumPairs, 1};
  for (std::int64_t k = 0; k < s.K; k += 2 * kSumPairs) {
    const std::int64_t length = std::min(2 * kSumPairs, s.K - k), pairs = (length + 1) / 2;
    for (std::int64_t n = piece.column; n < end; n += kWidth) {
      Pair* panel = panels + (n - piece.column) * kSumPairs;
      if (s.transpose_b)
        pair_rows(panel, b + n * s.K + k, s.K, std::min(kWidth, end - n), length);
      else
        pair_columns(panel, kWidth, b + k * s.N + n, s.N, std::min(kWidth, end - n), length);
    }
    if (s.transpose_a) pair_columns(room, pitch, a + k * s.M + piece.row, s.M, piece.rows, length);
    for (std::int64_t m = 0; m < piece.rows; m += kTileRows) {
      const std::int64_t tile = std::min<std::int64_t>(kTileRows, piece.rows - m);
      if (!s.transpose_a)
        for (std::int64_t i = m; i < m + tile; ++i)
          pair_row(room + i * kSumPairs, a + (piece.row + i) * s.K + k, length);
      for (std::int64_t n = piece.column; n < end; n += kWidth)  // along the rows of c
        rows_of<kTileRows>(tile, {rows.data + m * rows.row, rows.row, rows.col},
                           panels + (n - piece.column) * kSumPairs,
                           {c + (piece.row + m) * s.N + n, s.N, std::min(kWidth, end - n),
                            s.accumulate || k > 0, bias && k == 0 ? bias + n : nullptr},
                           pairs);
    }
  }
}

// AVX-512 BF16 without AMX, whose tiles the matmul library uses at many times the rate.
bool only_vectors_have_bf16() {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__builtin_cpu_supports("avx512bw") || !__builtin_cpu_supports("avx512dq") ||
      !__builtin_cpu_supports("avx512vl") || !__get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx))
    return false;
  constexpr unsigned kAmxBf16 = 1u << 22, kAvx512Bf16 = 1u << 5;
  if ((edx & kAmxBf16) != 0) return false;
  return __get_cpuid_count(7, 1, &eax, &ebx, &ecx, &edx) && (eax & kAvx512Bf16) != 0;
}

}  // namespace

// Measured as small_gemm_serves(): a step takes 0.94 of the time with all its products here, since
// the library is given copies of both operands in bf16.
bool small_bf16_gemm_serves(const GemmShape& s, DType b) {
  static const bool supported = only_vectors_have_bf16();
  return supported && (b == DType::f32 || b == DType::bf16) && is_small(s);
}

std::size_t small_bf16_gemm_scratch_bytes(const GemmShape& s, int n_threads) {
  const GemmPieces pieces(s, kWidth, n_threads);
  return static_cast<std::size_t>(pieces.size() * room_of(pieces.rows(), pieces.columns())) *
         sizeof(Pair);
}

void small_bf16_gemm(float* c, const float* a, ConstView b, const float* bias, const GemmShape& s,
                     Stream& stream) {
  if (s.M == 0 || s.N == 0) return;
  const GemmPieces pieces(s, kWidth, stream.n_threads());
  const std::int64_t elems = room_of(pieces.rows(), pieces.columns());
  auto* room =
      static_cast<Pair*>(stream.scratch(small_bf16_gemm_scratch_bytes(s, stream.n_threads())));
  parallel_for(stream, pieces.size(), 1, [&](std::int64_t i, std::int64_t) {
    Pair* of_piece = room + i * elems;
    if (b.dtype() == DType::f32)
      piece_of(c, a, b.as<float>(), bias, s, pieces[i], of_piece);
    else
      piece_of(c, a, b.as<BFloat16>(), bias, s, pieces[i], of_piece);
  });
}

}  // namespace weft::cpu

#else

namespace weft::cpu {

bool small_bf16_gemm_serves(const GemmShape&, DType) { return false; }
std::size_t small_bf16_gemm_scratch_bytes(const GemmShape&, int) { return 0; }

void small_bf16_gemm(float*, const float*, ConstView, const float*, const GemmShape&, Stream&) {
  CHECK(false, "no AVX-512 BF16 on this CPU");
}

}  // namespace weft::cpu

#endif

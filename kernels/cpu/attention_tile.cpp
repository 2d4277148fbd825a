// Scores are kept transposed, (keys, queries): so queries fill the vectors, no sum runs across
// lanes, and neither keys nor values are packed. Forward: FlashAttention-2 (Dao, 2023), algorithm
// 1; backward: algorithm 2.
#include "kernels/cpu/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_tile.cpp"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/cpu/cached_rows-inl.h"
#include "kernels/cpu/dropout_mask-inl.h"
#include "kernels/cpu/tile_gemm-inl.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// to (D, kTile) = factor · fromᵀ for the first `columns` columns; those past n are zero.
void transpose_tile(float* HWY_RESTRICT to, const float* HWY_RESTRICT from, std::int64_t stride,
                    std::int64_t n, std::int64_t columns, std::int64_t D, float factor) {
  tile_transpose(to, kTile, from, stride, n, D, factor);
  if (n == columns) return;
  for (std::int64_t d = 0; d < D; ++d)
    std::fill(to + d * kTile + n, to + d * kTile + columns, 0.0f);
}

// The part of a tile (keys, queries) that is computed. On the diagonal of causal attention a query
// sees the keys up to its own: keys are taken in strips that leave out the queries before the
// first, and queries in strips that leave out the keys past the last.
struct SeenPart {
  static constexpr std::int64_t kStrip = 2 * kTileRows;
  std::int64_t n_k;
  bool diagonal;

  std::int64_t first_query(std::int64_t strip) const {
    const auto L = static_cast<std::int64_t>(hn::Lanes(hn::ScalableTag<float>()));
    return diagonal ? strip / L * L : 0;
  }
  // Keys that any query of [.., end) sees, and those beside them in the last strip.
  std::int64_t keys(std::int64_t end) const {
    return diagonal ? std::min(n_k, (end + kStrip - 1) / kStrip * kStrip) : n_k;
  }
  // body(first, size) for the strips of [0, n)
  template <class Body>
  static void strips(std::int64_t n, const Body& body) {
    for (std::int64_t i = 0; i < n; i += kStrip) body(i, std::min(kStrip, n - i));
  }
};

// s = kᵀ-rows · q_t: the scores that are seen, and some beside them.
void tile_scores(float* s, const SeenPart& seen, const float* k, std::int64_t k_stride,
                 const float* q_t, std::int64_t columns, std::int64_t D) {
  seen.strips(seen.n_k, [&](std::int64_t j, std::int64_t keys) {
    const std::int64_t i = seen.first_query(j);
    if (i < columns)
      tile_gemm({k + j * k_stride, k_stride, 1}, q_t + i, kTile, {s + j * kTile + i, kTile}, keys,
                columns - i, D);
  });
}

// sums (n_q, D) += sᵀ · rows (keys, D)
void add_over_keys(float* sums, std::int64_t sums_stride, const SeenPart& seen, const float* s,
                   const float* rows, std::int64_t rows_stride, std::int64_t n_q, std::int64_t D) {
  seen.strips(n_q, [&](std::int64_t i, std::int64_t queries) {
    tile_gemm({s + i, 1, kTile}, rows, rows_stride, {sums + i * sums_stride, sums_stride, true},
              queries, D, seen.keys(i + queries));
  });
}

// sums (n_k, D) += s · rows (queries, D)
void add_over_queries(float* sums, std::int64_t sums_stride, const SeenPart& seen, const float* s,
                      const float* rows, std::int64_t rows_stride, std::int64_t n_q,
                      std::int64_t D) {
  seen.strips(seen.n_k, [&](std::int64_t j, std::int64_t keys) {
    const std::int64_t i = seen.first_query(j);
    if (i < n_q)
      tile_gemm({s + j * kTile + i, kTile, 1}, rows + i * rows_stride, rows_stride,
                {sums + j * sums_stride, sums_stride, true}, keys, D, n_q - i);
  });
}

// Multiplies scores (keys, queries) of one tile by the dropout factors of its probabilities.
void drop_tile(float* p, const HeadDropout& drop, const DropoutKey& key, std::int64_t first_query,
               std::int64_t n_q, std::int64_t first_key, std::int64_t n_k) {
  float factors[kTile];
  for (std::int64_t i = 0; i < n_q; ++i) {
    dropout_factors(factors, key, static_cast<std::uint64_t>(drop.sample),
                    (drop.head * drop.T + drop.first_row + first_query + i) * drop.T +
                        drop.first_row + first_key,
                    n_k);
    for (std::int64_t j = 0; j < n_k; ++j) p[j * kTile + i] *= factors[j];
  }
}

// Scores (keys, queries) that a query must not see become -inf; first_query is a position.
void mask_tile(float* s, std::int64_t first_query, std::int64_t first_key, std::int64_t n_k,
               HeadWindow window) {
  for (std::int64_t j = 0; j < n_k; ++j) {
    const std::int64_t key = first_key + j - first_query;
    const std::int64_t before =
        std::clamp<std::int64_t>(key - window.right, 0, kTile);  // queries too early to see it
    const std::int64_t after =
        std::clamp<std::int64_t>(key + window.left + 1, 0, kTile);  // the first that is too late
    std::fill(s + j * kTile, s + j * kTile + before, kMinusInfinity);
    std::fill(s + j * kTile + after, s + (j + 1) * kTile, kMinusInfinity);
  }
}

HWY_INLINE float dot(const float* a, const float* b, std::int64_t n) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  auto sums = hn::Zero(d);
  std::int64_t i = 0;
  for (; i + L <= n; i += L) sums = hn::MulAdd(hn::LoadU(d, a + i), hn::LoadU(d, b + i), sums);
  float sum = hn::GetLane(hn::SumOfLanes(d, sums));
  for (; i < n; ++i) sum += a[i] * b[i];
  return sum;
}

struct Rows {
  const float* data;
  std::int64_t stride;
};

// n of the cache's rows from `offset` on, as they are or widened into `room` (n, D).
Rows rows_of(const HeadForward& h, const void* rows, std::int64_t offset, std::int64_t n,
             float* room) {
  if (h.kv == DType::f32) return {static_cast<const float*>(rows) + offset, h.kv_stride};
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  with_row(h.kv, [&]<class Row>() HWY_ATTR {
    for (std::int64_t j = 0; j < n; ++j) {
      const Row row(rows, offset + j * h.kv_stride, h.D);
      std::int64_t c = 0;
      for (; c + L <= h.D; c += L) hn::StoreU(row.load(d, c), d, room + j * h.D + c);
      for (; c < h.D; ++c) room[j * h.D + c] = row.at(c);
    }
  });
  return {room, h.D};
}

void HeadForwardTile(const HeadForward& h, float* scratch) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t D = h.D;
  float* q_t = scratch;           // (D, kTile)
  float* s = q_t + D * kTile;     // (kTile keys, kTile queries)
  float* o = s + kTile * kTile;   // (kTile, D)
  float* max = o + kTile * D;     // (kTile)
  float* sum = max + kTile;       // (kTile)
  float* rescale = sum + kTile;   // (kTile)
  float* wide = rescale + kTile;  // (kTile, D) keys, then values, of a narrow cache
  const std::int64_t whole = std::max<std::int64_t>(L, 8),
                     columns = (h.n_q + whole - 1) / whole * whole;  // of the tile: those computed
  transpose_tile(q_t, h.q + h.first_query * h.q_stride, h.q_stride, h.n_q, columns, D,
                 score_factor(h.scale, h.softcap));
  std::fill(max, max + kTile, kMinusInfinity);
  std::fill(sum, sum + kTile, 0.0f);
  std::memset(o, 0, static_cast<std::size_t>(kTile * D) * sizeof(float));
  const DropoutKey key = dropout_key(h.drop.drop);

  const std::int64_t at =
      h.first_query +
      h.offset;  // position of the first query; any query sees keys of [first, last) alone
  const std::int64_t first = std::max<std::int64_t>(0, at - h.window.left) / kTile * kTile,
                     last = std::min(h.n_keys, at + h.n_q + h.window.right);
  for (std::int64_t j0 = first; j0 < last; j0 += kTile) {
    const std::int64_t n_k = std::min(kTile, last - j0), offset = key_offset(h, j0);
    const SeenPart seen = {n_k, at + h.window.right == j0};
    const Rows keys = rows_of(h, h.k, offset, n_k, wide);
    tile_scores(s, seen, keys.data, keys.stride, q_t, columns, D);
    if (h.softcap > 0) cap_tile(s, nullptr, n_k, columns, h.softcap);
    if (j0 + n_k - 1 > at + h.window.right || j0 < at + h.n_q - 1 - h.window.left)
      mask_tile(s, at, j0, n_k, h.window);
    for (std::int64_t i = 0; i < columns; i += L) {
      const auto before = hn::LoadU(d, max + i);
      auto now = before;
      const std::int64_t n_seen = seen.keys(i + L);
      for (std::int64_t j = 0; j < n_seen; ++j) now = hn::Max(now, hn::LoadU(d, s + j * kTile + i));
      // A query that sees no key yet keeps -inf; subtracting 0 instead avoids inf - inf.
      const auto base = hn::IfThenElse(hn::Eq(now, hn::Set(d, kMinusInfinity)), hn::Zero(d), now);
      auto total = hn::Zero(d);
      for (std::int64_t j = 0; j < n_seen; ++j) {
        const auto p = exp_of(d, hn::Sub(hn::LoadU(d, s + j * kTile + i), base));
        hn::StoreU(p, d, s + j * kTile + i);
        total = hn::Add(total, p);
      }
      const auto factor = exp_of(d, hn::Sub(before, base));
      hn::StoreU(now, d, max + i);
      hn::StoreU(factor, d, rescale + i);
      hn::StoreU(hn::MulAdd(hn::LoadU(d, sum + i), factor, total), d, sum + i);
    }
    if (h.drop.drop.p > 0) drop_tile(s, h.drop, key, h.first_query, h.n_q, j0, n_k);
    if (j0 > first)
      for (std::int64_t i = 0; i < h.n_q; ++i) {
        if (rescale[i] == 1.0f) continue;
        for (std::int64_t c = 0; c < D; ++c) o[i * D + c] *= rescale[i];
      }
    const Rows values = rows_of(h, h.v, offset, n_k, wide);
    add_over_keys(o, D, seen, s, values.data, values.stride, h.n_q, D);
  }
  for (std::int64_t i = 0; i < h.n_q; ++i) {
    const float inverse = sum[i] == 0 ? 0.0f : 1.0f / sum[i];
    float* out = h.out + (h.first_query + i) * h.out_stride;
    for (std::int64_t c = 0; c < D; ++c) out[c] = o[i * D + c] * inverse;
    if (h.lse) h.lse[h.first_query + i] = sum[i] == 0 ? kMinusInfinity : max[i] + std::log(sum[i]);
  }
}

void HeadBackwardAll(const HeadBackward& h, float* scratch) {
  const hn::ScalableTag<float> d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  const std::int64_t D = h.D, T = h.T, n_tiles = (T + kTile - 1) / kTile;
  float* q_t = scratch;  // (n_tiles, D, kTile), scaled
  float* dout_t = q_t + n_tiles * D * kTile;
  float* row_dot =
      dout_t + n_tiles * D * kTile;  // (n_tiles · kTile): Σ_d dout·out, which is Σ_j p·dp
  float* lse = row_dot + n_tiles * kTile;  // (n_tiles · kTile)
  float* p = lse + n_tiles * kTile;        // (kTile keys, kTile queries)
  float* ds = p + kTile * kTile;
  float* factor = ds + kTile * kTile;     // dropout factors of the tile
  float* slope = factor + kTile * kTile;  // d(capped score)/d(score) of the tile
  const DropoutKey key = dropout_key(h.drop.drop);
  const bool drops = h.drop.drop.p > 0;

  for (std::int64_t tile = 0; tile < n_tiles; ++tile) {
    const std::int64_t i0 = tile * kTile, n = std::min(kTile, T - i0);
    transpose_tile(q_t + tile * D * kTile, h.q + i0 * h.qkv_stride, h.qkv_stride, n, kTile, D,
                   score_factor(h.scale, h.softcap));
    transpose_tile(dout_t + tile * D * kTile, h.dout + i0 * h.out_stride, h.out_stride, n, kTile, D,
                   1.0f);
  }
  for (std::int64_t i = 0; i < n_tiles * kTile; ++i) {
    row_dot[i] = i < T ? dot(h.dout + i * h.out_stride, h.out + i * h.out_stride, D) : 0.0f;
    // A query that saw no key has probability 0 everywhere: +inf makes exp(s - lse) vanish.
    lse[i] =
        i < T && h.lse[i] != kMinusInfinity ? h.lse[i] : std::numeric_limits<float>::infinity();
  }
  for (std::int64_t i = 0; i < T; ++i)
    std::fill(h.dq + i * h.qkv_stride, h.dq + i * h.qkv_stride + D, 0.0f);

  for (std::int64_t j0 = 0; j0 < h.n_keys; j0 += kTile) {
    const std::int64_t n_k = std::min(kTile, h.n_keys - j0);
    const float *k = h.k + j0 * h.qkv_stride, *v = h.v + j0 * h.qkv_stride;
    const std::int64_t first = std::max<std::int64_t>(0, j0 - h.window.right) / kTile * kTile,
                       last = std::min(T, j0 + n_k + h.window.left);
    for (std::int64_t i0 = first; i0 < last;
         i0 += kTile) {  // the queries that see any of these keys
      const std::int64_t n_q = std::min(kTile, T - i0), tile = i0 / kTile;
      const SeenPart seen = {n_k, i0 + h.window.right == j0};
      tile_scores(p, seen, k, h.qkv_stride, q_t + tile * D * kTile, kTile, D);
      if (h.softcap > 0) cap_tile(p, slope, n_k, kTile, h.softcap);
      if (j0 + n_k - 1 > i0 + h.window.right || j0 < i0 + n_q - 1 - h.window.left)
        mask_tile(p, i0, j0, n_k, h.window);
      tile_scores(ds, seen, v, h.qkv_stride, dout_t + tile * D * kTile, kTile, D);
      if (drops) {
        std::fill(factor, factor + kTile * kTile, 1.0f);
        drop_tile(factor, h.drop, key, i0, n_q, j0, n_k);
      }
      // ds = p ∘ (dp - Σ p·dp) · scale, and p ∘ factor for dv
      const auto scale = hn::Set(d, h.scale);
      for (std::int64_t i = 0; i < kTile; i += L) {
        const auto row = hn::LoadU(d, row_dot + i0 + i),
                   minus_lse = hn::Neg(hn::LoadU(d, lse + i0 + i));
        for (std::int64_t e = i; e < seen.keys(i + L) * kTile; e += kTile) {
          const auto probability = exp_of(d, hn::Add(hn::LoadU(d, p + e), minus_lse));
          auto dp = hn::LoadU(d, ds + e), kept = probability;
          if (drops) {
            dp = hn::Mul(dp, hn::LoadU(d, factor + e));
            kept = hn::Mul(kept, hn::LoadU(d, factor + e));
          }
          hn::StoreU(hn::Mul(hn::Mul(probability, scale), hn::Sub(dp, row)), d, ds + e);
          hn::StoreU(kept, d, p + e);
        }
      }
      if (h.softcap > 0)
        for (std::int64_t e = 0; e < n_k * kTile; ++e) ds[e] *= slope[e];
      add_over_queries(h.dv + j0 * h.qkv_stride, h.qkv_stride, seen, p, h.dout + i0 * h.out_stride,
                       h.out_stride, n_q, D);
      add_over_queries(h.dk + j0 * h.qkv_stride, h.qkv_stride, seen, ds, h.q + i0 * h.qkv_stride,
                       h.qkv_stride, n_q, D);
      add_over_keys(h.dq + i0 * h.qkv_stride, h.qkv_stride, seen, ds, k, h.qkv_stride, n_q, D);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(HeadForwardTile);
HWY_EXPORT(HeadBackwardAll);

std::int64_t head_forward_scratch_elems(std::int64_t D) {
  return 3 * D * kTile + kTile * kTile + 3 * kTile;
}
void head_forward(const HeadForward& head, float* scratch) {
  HWY_DYNAMIC_DISPATCH(HeadForwardTile)(head, scratch);
}
std::int64_t head_backward_scratch_elems(std::int64_t T, std::int64_t D) {
  const std::int64_t padded = (T + kTile - 1) / kTile * kTile;
  return 2 * padded * D + 2 * padded + 4 * kTile * kTile;
}
void head_backward(const HeadBackward& head, float* scratch) {
  HWY_DYNAMIC_DISPATCH(HeadBackwardAll)(head, scratch);
}

}  // namespace weft::cpu
#endif

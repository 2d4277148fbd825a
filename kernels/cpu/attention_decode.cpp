// One query against all keys: for decoding, where a tile's queries would be nearly all empty. Every
// sum runs in the order in which attention_tile.cpp takes it (of a score over D, of a tile's
// probabilities and values over its keys, of tiles one after the other), so that a row's bits do
// not depend on how many its text brings.
#include "kernels/cpu/attention_tile.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/attention_decode.cpp"
#include <hwy/cache_control.h>
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include <limits>

#include "kernels/cpu/cached_rows-inl.h"

HWY_BEFORE_NAMESPACE();
namespace weft::cpu {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using F = hn::ScalableTag<float>;

// Vectors of sums at once: enough to hide a sum's latency, no more than a tile has.
constexpr int kRun =
    kTile / static_cast<int>(HWY_LANES(float)) < 8 ? kTile / static_cast<int>(HWY_LANES(float)) : 8;

// Asks for a row that is read soon: rows of a head lie so far apart that the hardware does not
// guess the next one. Into the second cache: in the first they would fall on few of its sets.
template <class Row>
HWY_INLINE void prefetch_row(const void* rows, std::int64_t elem, std::int64_t D) {
  const auto* row = static_cast<const char*>(rows) + elem * Row::kElemBytes;
  for (std::int64_t b = 0; b < D * Row::kElemBytes; b += 64) __builtin_prefetch(row + b, 0, 2);
}

// The keys that a query sees: [first, last).
struct Seen {
  std::int64_t first, last;
};
Seen seen_keys(const HeadForward& h) {
  const std::int64_t at = h.first_query + h.offset;
  return {std::max<std::int64_t>(0, at - h.window.left),
          std::min(h.n_keys, at + 1 + h.window.right)};
}

// A tile's keys that are read next.
struct NextKeys {
  const void* rows = nullptr;
  std::int64_t elem = 0, stride = 0, n = 0;
};
NextKeys keys_of_tile(const HeadForward& h, std::int64_t j, std::int64_t last) {
  const std::int64_t end = std::min((j / kTile + 1) * kTile, last);
  return {h.k, key_offset(h, j), h.kv_stride, end - j};
}

// to (D, kTile) = n_k keys transposed; columns behind them, up to `columns`, are zero.
template <class Row>
HWY_INLINE void transpose_keys(float* HWY_RESTRICT to, const HeadForward& h, std::int64_t offset,
                               std::int64_t n_k, std::int64_t columns) {
  const std::int64_t D = h.D;
  const auto row = [&](std::int64_t j) { return Row(h.k, offset + j * h.kv_stride, D); };
  std::int64_t j = 0;
#if HWY_TARGET != HWY_SCALAR
  const hn::FixedTag<float, 4> d;
  for (; j + 4 <= n_k; j += 4) {
    const Row r0 = row(j), r1 = row(j + 1), r2 = row(j + 2), r3 = row(j + 3);
    for (std::int64_t i = j; i < j + 4; ++i)  // their values
      prefetch_row<Row>(h.v, offset + i * h.kv_stride, D);
    float* column = to + j;
    std::int64_t c = 0;
    for (; c + 4 <= D; c += 4, column += 4 * kTile) {
      const auto v0 = r0.load(d, c), v1 = r1.load(d, c), v2 = r2.load(d, c), v3 = r3.load(d, c);
      const auto low_02 = hn::InterleaveLower(d, v0, v2), low_13 = hn::InterleaveLower(d, v1, v3),
                 high_02 = hn::InterleaveUpper(d, v0, v2), high_13 = hn::InterleaveUpper(d, v1, v3);
      hn::StoreU(hn::InterleaveLower(d, low_02, low_13), d, column);
      hn::StoreU(hn::InterleaveUpper(d, low_02, low_13), d, column + kTile);
      hn::StoreU(hn::InterleaveLower(d, high_02, high_13), d, column + 2 * kTile);
      hn::StoreU(hn::InterleaveUpper(d, high_02, high_13), d, column + 3 * kTile);
    }
    for (; c < D; ++c, column += kTile)
      column[0] = r0.at(c), column[1] = r1.at(c), column[2] = r2.at(c), column[3] = r3.at(c);
  }
#endif
  for (; j < n_k; ++j) {
    const Row r = row(j);
    for (std::int64_t c = 0; c < D; ++c) to[c * kTile + j] = r.at(c);
  }
  for (; j < columns; ++j)
    for (std::int64_t c = 0; c < D; ++c) to[c * kTile + j] = 0;
}

// s (NV vectors) = q · k_t
template <int NV>
HWY_INLINE void score_vectors(float* HWY_RESTRICT s, const float* HWY_RESTRICT q,
                              const float* HWY_RESTRICT k_t, std::int64_t D) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<F> sums[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) sums[v] = hn::Zero(d);
  for (std::int64_t c = 0; c < D; ++c) {
    const auto x = hn::Set(d, q[c]);
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v)
      sums[v] = hn::MulAdd(x, hn::LoadU(d, k_t + c * kTile + v * L), sums[v]);
  }
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) hn::StoreU(sums[v], d, s + v * L);
}

// out = out·rescale + Σ_j p_j v_j over NV vectors of it.
template <int NV, class Row>
HWY_INLINE void add_values(float* HWY_RESTRICT out, float rescale, const float* HWY_RESTRICT p,
                           const HeadForward& h, std::int64_t offset, const NextKeys& next,
                           std::int64_t n_k, std::int64_t c) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  hn::Vec<F> sums[NV];
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) sums[v] = hn::Zero(d);
  std::int64_t fetched = 0;
  for (std::int64_t j = 0; j < n_k; ++j) {
    const Row row(h.v, offset + j * h.kv_stride, h.D);
    if (c == 0)
      for (; fetched * n_k < next.n * (j + 1); ++fetched)
        prefetch_row<Row>(next.rows, next.elem + fetched * next.stride, h.D);
    const auto x = hn::Set(d, p[j]);
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) sums[v] = hn::MulAdd(x, row.load(d, c + v * L), sums[v]);
  }
  const auto factor = hn::Set(d, rescale);
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v) {
    float* to = out + c + v * L;
    hn::StoreU(hn::Add(hn::Mul(hn::LoadU(d, to), factor), sums[v]), d, to);
  }
}

// Likewise the elements that fill no vector: a lane alone multiplies and adds as a vector does.
template <class Row>
HWY_INLINE void add_last_values(float* out, float rescale, const float* p, const HeadForward& h,
                                std::int64_t offset, std::int64_t n_k, std::int64_t c) {
  const F d;
  auto sum = hn::Zero(d);
  for (std::int64_t j = 0; j < n_k; ++j) {
    const Row row(h.v, offset + j * h.kv_stride, h.D);
    sum = hn::MulAdd(hn::Set(d, p[j]), hn::Set(d, row.at(c)), sum);
  }
  out[c] = out[c] * rescale + hn::GetLane(sum);
}

template <class Row>
HWY_INLINE void decode_rows(const HeadForward& h, const HeadForward* behind, float* scratch) {
  const F d;
  const auto L = static_cast<std::int64_t>(hn::Lanes(d));
  constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();
  const std::int64_t D = h.D;
  const auto [first, last] = seen_keys(h);
  float* k_t = scratch;        // (D, kTile)
  float* s = k_t + D * kTile;  // (kTile), scores and then probabilities
  float* q = s + kTile;        // (D), scaled
  float* out = h.out + h.first_query * h.out_stride;
  const float factor = score_factor(h.scale, h.softcap);
  for (std::int64_t c = 0; c < D; ++c) q[c] = factor * h.q[h.first_query * h.q_stride + c];
  std::fill(out, out + D, 0.0f);
  auto max = hn::Set(d, kMinusInfinity), sum = hn::Zero(d);  // the same in all lanes
  for (std::int64_t j0 = first, j1; j0 < last; j0 = j1) {
    j1 = std::min((j0 / kTile + 1) * kTile, last);  // the end of its tile
    const std::int64_t n_k = j1 - j0, columns = (n_k + L - 1) / L * L, offset = key_offset(h, j0);
    NextKeys next;
    if (j1 < last)
      next = keys_of_tile(h, j1, last);
    else if (behind)
      next = keys_of_tile(*behind, seen_keys(*behind).first, seen_keys(*behind).last);
    transpose_keys<Row>(k_t, h, offset, n_k, columns);
    std::int64_t i = 0;
    for (; i + kRun * L <= columns; i += kRun * L) score_vectors<kRun>(s + i, q, k_t + i, D);
    for (; i < columns; i += L) score_vectors<1>(s + i, q, k_t + i, D);
    if (h.softcap > 0) cap_tile(s, nullptr, 1, columns, h.softcap);
    std::fill(s + n_k, s + columns, kMinusInfinity);
    const auto before = max;
    for (i = 0; i < columns; i += L) max = hn::Max(max, hn::LoadU(d, s + i));
    max = hn::MaxOfLanes(d, max);
    const auto base = hn::IfThenElse(hn::Eq(max, hn::Set(d, kMinusInfinity)), hn::Zero(d), max);
    for (i = 0; i < columns; i += L)
      hn::StoreU(exp_of(d, hn::Sub(hn::LoadU(d, s + i), base)), d, s + i);
    float total = 0;
    for (std::int64_t j = 0; j < n_k; ++j) total += s[j];
    const auto rescale = exp_of(d, hn::Sub(before, base));
    sum = hn::MulAdd(sum, rescale, hn::Set(d, total));
    const float kept = hn::GetLane(rescale);
    std::int64_t c = 0;
    for (; c + kRun * L <= D; c += kRun * L)
      add_values<kRun, Row>(out, kept, s, h, offset, next, n_k, c);
    for (; c + L <= D; c += L) add_values<1, Row>(out, kept, s, h, offset, next, n_k, c);
    for (; c < D; ++c) add_last_values<Row>(out, kept, s, h, offset, n_k, c);
  }
  const float all = hn::GetLane(sum), inverse = all == 0 ? 0.0f : 1.0f / all;
  for (std::int64_t c = 0; c < D; ++c) out[c] *= inverse;
}

void HeadDecode(const HeadForward& h, const HeadForward* next, float* scratch) {
  with_row(h.kv, [&]<class Row>() HWY_ATTR { decode_rows<Row>(h, next, scratch); });
}

}  // namespace HWY_NAMESPACE
}  // namespace weft::cpu
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace weft::cpu {

HWY_EXPORT(HeadDecode);

std::int64_t head_decode_scratch_elems(std::int64_t D) { return D * kTile + kTile + D; }
void head_decode(const HeadForward& head, const HeadForward* next, float* scratch) {
  HWY_DYNAMIC_DISPATCH(HeadDecode)(head, next, scratch);
}

}  // namespace weft::cpu
#endif

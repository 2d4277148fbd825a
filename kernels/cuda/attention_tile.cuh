// What attention's forward and backward kernels share beside attention_fragments.cuh: the call,
// which keys a query sees, tiles on their way in and out, and dropout of a fragment.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/check.h"
#include "core/rng.h"
#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/attention_fragments.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/random.cuh"
#include "kernels/ops.h"

namespace weft::cuda {

// ---- problem

// Apart from random.cuh's DropoutMask: attention counts elements by head, and takes signed samples.
struct AttentionDropout {
  std::uint64_t key = 0;
  std::uint32_t threshold =
      0;            // an element is kept iff its word's upper 24 bits reach it; 0: no dropout
  float scale = 1;  // 1 / (1 - p)
  std::int64_t first_head = 0, first_sample = 0;
};

struct AttentionProblem {
  const std::int32_t* lengths = nullptr;  // as ops.h, or null
  int n_packed = 0;                       // sequences that `lengths` delimits; 0: not packed
  int T = 0, H = 0, Hkv = 0, D = 0;
  int left = 0,
      right = 0;  // query i sees keys i - left to i + right (causal: right = 0) of its sequence
  float scale = 1, softcap = 0;
  float log2_unit =
      1;  // a score, capped or (without cap) not yet scaled, times this is a power of 2
  AttentionDropout drop;
};

inline AttentionProblem attention_problem(const char* op, ConstView qkv, ConstView lengths,
                                          const AttentionArgs& args) {
  CHECK(args.scale > 0, "{}: scale {}; supported on a GPU: positive", op, args.scale);
  CHECK(qkv.dim(1) < 1 << 30, "{}: {} rows; supported on a GPU: fewer than 2^30", op, qkv.dim(1));
  CHECK(qkv.dim(2) * qkv.dim(3) < 1 << 29,
        "{}: rows of {} x {}; supported on a GPU: fewer than 2^29 elements", op, qkv.dim(2),
        qkv.dim(3));
  AttentionProblem p;
  const auto T = static_cast<int>(qkv.dim(1));
  p.lengths = lengths.empty() ? nullptr : pointer<std::int32_t>(lengths);
  p.n_packed = lengths.empty() || !args.packed ? 0 : static_cast<int>(lengths.dim(0)) - 1;
  p.T = T, p.H = args.n_heads, p.Hkv = args.n_kv_heads, p.D = args.head_dim;
  p.left = args.window_left < 0 || args.window_left > T ? T : args.window_left;
  p.right = args.window_right < 0 || args.window_right > T ? T : args.window_right;
  if (args.causal) p.right = 0;
  p.scale = args.scale, p.softcap = args.softcap;
  p.log2_unit = args.softcap > 0 ? kLog2E : args.scale * kLog2E;
  const Dropout& drop = args.drop;
  if (drop.p > 0) {
    p.drop.key =
        mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site));
    p.drop.threshold = static_cast<std::uint32_t>(std::ceil(static_cast<double>(drop.p) * 0x1p24));
    p.drop.scale = 1.0f / (1.0f - drop.p);
    p.drop.first_head = args.first_head;
    p.drop.first_sample = drop.first_sample;
  }
  return p;
}

// Pairs of query and key that a head's mask lets through, for Work; padding and packing (known to
// the device only) are not subtracted.
inline double visible_pairs(const AttentionProblem& p) {
  const double T = p.T, l = p.left < p.T ? p.left : T - 1, r = p.right < p.T ? p.right : T - 1;
  return T * (l + r + 1) - l * (l + 1) / 2 - r * (r + 1) / 2;
}

// ---- masks

// How many rows of the batch row hold keys that somebody may see.
__device__ __forceinline__ int key_end(const AttentionProblem& p, int b) {
  if (p.lengths == nullptr) return p.T;
  return min(max(p.lengths[p.n_packed > 0 ? p.n_packed : b], 0), p.T);
}

// The packed sequence that holds row t; rows past the last begin see and are seen by nothing.
__device__ __forceinline__ Span packed_sequence(const AttentionProblem& p, int t) {
  int low = 0,
      high = p.n_packed + 1;  // the begins before `low` are <= t, those from `high` on are not
  while (low < high) {
    const int middle = (low + high) / 2;
    if (p.lengths[middle] <= t)
      low = middle + 1;
    else
      high = middle;
  }
  const int first = low > 0 ? p.lengths[low - 1] : 0;
  return {min(first, p.T), min(low <= p.n_packed ? p.lengths[low] : first, p.T)};
}

// Neither end of these spans decreases with the row: a tile's span goes from its first row's begin
// to its last row's end.
__device__ __forceinline__ Span keys_of_query(const AttentionProblem& p, int b, int i) {
  const Span sequence = p.n_packed > 0 ? packed_sequence(p, i) : Span{0, key_end(p, b)};
  return {max(sequence.begin, i - p.left), min(sequence.end, i + p.right + 1)};
}
__device__ __forceinline__ Span queries_of_key(const AttentionProblem& p, int j) {  // j < key_end
  const Span sequence = p.n_packed > 0 ? packed_sequence(p, j) : Span{0, p.T};
  return {max(sequence.begin, j - p.right), min(sequence.end, j + p.left + 1)};
}

// ---- tiles

// Begins copying rows [first, first + kRows) of `from`; rows at and past `end` and columns at and
// past D become zero.
template <class T, int kWidth, int kRows, int kThreads>
__device__ __forceinline__ void load_tile(T* tile, const T* from, std::int64_t stride, int first,
                                          int end, int D) {
  using Layout = Tile<T, kWidth>;
  constexpr int kAbreast = Layout::kMask + 1,
                kStep = kThreads / kAbreast;  // threads on a row; rows at once
  static_assert(kRows % kStep == 0 && kStep % 8 == 0);
  // More would spill.
  [[maybe_unused]] constexpr int kUnrollChunks = sizeof(T) == 4 ? 1 : 16;
  [[maybe_unused]] constexpr int kUnrollRows = sizeof(T) == 4 || kThreads > 128 ? kUnrollChunks
                                               : kWidth == 96                   ? 1
                                               : kWidth == 128                  ? 2
                                                                                : kUnrollChunks;
  const int row = static_cast<int>(threadIdx.x) / kAbreast,
            chunk = static_cast<int>(threadIdx.x) % kAbreast, rows = end - first - row;
  T* to = tile + Layout::offset(row, chunk);
  const int row_bytes = static_cast<int>(stride * static_cast<std::int64_t>(sizeof(T)));
  const char* at = reinterpret_cast<const char*>(from + chunk * Layout::kChunk) +
                   static_cast<std::int64_t>(first + row) * row_bytes;
#pragma unroll kUnrollRows
  for (int i = 0; i < kRows; i += kStep, at += kStep * row_bytes)
#pragma unroll kUnrollChunks
    for (int c = 0; c < kWidth; c += kAbreast * Layout::kChunk)
      copy_async_16(to + i * kWidth + c, at + c * static_cast<int>(sizeof(T)),
                    i < rows && chunk * Layout::kChunk + c < D);
}

// d (kRowTiles·16, kOut·8) += p (kRowTiles·16, kTiles·8) · rows [row, …) of y, columns [column, …).
template <class T, int kWidth, int kRowTiles, int kTiles, int kOut>
__device__ __forceinline__ void multiply_columns(float (&d)[kRowTiles][kOut][4],
                                                 const float (&p)[kRowTiles][kTiles][4], const T* y,
                                                 int row, int column, int lane) {
  using F = Fragments<T>;
  const int corner = F::template corner_columns<kWidth>(lane);
  // One where the accumulators fill the registers: more would spill.
  constexpr int kSteps = kOut > 16 ? 1 : F::kSumSteps < kTiles ? F::kSumSteps : kTiles;
#pragma unroll
  for (int first = 0; first < kTiles * 8 / F::kDepth; first += kSteps) {
    typename F::A a[kRowTiles][kSteps];
#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
      for (int step = 0; step < kSteps; ++step) F::to_a(a[r][step], p[r], first + step);
#pragma unroll
    for (int n = 0; n < kOut; n += 2)
      multiply_pair<T>(d, n, a, [&](typename F::B& b, int step) {
        F::template load_b_columns<kWidth>(b, y + row * kWidth, corner, (first + step) * F::kDepth,
                                           column + 8 * n);
      });
  }
}

// Writes `kRows` rows of a finished tile in shared memory, by one warp, 16 bytes a lane: rows at
// and past `end` are not there, those at and past `zero_from` are zero.
template <class T, int kWidth, int kRows>
__device__ __forceinline__ void store_rows(T* to, std::int64_t stride, const T* tile, int tile_row,
                                           int first, int end, int zero_from, int D, int lane) {
  using Layout = Tile<T, kWidth>;
  const int chunks = D / Layout::kChunk;
  for (int piece = lane; piece < kRows * chunks; piece += 32) {
    const int row = piece / chunks, chunk = piece - row * chunks;
    if (first + row >= end) break;
    uint4 value = *reinterpret_cast<const uint4*>(tile + Layout::offset(tile_row + row, chunk));
    if (first + row >= zero_from) value = make_uint4(0, 0, 0, 0);
    *reinterpret_cast<uint4*>(to + (first + row) * stride + chunk * Layout::kChunk) = value;
  }
}

// ---- dropout

// Which of the four elements of `block` of this sample are kept, one bit each.
__device__ __forceinline__ std::uint32_t kept_of_block(const AttentionDropout& drop,
                                                       std::uint64_t block, std::uint64_t sample) {
  std::uint32_t c0 = static_cast<std::uint32_t>(block),
                c1 = static_cast<std::uint32_t>(block >> 32);
  std::uint32_t c2 = static_cast<std::uint32_t>(sample),
                c3 = static_cast<std::uint32_t>(sample >> 32);
  philox(drop.key, c0, c1, c2, c3);
  return ((c0 >> 8) >= drop.threshold ? 1u : 0u) | ((c1 >> 8) >= drop.threshold ? 2u : 0u) |
         ((c2 >> 8) >= drop.threshold ? 4u : 0u) | ((c3 >> 8) >= drop.threshold ? 8u : 0u);
}

// Which of this lane's four accumulators of the 16 x 8 tile at (row, column) are kept, one bit
// each. Rows are queries, or (kKeys) keys; sequence = head·T of the element's index. The whole warp
// calls it.
template <bool kKeys>
__device__ __forceinline__ std::uint32_t kept_of_tile(const AttentionProblem& p,
                                                      std::int64_t sequence, std::uint64_t sample,
                                                      int row, int column, int lane) {
  const int g = lane / 4, t = lane % 4;
  if (p.T % 4 == 0) {  // then four keys in turn are a block: the tile has 32 of them, one a lane
    const int query = kKeys ? column + (lane & 7) : row + (lane >> 1),
              key = kKeys ? row + 4 * (lane >> 3) : column + 4 * (lane & 1);
    const std::uint32_t mine = kept_of_block(
        p.drop, static_cast<std::uint64_t>((sequence + query) * p.T + key) / 4, sample);
    const std::uint32_t word0 = __ballot_sync(kFullWarp, (mine & 1) != 0),
                        word1 = __ballot_sync(kFullWarp, (mine & 2) != 0);
    const std::uint32_t word2 = __ballot_sync(kFullWarp, (mine & 4) != 0),
                        word3 = __ballot_sync(kFullWarp, (mine & 8) != 0);
    if constexpr (kKeys) {
      const std::uint32_t even = (g & 2) != 0 ? word2 : word0, odd = (g & 2) != 0 ? word3 : word1;
      const std::uint32_t word = ((g & 1) != 0 ? odd : even) >> (8 * (g >> 2) + 2 * t);
      return (word & 3) | ((word >> 16 & 3) << 2);
    } else {
      const std::uint32_t low = ((t & 1) != 0 ? word2 : word0) >> (2 * g + (t >> 1)),
                          high = ((t & 1) != 0 ? word3 : word1) >> (2 * g + (t >> 1));
      return (low & 1) | ((high & 1) << 1) | ((low >> 16 & 1) << 2) | ((high >> 16 & 1) << 3);
    }
  }
  std::uint32_t kept = 0;
#pragma unroll 1
  for (int e = 0; e < 4; ++e) {
    const int r = row + g + 8 * (e >> 1), c = column + 2 * t + (e & 1);
    const std::int64_t element = (sequence + (kKeys ? c : r)) * p.T + (kKeys ? r : c);
    kept |=
        (kept_of_block(p.drop, static_cast<std::uint64_t>(element) / 4, sample) >> (element & 3) &
         1)
        << e;
  }
  return kept;
}

// The same for kTiles tiles side by side, four bits each.
template <bool kKeys, int kTiles>
__device__ __forceinline__ std::uint32_t kept_of_tiles(const AttentionProblem& p, int b, int h,
                                                       int row, int column, int lane) {
  static_assert(kTiles <= 8);
  const std::int64_t sequence = (p.drop.first_head + h) * p.T;
  std::uint32_t kept = 0;
#pragma unroll 1  // the counters' arithmetic is long, and here few registers are free
  for (int n = 0; n < kTiles; ++n)
    kept |= kept_of_tile<kKeys>(p, sequence, static_cast<std::uint64_t>(p.drop.first_sample + b),
                                row, column + 8 * n, lane)
            << (4 * n);
  return kept;
}

}  // namespace weft::cuda

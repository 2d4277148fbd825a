// What the kernels of attention_cached share around a warp's work on a tile: the call and its
// slices, which keys a row sees, the way of tiles into shared memory, masks, the exchange of scores
// between warps, and the output.
#pragma once

#include "kernels/cached_plan.h"
#include "kernels/cuda/attention_cached_tile.cuh"

namespace weft::cuda {

template <class T>
struct CachedCall {
  const T* qkv;  // (N, H + 2 Hkv, D)
  T *k, *v;      // (pages, S, Hkv, D)
  T* out;        // (N, H, D)
  const CachedSlice* slices;
  const int* first_token;  // (n_slices) as CachedTable has them …
  const int* first_block;  // … (n_slices)
  const int* pages;
  float* partial_out;  // (partials, D), to be divided by the sum
  float2* partial;     // (partials): largest score, sum
  int n_slices, H, Hkv, D, S;
  float scale;    // of q·k, to units of log 2; with a cap: to the cap
  float softcap;  // in units of log 2; 0: none
  bool causal;
  int window_left, window_right;
};

// The keys that row i of a slice sees; its own is always among them. Neither end decreases with i.
template <class T>
__device__ __forceinline__ Span keys_of_row(const CachedCall<T>& call, const CachedSlice& slice,
                                            int i) {
  const int position = slice.n_cached + i,
            after = call.causal ? 0 : slice.n_rows - 1 - i;  // keys after its own
  const int left = call.window_left, right = call.window_right;
  return {left >= 0 && left < position ? position - left : 0,
          position + 1 + (right >= 0 && right < after ? right : after)};
}

// The slice that holds item `item`, where `first` of each slice ascends from 0; one of no rows
// where none does. For whole warps.
__device__ __forceinline__ int slice_of(const int* first, int n_slices, int item) {
  int begun = 0;
  for (int base = 0; base < n_slices; base += 32) {
    const int i = base + static_cast<int>(threadIdx.x) % 32;
    begun += __popc(__ballot_sync(kFullWarp, i < n_slices && first[i] <= item));
  }
  return begun - 1;
}

// ---- tiles

// A block's query vectors: (rows, query heads of the KV head) flattened, from first_vector on.
struct QueryTile {
  int kv, group, first_vector, n_vectors;  // n_vectors: of the slice
  __device__ __forceinline__ int row(int vector) const { return vector / group; }
  __device__ __forceinline__ int head(int vector) const { return kv * group + vector % group; }
};

template <class T, int kWidth, int kRows, int kThreads>
__device__ __forceinline__ void copy_queries(T* q, const CachedCall<T>& call,
                                             const CachedSlice& slice, const QueryTile& tile) {
  using Layout = CacheTile<T, kWidth>;
#pragma unroll 1
  for (int i = static_cast<int>(threadIdx.x); i < kRows * Layout::kChunks; i += kThreads) {
    const int row = i / Layout::kChunks, unit = i % Layout::kChunks,
              vector = tile.first_vector + row;
    const bool valid = vector < tile.n_vectors && unit * Layout::kChunk < call.D;
    const int token = valid ? slice.first_row + tile.row(vector) : 0,
              head = valid ? tile.head(vector) : 0;
    const T* from =
        call.qkv + (static_cast<std::int64_t>(token) * (call.H + 2 * call.Hkv) + head) * call.D;
    copy_async_16(q + Layout::offset(row, unit), from + (valid ? unit * Layout::kChunk : 0), valid);
  }
}

// The key tiles a block goes through, and the ring of slots in shared memory that their keys and
// values pass: half 2i is tile i's keys, half 2i + 1 its values. kSlots - 1 halves are under way
// while one is worked on.
template <class T, int kWidth, int kSlots, int kThreads>
struct TileRing {
  using Layout = CacheTile<T, kWidth>;
  T* slots;  // (kSlots, kKeys, kWidth)
  Span keys;
  int first_tile, n_tiles;

  __device__ __forceinline__ TileRing(T* memory, Span range)
      : slots(memory),
        keys(range),
        first_tile(range.begin / Layout::kKeys),
        n_tiles(range.begin < range.end ? (range.end - 1) / Layout::kKeys + 1 - first_tile : 0) {}

  __device__ __forceinline__ T* slot(int half) const {
    return slots + half % kSlots * Layout::kElems;
  }
  __device__ __forceinline__ int first_key(int tile) const {
    return (first_tile + tile) * Layout::kKeys;
  }

  // Begins the copy of a half; keys that no row sees, and columns past D, become zero.
  __device__ __forceinline__ void copy(int half, const CachedCall<T>& call,
                                       const CachedSlice& slice, int kv) const {
    if (half < 2 * n_tiles) {
      const int first = first_key(half / 2),
                page = call.pages[slice.pages + first / call.S];  // a tile lies within a page
      const T* from =
          (half % 2 == 0 ? call.k : call.v) +
          ((static_cast<std::int64_t>(page) * call.S + first % call.S) * call.Hkv + kv) * call.D;
      T* to = slot(half);
      constexpr int kSteps = Layout::kKeys * Layout::kChunks / kThreads;
      static_assert(Layout::kKeys * Layout::kChunks % kThreads == 0);
#pragma unroll 2
      for (int step = 0; step < kSteps; ++step) {
        const int i = step * kThreads + static_cast<int>(threadIdx.x), row = i / Layout::kChunks,
                  unit = i % Layout::kChunks;
        const bool valid =
            first + row >= keys.begin && first + row < keys.end && unit * Layout::kChunk < call.D;
        const std::int64_t at =
            static_cast<std::int64_t>(row) * call.Hkv * call.D + unit * Layout::kChunk;
        copy_async_16(to + Layout::offset(row, unit), from + (valid ? at : 0), valid);
      }
    }
    commit_copies();
  }
  // Returns when half `half` is there for all threads; then the slot of the half before it is free,
  // and filled.
  __device__ __forceinline__ void advance(int half, const CachedCall<T>& call,
                                          const CachedSlice& slice, int kv) const {
    wait_copies<kSlots - 2>();
    __syncthreads();
    copy(half + kSlots - 1, call, slice, kv);
  }
};

// q·k become scores in units of log 2, -infinity where the row does not see the key. __fmul_rn: not
// to be joined with what follows.
template <class T, int kTiles>
__device__ __forceinline__ void scale_and_mask(float (&s)[kTiles][4], const CachedCall<T>& call,
                                               const Span (&seen)[2], int first_key) {
  const int t = static_cast<int>(threadIdx.x) % 4;
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
#pragma unroll
    for (int e = 0; e < 4; ++e) {
      const int key = first_key + 8 * n + 2 * t + e % 2;
      float score = __fmul_rn(s[n][e], call.scale);
      if (call.softcap > 0) score = __fmul_rn(tanhf(score), call.softcap);
      s[n][e] = key >= seen[e / 2].begin && key < seen[e / 2].end ? score : -kInfinity;
    }
}

// The keys seen by rows g and g + 8 of a warp's 16 query vectors; none where there is no vector.
template <class T>
__device__ __forceinline__ void seen_by_rows(Span (&seen)[2], const CachedCall<T>& call,
                                             const CachedSlice& slice, const QueryTile& tile,
                                             int first_vector) {
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int vector = first_vector + static_cast<int>(threadIdx.x) % 32 / 4 + 8 * r;
    seen[r] = vector < tile.n_vectors ? keys_of_row(call, slice, tile.row(vector)) : Span{0, 0};
  }
}

// Scores pass between warps that share query vectors: each puts those of its tiles of keys, from
// `first` on, and takes all of them after a barrier. exchange (kKeyTiles, 32): a lane's part of
// each fragment.
template <int kTiles>
__device__ __forceinline__ void put_scores(float4* exchange, const float (&s)[kTiles][4],
                                           int first) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n)
    exchange[(first + n) * 32 + threadIdx.x % 32] = make_float4(s[n][0], s[n][1], s[n][2], s[n][3]);
}
template <int kTiles>
__device__ __forceinline__ void take_scores(float (&s)[kTiles][4], const float4* exchange) {
#pragma unroll
  for (int n = 0; n < kTiles; ++n) {
    const float4 part = exchange[n * 32 + threadIdx.x % 32];
    s[n][0] = part.x, s[n][1] = part.y, s[n][2] = part.z, s[n][3] = part.w;
  }
}

// out = acc / sum, of columns 8 first_tile on.
template <class T, int kTiles>
__device__ __forceinline__ void store_out(const float (&acc)[kTiles][4], const SoftmaxState& state,
                                          const CachedCall<T>& call, const CachedSlice& slice,
                                          const QueryTile& tile, int first_vector, int first_tile) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int vector = first_vector + lane / 4 + 8 * r;
    if (vector >= tile.n_vectors) continue;
    const float inverse = 1.0f / state.sum.of[r];
    T* out = call.out + (static_cast<std::int64_t>(slice.first_row + tile.row(vector)) * call.H +
                         tile.head(vector)) *
                            call.D;
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const int column = 8 * (first_tile + n) + 2 * (lane % 4);
      if (column < call.D)
        store_pair(out + column, acc[n][2 * r] * inverse, acc[n][2 * r + 1] * inverse);
    }
  }
}

}  // namespace weft::cuda

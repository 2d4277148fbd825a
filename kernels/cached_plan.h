// Which slices of a pass attention_cached is for: a table that the host makes once for all layers
// of the same heads and mask, and that is read from the device's memory.
#pragma once

#include <cstdint>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/scratch.h"

namespace weft {

// A slice as the table holds it; behind the last one is one of no rows.
struct CachedSlice {
  int first_row, n_rows, n_cached;
  int pages;                  // token t lies in page pages[this + t / S] of the call
  int first_chunk, n_chunks;  // of keys, that any of its rows sees
  int first_partial;          // of the call's: (n_rows, H, n_chunks)
};

// The parts of a table with room for n slices. Those that are split over their chunks come first,
// and their blocks are counted apart.
template <class Int>  // const int, or int while it is filled
struct CachedTable {
  using Slice = std::conditional_t<std::is_const_v<Int>, const CachedSlice, CachedSlice>;
  Slice* slices;     // (n + 1)
  Int* first_token;  // (n + 1) new tokens of the slices before
  Int* first_block;  // (n + 1) likewise blocks, of one KV head
  Int* own_pages;    // (n) of slices without a page table
  CachedTable(Int* ints, std::int64_t n)
      : slices(reinterpret_cast<Slice*>(ints)),
        first_token(ints + (n + 1) * static_cast<std::int64_t>(sizeof(CachedSlice) / sizeof(int))),
        first_block(first_token + n + 1),
        own_pages(first_block + n + 1) {}
};
constexpr std::int64_t cached_table_ints(std::int64_t n) {
  return (n + 1) * static_cast<std::int64_t>(sizeof(CachedSlice) / sizeof(int) + 2) + n;
}
// Slices that a pass can have.
std::int64_t most_slices(const CachedShape& shape);
// Of a call's tensors; pages may be empty.
CachedShape cached_shape(ConstView qkv, ConstView k_cache, ConstView pages);

// Fills table (cached_table_ints(most_slices(shape))). The plan's own view of it is the caller's to
// set, to where the device reads it. An Error where a slice leaves the rows or the cache.
CachedPlan plan_cached(std::span<std::int32_t> table, std::span<const CacheSlice> slices,
                       const CachedShape& shape, const AttentionArgs& args);
// Likewise, with a table of its own, for the caller to put where the device reads it.
std::pair<CachedPlan, std::vector<std::int32_t>> plan_cached(std::span<const CacheSlice> slices,
                                                             const CachedShape& shape,
                                                             const AttentionArgs& args);

// A count rounded up, so that few of them are met while a batch and its texts grow and shrink: to a
// power of two up to 8, then by at most a quarter.
std::int64_t padded_count(std::int64_t n);

namespace cuda {

constexpr int kChunkKeys = 256;     // depends on nothing, so that sums do not
constexpr int kDecodeVectors = 16;  // query vectors of a tile that has a block for each chunk
constexpr int kSplitVectors =
    64;  // slices of at most so many query vectors a KV head are split over their chunks
constexpr int query_tile(int width, std::size_t elem_bytes) {
  return width * elem_bytes > 512 ? 32 : 64;
}  // else: to fit into 163 KiB

// A row of a slice that is split has a partial for each chunk and head.
std::int64_t most_partials(const CachedAttentionSizes& sizes, const AttentionArgs& args);

}  // namespace cuda
}  // namespace weft

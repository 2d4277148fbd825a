#include "kernels/cached_plan.h"

#include <algorithm>
#include <bit>
#include <limits>

#include "core/check.h"
#include "kernels/work.h"

namespace weft {
namespace {

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

int as_int(std::int64_t n) {
  CHECK(n <= std::numeric_limits<int>::max(), "{} is more than a table of slices counts", n);
  return static_cast<int>(n);
}

std::int64_t tokens_a_slot(const CachedShape& s) { return s.S * std::max<std::int64_t>(s.M, 1); }

// New tokens of a slice that is split over its chunks, at most.
std::int64_t most_split_rows(const AttentionArgs& args) {
  return std::max(1, cuda::kSplitVectors / (args.n_heads / args.n_kv_heads));
}

void check(const CacheSlice& s, const CachedShape& shape) {
  CHECK(s.first_row >= 0 && s.n_rows >= 1 && s.first_row + s.n_rows <= shape.N && s.n_cached >= 0 &&
            s.n_cached + s.n_rows <= tokens_a_slot(shape) && s.slot >= 0 && s.slot < shape.slots,
        "attention_cached: rows {}+{} of {}, slot {} of {}, {} cached of {}", s.first_row, s.n_rows,
        shape.N, s.slot, shape.slots, s.n_cached, tokens_a_slot(shape));
}

// Fills a table slice by slice, and counts.
struct Filling {
  CachedPlan& plan;
  CachedTable<int> table;
  std::int64_t n = 0, tokens = 0, partials = 0;

  void add(const CacheSlice& s, bool split, std::int64_t tile_vectors) {
    const AttentionArgs& args = plan.args;
    const std::int64_t end = s.n_cached + s.n_rows,
                       begin = args.window_left < 0
                                   ? 0
                                   : std::max<std::int64_t>(0, s.n_cached - args.window_left),
                       first_chunk = begin / cuda::kChunkKeys,
                       n_chunks = (end - 1) / cuda::kChunkKeys + 1 - first_chunk;
    CachedPlan::Part& part = split ? plan.split : plan.whole;
    table.slices[n] = {
        as_int(s.first_row), as_int(s.n_rows), as_int(s.n_cached),
        // Where its row of the page table begins; without one, of those that are here.
        as_int(plan.shape.M > 0 ? s.slot * plan.shape.M : n), as_int(first_chunk), as_int(n_chunks),
        as_int(partials)};
    table.own_pages[n] = as_int(s.slot);
    table.first_token[n] = as_int(tokens);
    table.first_block[n] = as_int(part.blocks);
    ++n;
    ++part.entries;
    tokens += s.n_rows;
    part.tokens += s.n_rows;
    part.blocks += ceil_div(s.n_rows * (args.n_heads / args.n_kv_heads), tile_vectors) *
                   (split ? n_chunks : 1);
    part.joins = part.joins || n_chunks > 1;
    if (split && n_chunks > 1) {
      partials += s.n_rows * args.n_heads * n_chunks;
      part.partials = partials;
    }
    part.keys += static_cast<double>(end - begin);
    part.pairs += attention_pairs(s.n_cached, s.n_rows, end, args.window_left,
                                  args.causal ? 0 : args.window_right);
  }

  // Items behind the last slice's are those of a slice of no rows.
  void finish() {
    std::fill(table.slices + n, table.slices + plan.n_slices + 1, CachedSlice{});
    std::fill(table.own_pages + n, table.own_pages + plan.n_slices, 0);
    for (int* first : {table.first_token, table.first_block})
      std::fill(first + n, first + plan.n_slices + 1, std::numeric_limits<int>::max());
    table.first_token[n] = as_int(tokens);
    table.first_block[n] = as_int(plan.split.blocks);
  }
};

}  // namespace

std::int64_t padded_count(std::int64_t n) {
  if (n <= 1) return n;
  const auto count = static_cast<std::uint64_t>(n);
  if (n <= 8) return static_cast<std::int64_t>(std::bit_ceil(count));
  const auto step = std::max<std::int64_t>(8, static_cast<std::int64_t>(std::bit_floor(count) / 4));
  return ceil_div(n, step) * step;
}

std::int64_t most_slices(const CachedShape& shape) { return std::min(shape.N, shape.slots); }

CachedShape cached_shape(ConstView qkv, ConstView k_cache, ConstView pages) {
  const bool paged = !pages.empty();
  return {.N = qkv.dim(0),
          .S = k_cache.dim(1),
          .slots = paged ? pages.dim(0) : k_cache.dim(0),
          .M = paged ? pages.dim(1) : 0,
          .act = qkv.dtype()};
}

CachedPlan plan_cached(std::span<std::int32_t> table, std::span<const CacheSlice> slices,
                       const CachedShape& shape, const AttentionArgs& args) {
  CachedPlan plan;
  plan.shape = shape;
  plan.args = args;
  plan.n_slices = most_slices(shape);
  CHECK(static_cast<std::int64_t>(slices.size()) <= plan.n_slices &&
            static_cast<std::int64_t>(table.size()) == cached_table_ints(plan.n_slices),
        "attention_cached: {} slices in a table of {} values for {}", slices.size(), table.size(),
        plan.n_slices);
  for (const CacheSlice& s : slices) check(s, shape);
  Filling filling = {plan, {table.data(), plan.n_slices}};
  const std::int64_t split_rows = most_split_rows(args);
  const int whole_tile = cuda::query_tile(args.head_dim <= 128 ? 128 : 256, dtype_bytes(shape.act));
  for (const bool split : {true, false})
    for (const CacheSlice& s : slices)
      if ((s.n_rows <= split_rows) == split)
        filling.add(s, split, split ? cuda::kDecodeVectors : whole_tile);
  filling.finish();
  plan.n_partials = cuda::most_partials(
      {.rows = shape.N, .texts = plan.n_slices, .keys = tokens_a_slot(shape)}, args);
  if (slices.empty() || plan.whole.entries > 0) return plan;
  plan.split.entries = plan.n_slices + 1;
  plan.split.tokens = shape.N;
  plan.split.blocks = padded_count(plan.split.blocks);
  return plan;
}

std::pair<CachedPlan, std::vector<std::int32_t>> plan_cached(std::span<const CacheSlice> slices,
                                                             const CachedShape& shape,
                                                             const AttentionArgs& args) {
  std::vector<std::int32_t> table(static_cast<std::size_t>(cached_table_ints(most_slices(shape))));
  const CachedPlan plan = plan_cached(table, slices, shape, args);
  return {plan, std::move(table)};
}

std::int64_t cuda::most_partials(const CachedAttentionSizes& s, const AttentionArgs& args) {
  const std::int64_t rows = std::min(s.rows, s.texts * most_split_rows(args));
  return rows * args.n_heads * ceil_div(s.keys, kChunkKeys);
}

}  // namespace weft

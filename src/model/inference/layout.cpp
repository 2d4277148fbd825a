// Where an InferencePass keeps what, and how much that is.
#include <algorithm>

#include "model/inference/buffers.h"
#include "model/tensor_parallel.h"

namespace weft {

std::int64_t layer_of(const ModelConfig& c, bool has_window) {
  for (std::int64_t l = 0; l < c.layers; ++l)
    if (c.has_window(l) == has_window) return l;
  return -1;
}

CachedShape cached_shape_of(const InferenceShape& shape, std::int64_t N) {
  const bool paged = shape.pages > 0;
  return {.N = N,
          .S = paged ? kPageTokens : pages_of(shape.S) * kPageTokens,
          .slots = shape.slots,
          .M = paged ? pages_of(shape.S) : 0,
          .act = shape.act};
}

GridPlace place_of(const Grid& grid) { return {grid.shape(), grid.tp().rank(), grid.pp().rank()}; }

InferencePass::Buffers InferencePass::lay_out(Arena& arena, HostSide& host, const ModelConfig& c,
                                              const Grid& grid, const InferenceShape& shape,
                                              std::int64_t N) {
  Buffers b;
  const int tp = grid.shape().tp;
  const std::int64_t V_tp = split_range(c.vocab, tp, grid.tp().rank()).size(),
                     R = std::min(shape.max_logit_rows, shape.max_rows);
  if (shape.pages > 0)
    b.pages = host.pass.alloc(arena, DType::i32, {shape.slots, pages_of(shape.S)});
  b.text_ends = host.pass.alloc(arena, DType::i32, {N + 1});
  const std::int64_t n_slices = most_slices(cached_shape_of(shape, N));
  for (const bool has_window : {false, true})
    if (!shape.whole_texts && layer_of(c, has_window) >= 0)
      b.slices[has_window] = host.pass.alloc(arena, DType::i32, {cached_table_ints(n_slices)});
  if (c.positions == Positions::rope) {
    b.rope_positions = host.pass.alloc(arena, DType::i32, {N});
    b.rope_table = host.pass.alloc(arena, DType::f32, {N, 2, c.rope.dims / 2});
  }
  if (grid.is_first_stage()) b.tokens = allocate_embedding(arena, host.pass, c, 1, N, shape.act);
  b.x = arena.alloc(shape.act, {1, N, c.width});
  b.delta = arena.alloc(shape.act, {1, N, c.width});
  b.block =
      allocate_block(arena, c, block_shape(c, grid, 1, N, shape.act, ParameterUse::inference));
  if (tp > 1) b.gather = allocate_gather(arena, c, grid, N, shape.act);
  if (!grid.is_last_stage()) return b;
  if (R < N) {
    const BlockShape s = block_shape(c, grid, 1, N, shape.act, ParameterUse::inference);
    b.kept = host.pass.alloc(arena, DType::i32, {R});
    b.kept_attn = arena.alloc(shape.act, {R, s.H_tp * s.D});
    b.kept_stream = arena.alloc(shape.act, {R, c.width});
  }
  b.y = arena.alloc(shape.act, {1, N, c.width});
  b.final_norm = allocate_norm(arena, c, 1, N);
  b.labels = host.results.alloc(arena, DType::i32, {N});
  b.rows = host.results.alloc(arena, DType::i32, {std::max(N, R)});
  b.loss = arena.alloc(DType::f32, {N});
  b.picked = arena.alloc(shape.act, {R, c.width});
  if (c.has_label_head() || c.pooler) b.labelled = allocate_label_scratch(arena, c, R, shape.act);
  if (!c.has_lm_head()) return b;
  HeadShape head = {.n_rows = N, .V_tp = V_tp, .tp = tp, .act = shape.act, .device = shape.device};
  b.head = allocate_head_scratch(arena, c, head);
  head.n_rows = R;
  if (c.head_transform) b.logits_head = allocate_head_scratch(arena, c, head);
  b.shard = arena.alloc(shape.act, {R, padded_vocab(V_tp, shape.device)});
  if (tp > 1) b.gathered = arena.alloc(shape.act, {R * padded_columns(c.vocab, tp, shape.device)});
  b.logits = arena.alloc(shape.act, {R, c.vocab});
  return b;
}

std::vector<std::pair<View, View>> lay_out_cache(Arena& arena, const ModelConfig& c,
                                                 const GridPlace& place,
                                                 const InferenceShape& shape) {
  const auto& [grid, tp_rank, pp_rank] = place;
  const std::int64_t n_layers = stage_layers(c, grid.pp, pp_rank)[0].size();
  // Without a page table a slot is one page.
  const std::int64_t n_pages = shape.pages > 0 ? shape.pages : shape.slots,
                     page_tokens = shape.pages > 0 ? kPageTokens : pages_of(shape.S) * kPageTokens;
  const Dims dims = {n_pages, page_tokens,
                     split_heads(c.heads, c.kv_heads, grid.tp, tp_rank).kv.size(),
                     kv_row_elems(shape.held(), c.head_dim)};
  std::vector<std::pair<View, View>> cache;
  for (std::int64_t l = 0; l < n_layers; ++l) {
    const View k = shape.whole_texts ? View() : arena.alloc(shape.held(), dims),
               v = shape.whole_texts ? View() : arena.alloc(shape.held(), dims);
    cache.emplace_back(k, v);
  }
  return cache;
}

std::size_t InferencePass::activation_bytes(const ModelConfig& config, const Grid& grid,
                                            const InferenceShape& shape) {
  HostSide host;
  return measure([&](Arena& a) { lay_out(a, host, config, grid, shape, shape.max_rows); });
}

std::size_t InferencePass::page_bytes(const ModelConfig& config, DType kv, GridShape shape,
                                      int tp_rank, int pp_rank) {
  const InferenceShape one = {.slots = 1, .S = kPageTokens, .pages = 1, .kv = kv};
  return measure([&](Arena& a) { lay_out_cache(a, config, {shape, tp_rank, pp_rank}, one); });
}

std::size_t InferencePass::page_bytes(const ModelConfig& config, DType kv, const Grid& grid) {
  return page_bytes(config, kv, grid.shape(), grid.tp().rank(), grid.pp().rank());
}

std::size_t InferencePass::plan_bytes(const ModelConfig& config, const Grid& grid,
                                      InferenceShape shape) {
  return measure([&](Arena& a) { lay_out_cache(a, config, place_of(grid), shape); }) +
         activation_bytes(config, grid, shape);
}

}  // namespace weft

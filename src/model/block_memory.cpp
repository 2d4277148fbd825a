// What a block holds: its sizes on a rank, activations, and room for backward and to gather.
#include <algorithm>

#include "model/block.h"

namespace weft {

BlockShape block_shape(const ModelConfig& c, const Grid& grid, std::int64_t B, std::int64_t T,
                       DType act, ParameterUse use) {
  const int tp = grid.shape().tp, rank = grid.tp().rank();
  const HeadShard heads = split_heads(c.heads, c.kv_heads, tp, rank);
  const std::int64_t F_tp = split_range(c.ffn, tp, rank).size();
  return {.B = B,
          .T = T,
          .C = c.width,
          .D = c.head_dim,
          .H_tp = heads.q.size(),
          .Hkv_tp = heads.kv.size(),
          .F_tp = F_tp,
          .U_tp = c.gated ? 2 * F_tp : F_tp,
          .first_head = heads.q.begin,
          .H = c.heads,
          .act = act,
          .qk_norm = qk_norm_shape(c, grid, use)};
}

AttentionArgs attention_args(const ModelConfig& config, const BlockShape& s, std::int64_t layer) {
  AttentionArgs args;
  args.n_heads = static_cast<int>(s.H_tp);
  args.n_kv_heads = static_cast<int>(s.Hkv_tp);
  args.head_dim = static_cast<int>(s.D);
  args.scale = config.layer_attention_scale(layer);
  args.softcap = config.attention_softcap;
  args.causal = config.causal;
  if (config.has_window(layer))
    args.window_left = args.window_right = static_cast<int>(config.window) - 1;
  args.first_head = static_cast<int>(s.first_head);
  args.total_heads = static_cast<int>(s.H);
  return args;
}

BlockActivations allocate_block(Arena& arena, const ModelConfig& c, const BlockShape& s) {
  const auto act = [&](Dims dims) { return arena.alloc(s.act, dims); };
  const bool before = c.has_branch_norms(), behind = c.has_output_norms();
  BlockActivations a;
  a.sum1 = act({s.B, s.T, s.C});
  a.y1 = before ? act({s.B, s.T, s.C}) : a.sum1;
  if (before) a.norm1 = allocate_norm(arena, c, s.B, s.T);
  a.qkv = act({s.B, s.T, s.H_tp + 2 * s.Hkv_tp, s.D});
  a.qk_norm = allocate_qk_norm(arena, s.qk_norm, s.B * s.T, s.D, s.act);
  a.attn = act({s.B, s.T, s.H_tp, s.D});
  a.lse = arena.alloc(DType::f32, {s.B, s.H_tp, s.T});
  if (behind) {
    a.attn_out = act({s.B, s.T, s.C});
    a.attn_post = allocate_norm(arena, c, s.B, s.T);
  }
  a.sum2 = c.parallel_residual ? a.sum1 : act({s.B, s.T, s.C});
  a.y2 = before ? act({s.B, s.T, s.C}) : a.sum2;
  if (before) a.norm2 = allocate_norm(arena, c, s.B, s.T);
  a.up = act({s.B, s.T, s.U_tp});
  a.act = act({s.B, s.T, s.F_tp});
  if (behind || c.parallel_residual) a.mlp_out = act({s.B, s.T, s.C});
  if (behind) a.mlp_post = allocate_norm(arena, c, s.B, s.T);
  return a;
}

BlockActivations with_input(const ModelConfig& config, BlockActivations acts, View sum1) {
  acts.sum1 = sum1;
  if (config.parallel_residual) acts.sum2 = sum1;
  if (!config.has_branch_norms()) acts.y1 = acts.sum1, acts.y2 = acts.sum2;
  return acts;
}

BlockScratch allocate_block_scratch(Arena& arena, const ModelConfig& c, const BlockShape& s) {
  const auto act = [&](Dims dims) { return arena.alloc(s.act, dims); };
  BlockScratch scratch;
  scratch.d_act = act({s.B, s.T, s.F_tp});
  scratch.d_up = c.gated ? act({s.B, s.T, s.U_tp}) : scratch.d_act;
  scratch.d_qkv = act({s.B, s.T, s.H_tp + 2 * s.Hkv_tp, s.D});
  scratch.d_attn = act({s.B, s.T, s.H_tp, s.D});
  scratch.d_y = act({s.B, s.T, s.C});
  if (s.qk_norm.groups() > 0)
    scratch.qk_dots = arena.alloc(DType::f32, {s.B * s.T * s.qk_norm.groups()});
  if (c.has_output_norms() || c.parallel_residual) scratch.d_branch = act({s.B, s.T, s.C});
  return scratch;
}

GatherRoom allocate_gather(Arena& arena, const ModelConfig& c, const Grid& grid, std::int64_t N,
                           DType act) {
  GatherRoom room;
  const int tp = grid.shape().tp;
  for (int r = 0; r < tp; ++r) {
    room.head_widths.push_back(split_heads(c.heads, c.kv_heads, tp, r).q.size() * c.head_dim);
    room.ffn_widths.push_back(split_range(c.ffn, tp, r).size());
    room.out_widths.push_back(split_range(c.width, tp, r).size());
  }
  const std::int64_t widest = std::max(c.heads * c.head_dim, c.ffn);
  room.whole = arena.alloc(act, {N * widest});
  room.packed = arena.alloc(act, {N * std::max(widest, c.width)});
  room.part = arena.alloc(act, {N * room.out_widths[static_cast<std::size_t>(grid.tp().rank())]});
  return room;
}

BlockGradients allocate_block_gradients(Arena& arena, const BlockShape& s) {
  const auto act = [&](Dims dims) { return arena.alloc(s.act, dims); };
  BlockGradients g;
  g.qkv = act({s.B, s.T, s.H_tp + 2 * s.Hkv_tp, s.D});
  g.out = act({s.B, s.T, s.C});
  g.up = act({s.B, s.T, s.U_tp});
  g.down = act({s.B, s.T, s.C});
  return g;
}

}  // namespace weft

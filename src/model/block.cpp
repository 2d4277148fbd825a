#include "model/block.h"

#include <algorithm>

#include "model/tensor_parallel.h"

namespace weft {
namespace {

AttentionArgs attention_args(const ModelConfig& config, const BlockShape& s, std::int64_t layer, const Dropout& drop, bool fixed_order) {
  AttentionArgs args;
  args.n_heads = static_cast<int>(s.H_tp);
  args.n_kv_heads = static_cast<int>(s.Hkv_tp);
  args.head_dim = static_cast<int>(s.D);
  args.scale = config.layer_attention_scale(layer);
  args.first_head = static_cast<int>(s.first_head);
  args.total_heads = static_cast<int>(s.H);
  args.drop = drop;
  args.fixed_order = fixed_order;
  return args;
}

// What matmuls read: the bf16 copy where there is one.
ConstView matmul_weight(const LocalParameter* p) { return p->weight_bf16.empty() ? p->weight : p->weight_bf16; }

// (B, T, …) as rows of the rest.
View rows(View x, std::int64_t n) { return x.reshape({n, x.elems() / n}); }

// The linear layer that ends a residual branch; x is this rank's heads or feed-forward columns.
// Training cuts its weight by columns: each rank multiplies its own, the sum over ranks is the result; the bias is added once.
// Inference cuts it by rows: x is gathered whole, each rank makes its columns of y, and those are gathered.
void end_of_branch(const Context& ctx, View y, ConstView x, const LocalParameter* w, const LocalParameter* b, const GatherRoom* room,
                   std::vector<std::int64_t> GatherRoom::*x_widths) {
  if (room) {
    const std::int64_t N = y.dim(0), I = w->info.shape[1];
    const Range mine = w->slice.ranges[0];
    const View whole = room->whole.rows(0, N * I).reshape({N, I});
    const View part = room->part.rows(0, N * mine.size()).reshape({N, mine.size()});
    gather_columns_tp(ctx, whole, room->packed, x, room->*x_widths);
    linear(part, whole, w->weight, b->weight.rows(mine.begin, mine.end), ctx.precision, ctx.stream);
    return gather_columns_tp(ctx, y, room->packed, part, room->out_widths);
  }
  const ConstView bias = ctx.grid.tp().rank() == 0 ? ConstView(b->weight) : ConstView();
  linear(y, x, matmul_weight(w), bias, ctx.precision, ctx.stream);
  all_reduce_tp(ctx, y);
}

}  // namespace

BlockShape block_shape(const ModelConfig& c, const Grid& grid, std::int64_t B, std::int64_t T) {
  const int tp = grid.shape().tp, rank = grid.tp().rank();
  const HeadShard heads = split_heads(c.heads, c.kv_heads, tp, rank);
  return {.B = B, .T = T, .C = c.width, .D = c.head_dim, .H_tp = heads.q.size(), .Hkv_tp = heads.kv.size(),
          .F_tp = split_range(c.ffn, tp, rank).size(), .first_head = heads.q.begin, .H = c.heads};
}

BlockActivations allocate_block(Arena& arena, const BlockShape& s) {
  const auto f32 = [&](Dims dims) { return arena.alloc(DType::f32, dims); };
  BlockActivations a;
  a.sum1 = f32({s.B, s.T, s.C});
  a.y1 = f32({s.B, s.T, s.C});
  a.mean1 = f32({s.B, s.T});
  a.rstd1 = f32({s.B, s.T});
  a.qkv = f32({s.B, s.T, s.H_tp + 2 * s.Hkv_tp, s.D});
  a.attn = f32({s.B, s.T, s.H_tp, s.D});
  a.lse = f32({s.B, s.H_tp, s.T});
  a.sum2 = f32({s.B, s.T, s.C});
  a.y2 = f32({s.B, s.T, s.C});
  a.mean2 = f32({s.B, s.T});
  a.rstd2 = f32({s.B, s.T});
  a.up = f32({s.B, s.T, s.F_tp});
  a.act = f32({s.B, s.T, s.F_tp});
  return a;
}

BlockScratch allocate_block_scratch(Arena& arena, const BlockShape& s) {
  const auto f32 = [&](Dims dims) { return arena.alloc(DType::f32, dims); };
  return {.d_ffn = f32({s.B, s.T, s.F_tp}),
          .d_qkv = f32({s.B, s.T, s.H_tp + 2 * s.Hkv_tp, s.D}),
          .d_attn = f32({s.B, s.T, s.H_tp, s.D}),
          .d_y = f32({s.B, s.T, s.C})};
}

GatherRoom allocate_gather(Arena& arena, const ModelConfig& c, const Grid& grid, std::int64_t N) {
  GatherRoom room;
  const int tp = grid.shape().tp;
  for (int r = 0; r < tp; ++r) {
    room.head_widths.push_back(split_heads(c.heads, c.kv_heads, tp, r).q.size() * c.head_dim);
    room.ffn_widths.push_back(split_range(c.ffn, tp, r).size());
    room.out_widths.push_back(split_range(c.width, tp, r).size());
  }
  const std::int64_t widest = std::max(c.heads * c.head_dim, c.ffn);
  room.whole = arena.alloc(DType::f32, {N * widest});
  room.packed = arena.alloc(DType::f32, {N * std::max(widest, c.width)});
  room.part = arena.alloc(DType::f32, {N * room.out_widths[static_cast<std::size_t>(grid.tp().rank())]});
  return room;
}

BlockParameters block_parameters(const Parameters& parameters, std::int64_t layer) {
  const auto at = [&](const char* name) { return &parameters.at(fmt::format("layers.{}.{}", layer, name)); };
  return {at("attn_norm.weight"), at("attn_norm.bias"), at("attn.qkv.weight"), at("attn.qkv.bias"),
          at("attn.out.weight"),  at("attn.out.bias"),  at("mlp_norm.weight"), at("mlp_norm.bias"),
          at("mlp.up.weight"),    at("mlp.up.bias"),    at("mlp.down.weight"), at("mlp.down.bias")};
}

void block_forward(const Context& ctx, const ModelConfig& config, std::int64_t layer, const BlockShape& s, const BlockParameters& p,
                   const BlockActivations& a, const BlockDropout& drop, const BlockInference* inference, ConstView x, ConstView delta,
                   View delta_out, BlockPart part) {
  Stream& stream = ctx.stream;
  const std::int64_t N = s.B * s.T;
  add_layer_norm(a.y1, a.sum1, a.mean1, a.rstd1, x, delta, p.norm1_w->weight, p.norm1_b->weight, config.norm_eps, drop.delta_in, stream);
  linear(rows(a.qkv, N), rows(a.y1, N), matmul_weight(p.qkv_w), p.qkv_b->weight, ctx.precision, stream);

  const AttentionArgs args = attention_args(config, s, layer, drop.attention, ctx.precision == Precision::fp32_fixed);
  if (inference) {
    attention_cached(a.attn.reshape({N, s.H_tp, s.D}), inference->k, inference->v, a.qkv.reshape({N, s.H_tp + 2 * s.Hkv_tp, s.D}),
                     ConstView(), inference->slices, args, stream);
  } else {
    attention(a.attn, a.lse, a.qkv, ConstView(), args, stream);
  }
  ctx.observe(layer, "attention", a.attn);
  const GatherRoom* room = inference ? inference->gather : nullptr;
  end_of_branch(ctx, rows(delta_out, N), rows(a.attn, N), p.out_w, p.out_b, room, &GatherRoom::head_widths);

  add_layer_norm(a.y2, a.sum2, a.mean2, a.rstd2, a.sum1, delta_out, p.norm2_w->weight, p.norm2_b->weight, config.norm_eps,
                 drop.attn_out, stream);
  linear(rows(a.up, N), rows(a.y2, N), matmul_weight(p.up_w), p.up_b->weight, ctx.precision, stream);
  activation(rows(a.act, N), rows(a.up, N), ConstView(), config.activation, stream);
  if (part == BlockPart::activations) return;
  end_of_branch(ctx, rows(delta_out, N), rows(a.act, N), p.down_w, p.down_b, room, &GatherRoom::ffn_widths);
  ctx.observe(layer, "stream", a.sum2);
}

void block_backward(const Context& ctx, const ModelConfig& config, std::int64_t layer, const BlockShape& s, const BlockParameters& p,
                    const BlockActivations& a, const BlockDropout& drop, const BlockScratch& scratch, bool has_delta, View dx,
                    View d_delta) {
  Stream& stream = ctx.stream;
  const std::int64_t N = s.B * s.T;
  const View d_delta_rows = rows(d_delta, N), d_ffn = rows(scratch.d_ffn, N), d_qkv = rows(scratch.d_qkv, N);
  const View d_attn = rows(scratch.d_attn, N), d_y = rows(scratch.d_y, N);

  // MLP: delta_m = g Wdownᵀ + b,  g = act(up),  up = y2 Wupᵀ + b
  linear_backward_weight(p.down_w->grad, p.down_b->grad, d_delta_rows, rows(a.act, N), ctx.precision, stream);
  linear_backward_input(d_ffn, d_delta_rows, matmul_weight(p.down_w), ctx.precision, stream);
  activation_backward(d_ffn, View(), d_ffn, rows(a.up, N), ConstView(), config.activation, stream);
  linear_backward_weight(p.up_w->grad, p.up_b->grad, d_ffn, rows(a.y2, N), ctx.precision, stream);
  linear_backward_input(d_y, d_ffn, matmul_weight(p.up_w), ctx.precision, stream);
  all_reduce_tp(ctx, d_y);
  add_layer_norm_backward(dx, d_delta, p.norm2_w->grad, p.norm2_b->grad, scratch.d_y, a.sum2, a.mean2, a.rstd2, p.norm2_w->weight,
                          drop.attn_out, stream);

  // Attention: delta_a = a Woᵀ + b,  a = attention(qkv),  qkv = y1 Wqkvᵀ + b
  linear_backward_weight(p.out_w->grad, p.out_b->grad, d_delta_rows, rows(a.attn, N), ctx.precision, stream);
  linear_backward_input(d_attn, d_delta_rows, matmul_weight(p.out_w), ctx.precision, stream);
  attention_backward(scratch.d_qkv, scratch.d_attn, a.attn, a.lse, a.qkv, ConstView(), attention_args(config, s, layer, drop.attention, false),
                     stream);
  linear_backward_weight(p.qkv_w->grad, p.qkv_b->grad, d_qkv, rows(a.y1, N), ctx.precision, stream);
  linear_backward_input(d_y, d_qkv, matmul_weight(p.qkv_w), ctx.precision, stream);
  all_reduce_tp(ctx, d_y);
  add_layer_norm_backward(dx, has_delta ? d_delta : View(), p.norm1_w->grad, p.norm1_b->grad, scratch.d_y, a.sum1, a.mean1, a.rstd1,
                          p.norm1_w->weight, drop.delta_in, stream);
}

}  // namespace weft

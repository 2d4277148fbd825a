#include "model/block.h"

#include <algorithm>

#include "model/parameter_views.h"
#include "model/tensor_parallel.h"

namespace weft {
namespace {

AttentionArgs attention_args(const BlockCall& call) {
  AttentionArgs args = attention_args(call.config, call.shape, call.layer);
  args.packed = call.tokens.packed;
  args.drop = call.dropout.attention;
  return args;
}

RopeArgs rope_args(const BlockShape& s) {
  return {.n_heads = static_cast<int>(s.H_tp + s.Hkv_tp), .interleaved = false};
}

bool drops_itself(const ModelConfig& config, const Dropout& drop) {
  return config.parallel_residual && drop.p > 0;
}

// The linear layer that ends a residual branch; x is this rank's heads or feed-forward columns.
// Training cuts its weight by columns: each rank multiplies its own, the sum over ranks is the
// result; the bias is added once. Inference cuts it by rows: x is gathered whole, each rank makes
// its columns of y, and those are gathered. y: rows from `begin` on of the whole batch.
void end_of_branch(const Context& ctx, View y, ConstView x, const LocalParameter* w,
                   const LocalParameter* b, RowSums& sums, std::int64_t begin,
                   const GatherRoom* room, std::vector<std::int64_t> GatherRoom::*x_widths) {
  if (room) {
    const std::int64_t N = y.dim(0), I = w->info.shape[1];
    const Range mine = w->slice.ranges[0];
    const View whole = room->whole.rows(0, N * I).reshape({N, I});
    const View part = room->part.rows(0, N * mine.size()).reshape({N, mine.size()});
    gather_columns_tp(ctx, whole, room->packed, x, room->*x_widths);
    linear(part, whole, w->weight,
           b ? ConstView(b->weight.rows(mine.begin, mine.end)) : ConstView(), ctx.precision,
           ctx.stream);
    return gather_columns_tp(ctx, y, room->packed, part, room->out_widths);
  }
  const ConstView bias = ctx.grid.tp().rank() == 0 ? weight_of(b) : ConstView();
  linear(y, x, matmul_weight(*w), bias, ctx.precision, ctx.stream);
  sums.start(ctx, y, begin);
}

// What a branch reads: y = norm(sum), sum = x + drop(delta); sum itself (y is it) without a norm.
void begin_branch(const Context& ctx, View y, View sum, const NormStatistics& statistics,
                  ConstView x, ConstView delta, const NormParameters& norm, const Dropout& drop) {
  if (norm)
    add_norm(ctx, y, sum, statistics, x, delta, norm, drop);
  else if (!sum.empty())
    add_delta(ctx, sum, x, delta, drop);
}

// Its twin: d_y, the gradient of y, joins dsum, that of the sum from behind; ddelta = drop'(dsum).
void begin_branch_backward(const Context& ctx, View dsum, View ddelta, View d_y, ConstView sum,
                           const NormStatistics& statistics, const NormParameters& norm,
                           const Dropout& drop) {
  if (norm) return add_norm_backward(ctx, dsum, ddelta, d_y, sum, statistics, norm, drop);
  add(dsum, d_y, ctx.stream);
  if (!ddelta.empty()) add_delta_backward(ctx, dsum, ddelta, drop);
}

// What a branch adds, from what its last layer gave: through its own norm, or its own dropout, or
// as it is.
void finish_branch(const Context& ctx, const ModelConfig& config, View delta, View out,
                   const NormStatistics& statistics, const NormParameters& norm,
                   const Dropout& drop) {
  if (norm)
    add_norm(ctx, delta, View(), statistics, out, ConstView(), norm, {});
  else if (drops_itself(config, drop))
    dropout(delta, delta, drop, ctx.stream);
}

bool is_gelu_layer(const ModelConfig& config) {
  return !config.gated && config.activation == Activation::gelu_tanh;
}

// The first half of the MLP: act(up),  up = y2 Wupᵀ + b
void mlp_hidden(const BlockCall& call) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  const std::int64_t N = s.B * s.T;
  const View act = as_rows(a.act, N), up = as_rows(a.up, N), y = as_rows(a.y2, N);
  const ConstView w = matmul_weight(*p.up_w), b = weight_of(p.up_b);
  if (is_gelu_layer(config)) return linear_gelu(act, up, y, w, b, ctx.precision, ctx.stream);
  linear(up, y, w, b, ctx.precision, ctx.stream);
  if (config.gated)
    gated_activation(act, up, ConstView(), config.activation, ctx.stream);
  else
    activation(act, up, ConstView(), config.activation, ctx.stream);
}

// What makes d_up sums its columns too, unless that is the matmul library.
const LocalParameter* bias_summed_with_d_up(const BlockCall& call) {
  return is_gelu_layer(call.config) ? nullptr : call.parameters.up_b;
}
const LocalParameter* bias_summed_apart(const BlockCall& call) {
  return is_gelu_layer(call.config) ? call.parameters.up_b : nullptr;
}

// d_up from d_mlp, the gradient of act(up) Wdownᵀ, through d_act.
void mlp_hidden_backward(const BlockCall& call, View d_up, View d_act, View d_mlp) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  const View up = as_rows(a.up, s.B * s.T);
  const ConstView w = matmul_weight(*p.down_w);
  if (is_gelu_layer(config))
    return linear_gelu_backward(d_up, d_mlp, w, up, ctx.precision, ctx.stream);
  linear_backward_input(d_act, d_mlp, w, ctx.precision, ctx.stream);
  const Gradient d_bias = begin_grad(bias_summed_with_d_up(call));
  if (config.gated)
    gated_activation_backward(d_up, d_bias, d_act, up, ConstView(), config.activation, ctx.stream);
  else
    activation_backward(d_up, d_bias, d_act, up, ConstView(), config.activation, ctx.stream);
}

// The gradient of what the branch's last layer gave, from that of what the branch adds: in `room`,
// or d_delta itself.
View finish_branch_backward(const Context& ctx, const ModelConfig& config, View d_delta, View room,
                            View out, const NormStatistics& statistics, const NormParameters& norm,
                            const Dropout& drop) {
  if (norm) {
    fill(room, 0, ctx.stream);
    add_norm_backward(ctx, room, View(), d_delta, out, statistics, norm, {});
    return room;
  }
  if (!drops_itself(config, drop)) return d_delta;
  dropout(room, d_delta, drop, ctx.stream);
  return room;
}

// Rows of a tensor of (B, T, …) as (rows.B, rows.T, …).
template <class AnyView>
AnyView rows_of(AnyView x, const RowPiece& rows) {
  if (x.empty()) return x;
  Dims dims = x.shape();
  const std::int64_t N = dims[0] * dims[1];
  dims[0] = rows.B, dims[1] = rows.T;
  return x.reshape({N, x.elems() / N}).rows(rows.begin, rows.end()).reshape(dims);
}

// The same of a call, for what is row by row.
BlockCall rows_of(const BlockCall& call, const RowPiece& rows) {
  BlockCall piece = call;
  piece.shape.B = rows.B, piece.shape.T = rows.T;
  BlockActivations& a = piece.activations;
  for (View* x : {&a.sum1, &a.y1, &a.norm1.mean, &a.norm1.rstd, &a.qkv, &a.attn, &a.attn_out,
                  &a.attn_post.mean, &a.attn_post.rstd, &a.sum2, &a.y2, &a.norm2.mean,
                  &a.norm2.rstd, &a.up, &a.act, &a.mlp_out, &a.mlp_post.mean, &a.mlp_post.rstd})
    *x = rows_of(*x, rows);
  BlockDropout& drop = piece.dropout;
  for (Dropout* d : {&drop.delta_in, &drop.norm_out, &drop.attn_out, &drop.mlp_out})
    d->first_sample += rows.begin / call.shape.T;
  return piece;
}

bool drops(const BlockDropout& drop) {
  return drop.delta_in.p > 0 || drop.norm_out.p > 0 || drop.attn_out.p > 0 || drop.mlp_out.p > 0;
}

// Rows in, queries, keys and values out, not turned yet.
void project_qkv(const BlockCall& call, ConstView x, ConstView delta) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  const std::int64_t N = s.B * s.T;
  begin_branch(ctx, a.y1, a.sum1, a.norm1, x, delta, p.norm1, drop.delta_in);
  if (drop.norm_out.p > 0) dropout(a.y1, a.y1, drop.norm_out, ctx.stream);
  linear(as_rows(a.qkv, N), as_rows(a.y1, N), matmul_weight(*p.qkv_w), weight_of(p.qkv_b),
         ctx.precision, ctx.stream);
}

// Whole sequences: norms and turns queries and keys, then attends.
void attend(const BlockCall& call, const BlockInference* inference) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  Stream& stream = ctx.stream;
  const std::int64_t N = s.B * s.T, R = s.H_tp + 2 * s.Hkv_tp;
  const View qkv = a.qkv.reshape({N, R, s.D});
  if (p.qk_norm) norm_qk(ctx, s.qk_norm, p.qk_norm, a.qk_norm, qkv);
  if (!tokens.rope_table.empty())
    rope(qkv, tokens.positions, tokens.rope_table, rope_args(s), stream);
  ctx.observe(layer, "qkv", a.qkv);
  const AttentionArgs args = attention_args(call);
  if (inference && !inference->k.empty())
    attention_cached(a.attn.reshape({N, s.H_tp, s.D}), inference->k, inference->v, qkv,
                     inference->pages, *inference->plan, args, stream);
  else
    attention(a.attn, a.lse, a.qkv, tokens.lengths, args, stream);
  ctx.observe(layer, "attention", a.attn);
}

// What goes on beside delta_m.
View stream_out(const ModelConfig& config, const BlockActivations& acts) {
  return config.norm_place == NormPlace::post ? acts.y2 : acts.sum2;
}

// Where the attention's last layer writes: delta_a itself, unless a norm stands behind it.
View attn_out(const BlockCall& call, View delta_out) {
  return call.parameters.attn_post ? call.activations.attn_out : delta_out;
}

// From what attention's branch gave, in delta_out, to the input of the MLP's last layer.
void begin_mlp(const BlockCall& call, View delta_out) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  finish_branch(ctx, config, delta_out, attn_out(call, delta_out), a.attn_post, p.attn_post,
                drop.attn_out);
  if (config.parallel_residual)
    begin_branch(ctx, a.y2, View(), a.norm2, a.sum1, ConstView(), p.norm2, {});
  else
    begin_branch(ctx, a.y2, a.sum2, a.norm2, config.norm_place == NormPlace::post ? a.y1 : a.sum1,
                 delta_out, p.norm2, drop.attn_out);
  mlp_hidden(call);
}

// Whether more is to be done with delta_m than to sum it.
bool finishes_mlp(const BlockCall& call) {
  return call.parameters.mlp_post || call.config.parallel_residual;
}
void finish_mlp(const BlockCall& call, View delta_out) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  const std::int64_t N = s.B * s.T;
  const View mlp_out = a.mlp_out.empty() ? delta_out : a.mlp_out;
  finish_branch(ctx, config, p.mlp_post ? delta_out : mlp_out, mlp_out, a.mlp_post, p.mlp_post,
                drop.mlp_out);
  if (config.parallel_residual) add(as_rows(delta_out, N), as_rows(mlp_out, N), ctx.stream);
}

}  // namespace

BlockParameters block_parameters(const Parameters& parameters, std::int64_t layer) {
  const auto name = [&](const char* of) { return fmt::format("layers.{}.{}", layer, of); };
  const auto find = [&](const char* of) { return parameters.find(name(of)); };
  return {.norm1 = find_norm(parameters, name("attn_norm")),
          .attn_post = find_norm(parameters, name("attn_post_norm")),
          .norm2 = find_norm(parameters, name("mlp_norm")),
          .mlp_post = find_norm(parameters, name("mlp_post_norm")),
          .qk_norm = {find("attn.q_norm.weight"), find("attn.k_norm.weight")},
          .qkv_w = &parameters.at(name("attn.qkv.weight")),
          .qkv_b = find("attn.qkv.bias"),
          .out_w = &parameters.at(name("attn.out.weight")),
          .out_b = find("attn.out.bias"),
          .up_w = &parameters.at(name("mlp.up.weight")),
          .up_b = find("mlp.up.bias"),
          .down_w = &parameters.at(name("mlp.down.weight")),
          .down_b = find("mlp.down.bias")};
}

namespace {

// From here on only some rows go on.
BlockCall kept_of(const BlockCall& call, const KeptRows& kept) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  const std::int64_t N = s.B * s.T, M = kept.rows.elems();
  const bool post = config.norm_place == NormPlace::post;
  gather_rows(kept.attn, as_rows(a.attn, N), kept.rows, ctx.stream);
  gather_rows(kept.stream, as_rows(post ? a.y1 : a.sum1, N), kept.rows, ctx.stream);
  BlockCall few = rows_of(call, {0, 1, M});
  const View stream = kept.stream.reshape({1, M, s.C});
  if (post)
    few.activations.y1 = stream;
  else
    few.activations = with_input(config, few.activations, stream);
  few.activations.attn = kept.attn.reshape({1, M, s.H_tp, s.D});
  return few;
}

// What follows attention.
void finish_block(const BlockCall& call, const GatherRoom* room,
                  const std::vector<RowPiece>& pieces, View delta_out, RowSums& sums,
                  BlockPart part) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  for (const RowPiece& rows : pieces)
    end_of_branch(ctx, as_rows(rows_of(attn_out(call, delta_out), rows), rows.n()),
                  as_rows(rows_of(a.attn, rows), rows.n()), p.out_w, p.out_b, sums, rows.begin,
                  room, &GatherRoom::head_widths);
  // What backward reads of the last layer's output is the norm behind it, where there is one.
  const bool goes_on = part == BlockPart::whole || p.mlp_post;
  const View mlp_out = a.mlp_out.empty() ? delta_out : a.mlp_out;
  for (const RowPiece& rows : pieces) {
    sums.wait(rows);
    begin_mlp(rows_of(call, rows), rows_of(delta_out, rows));
    if (goes_on)
      end_of_branch(ctx, as_rows(rows_of(mlp_out, rows), rows.n()),
                    as_rows(rows_of(a.act, rows), rows.n()), p.down_w, p.down_b, sums, rows.begin,
                    room, &GatherRoom::ffn_widths);
  }
  if (!goes_on) return;
  if (finishes_mlp(call))
    for (const RowPiece& rows : pieces) {
      sums.wait(rows);
      finish_mlp(rows_of(call, rows), rows_of(delta_out, rows));
    }
  ctx.observe(layer, "stream", stream_out(config, a));
}

}  // namespace

View block_forward(const BlockCall& call, const BlockInference* inference, ConstView x,
                   ConstView delta, View delta_out, RowSums& sums, BlockPart part) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  const GatherRoom* room = inference ? inference->gather : nullptr;
  const std::vector<RowPiece> pieces =
      inference ? std::vector<RowPiece>{{0, s.B, s.T}} : row_pieces(ctx, s.B, s.T, drops(drop));
  for (const RowPiece& rows : pieces) {
    sums.wait(rows);
    project_qkv(rows_of(call, rows), rows_of(x, rows), rows_of(delta, rows));
  }
  ctx.observe(layer, "input", config.norm_place == NormPlace::post ? a.y1 : a.sum1);
  attend(call, inference);
  if (!inference || !inference->kept) {
    finish_block(call, room, pieces, delta_out, sums, part);
    return stream_out(config, a);
  }
  const BlockCall few = kept_of(call, *inference->kept);
  const RowPiece all = {0, 1, few.shape.T};
  finish_block(few, room, {all}, rows_of(delta_out, all), sums, part);
  return stream_out(config, few.activations);
}

void block_backward(const BlockCall& call, const BlockScratch& scratch, bool has_delta, View dx,
                    View d_delta, const BlockGradients* keep) {
  const auto& [ctx, config, layer, s, p, a, tokens, drop] = call;
  Stream& stream = ctx.stream;
  const std::int64_t N = s.B * s.T;
  const bool post = config.norm_place == NormPlace::post, parallel = config.parallel_residual;
  const View d_act = as_rows(scratch.d_act, N), d_up = as_rows(scratch.d_up, N),
             d_qkv = as_rows(scratch.d_qkv, N);
  const View d_attn = as_rows(scratch.d_attn, N), d_y = as_rows(scratch.d_y, N);
  // dW += dyᵀ x, now or later.
  const auto weight = [&](const LocalParameter* w, const LocalParameter* b, View dy, View x,
                          View BlockGradients::*kept) {
    if (keep)
      convert(keep->*kept, dy, stream);
    else
      linear_backward_weight(begin_grad(w), begin_grad(b), dy, x, ctx.precision, stream);
  };
  // The layer before: d_y from dy, whose sum over ranks runs while dW is made.
  const auto input_and_weight = [&](const LocalParameter* w, const LocalParameter* b, View dy,
                                    View x, View BlockGradients::*kept) {
    RowSums sum;
    linear_backward_input(d_y, dy, matmul_weight(*w), ctx.precision, stream);
    sum.start(ctx, d_y);
    weight(w, b, dy, x, kept);
    sum.wait();
  };
  // A post-norm stream is the norm's output: what came along it joins the norm's gradient.
  const auto join_stream = [&] {
    if (!post) return;
    add(d_y, as_rows(dx, N), stream);
    fill(dx, 0, stream);
  };

  // MLP: delta_m = g Wdownᵀ + b,  g = act(up),  up = y2 Wupᵀ + b
  const View d_mlp =
      as_rows(finish_branch_backward(ctx, config, d_delta, scratch.d_branch, a.mlp_out, a.mlp_post,
                                     p.mlp_post, drop.mlp_out),
              N);
  weight(p.down_w, p.down_b, d_mlp, as_rows(a.act, N), &BlockGradients::down);
  mlp_hidden_backward(call, d_up, d_act, d_mlp);
  input_and_weight(p.up_w, bias_summed_apart(call), d_up, as_rows(a.y2, N), &BlockGradients::up);
  join_stream();
  begin_branch_backward(ctx, dx, parallel ? View() : d_delta, scratch.d_y, a.sum2, a.norm2, p.norm2,
                        parallel ? Dropout{} : drop.attn_out);

  // Attention: delta_a = a Woᵀ + b,  a = attention(qkv),  qkv = rope(y1 Wqkvᵀ + b)
  const View d_out =
      as_rows(finish_branch_backward(ctx, config, d_delta, scratch.d_branch, a.attn_out,
                                     a.attn_post, p.attn_post, drop.attn_out),
              N);
  weight(p.out_w, p.out_b, d_out, as_rows(a.attn, N), &BlockGradients::out);
  linear_backward_input(d_attn, d_out, matmul_weight(*p.out_w), ctx.precision, stream);
  attention_backward(scratch.d_qkv, scratch.d_attn, a.attn, a.lse, a.qkv, tokens.lengths,
                     attention_args(call), stream);
  if (!tokens.rope_table.empty())
    rope_backward(scratch.d_qkv.reshape({N, s.H_tp + 2 * s.Hkv_tp, s.D}), tokens.positions,
                  tokens.rope_table, rope_args(s), stream);
  if (p.qk_norm)
    norm_qk_backward(ctx, s.qk_norm, p.qk_norm, a.qk_norm,
                     scratch.d_qkv.reshape({N, s.H_tp + 2 * s.Hkv_tp, s.D}), scratch.qk_dots);
  input_and_weight(p.qkv_w, p.qkv_b, d_qkv, as_rows(a.y1, N), &BlockGradients::qkv);
  join_stream();
  if (drop.norm_out.p > 0) dropout(scratch.d_y, scratch.d_y, drop.norm_out, stream);
  begin_branch_backward(ctx, dx, has_delta ? d_delta : View(), scratch.d_y, a.sum1, a.norm1,
                        p.norm1, drop.delta_in);
}

void block_backward_weight(const BlockCall& call, const BlockGradients& kept) {
  const BlockParameters& p = call.parameters;
  const BlockActivations& a = call.activations;
  const std::int64_t N = call.shape.B * call.shape.T;
  const auto weight = [&](const LocalParameter* w, const LocalParameter* b, View dy, View x) {
    linear_backward_weight(begin_grad(w), begin_grad(b), as_rows(dy, N), as_rows(x, N),
                           call.ctx.precision, call.ctx.stream);
  };
  weight(p.down_w, p.down_b, kept.down, a.act);
  weight(p.up_w, bias_summed_apart(call), kept.up, a.y2);
  weight(p.out_w, p.out_b, kept.out, a.attn);
  weight(p.qkv_w, p.qkv_b, kept.qkv, a.y1);
}

}  // namespace weft

#include "model/stage.h"

#include <cstring>

#include "model/tensor_parallel.h"

namespace weft {
namespace {

// Everything a stage holds besides parameters, in one layout for the planner and the program.
struct StageMemory {
  std::vector<StageSlot> slots;
  BlockActivations recomputed;
  BlockScratch scratch;
  HeadScratch head;
  View delta, d_delta, position_ids;
};

StageMemory lay_out(Arena& arena, const ModelConfig& config, const Grid& grid, const StageShape& shape) {
  const BlockShape block = block_shape(config, grid, shape.B, shape.T);
  const std::int64_t n_layers = stage_layers(config, grid.shape().pp, grid.pp().rank()).size();
  const Dims stream = {shape.B, shape.T, config.width}, tokens = {shape.B, shape.T};
  StageMemory m;
  for (int i = 0; i < shape.slots; ++i) {
    StageSlot s;
    if (grid.is_first_stage()) s.ids = arena.alloc(DType::i32, tokens);
    s.input = arena.alloc(DType::f32, stream);
    for (std::int64_t l = 0; l < n_layers; ++l) {
      BlockActivations a;
      if (shape.recompute == Recompute::none) a = allocate_block(arena, block);
      else a.sum1 = arena.alloc(DType::f32, stream);
      s.blocks.push_back(a);
    }
    s.output = arena.alloc(DType::f32, stream);
    s.dx = arena.alloc(DType::f32, stream);
    if (grid.is_last_stage()) {
      s.labels = arena.alloc(DType::i32, tokens);
      s.y = arena.alloc(DType::f32, stream);
      s.mean = arena.alloc(DType::f32, tokens);
      s.rstd = arena.alloc(DType::f32, tokens);
      s.dy = arena.alloc(DType::f32, stream);
      s.loss = arena.alloc(DType::f32, tokens);
    }
    m.slots.push_back(std::move(s));
  }
  if (shape.recompute == Recompute::block) m.recomputed = allocate_block(arena, block);
  m.scratch = allocate_block_scratch(arena, block);
  if (grid.is_last_stage()) {
    const std::int64_t V_tp = split_range(config.vocab, grid.shape().tp, grid.tp().rank()).size();
    m.head = allocate_head_scratch(arena, shape.B * shape.T, V_tp, grid.shape().tp);
  }
  m.delta = arena.alloc(DType::f32, stream);
  m.d_delta = arena.alloc(DType::f32, stream);
  m.position_ids = arena.alloc(DType::i32, tokens);
  return m;
}

View rows(View x, std::int64_t n) { return x.reshape({n, x.elems() / n}); }
View flat(View x) { return x.reshape({x.elems()}); }

}  // namespace

std::size_t Stage::plan_bytes(const ModelConfig& config, const Grid& grid, StageShape shape) {
  return measure([&](Arena& arena) { lay_out(arena, config, grid, shape); });
}

Stage::Stage(const Context& ctx, const ModelConfig& config, Parameters& parameters, StageShape shape, DropoutRates rates,
             std::uint64_t seed)
    : ctx_(ctx), config_(config), shape_(shape), rates_(rates), seed_(seed),
      block_(block_shape(config, ctx.grid, shape.B, shape.T)),
      layers_(stage_layers(config, ctx.grid.shape().pp, ctx.grid.pp().rank())),
      arena_("activations", plan_bytes(config, ctx.grid, shape)) {
  StageMemory memory = lay_out(arena_, config, ctx.grid, shape);
  slots_ = std::move(memory.slots);
  recomputed_ = memory.recomputed;
  scratch_ = memory.scratch;
  head_scratch_ = memory.head;
  delta_ = memory.delta;
  d_delta_ = memory.d_delta;
  position_ids_ = memory.position_ids;
  auto* positions = position_ids_.as<std::int32_t>();
  for (std::int64_t i = 0; i < shape.B * shape.T; ++i) positions[i] = static_cast<std::int32_t>(i % shape.T);

  flat_elems_ = parameters.grads_flat().elems();
  if (ctx.grid.is_first_stage()) {
    tokens_ = &parameters.at("embed.tokens.weight");
    positions_ = &parameters.at("embed.positions.weight");
  }
  for (std::int64_t l = layers_.begin; l < layers_.end; ++l) {
    blocks_.push_back(block_parameters(parameters, l));
    const LocalParameter* last = blocks_.back().norm1_w;  // the last of a block in the flat order
    block_flat_end_.push_back(last->flat_begin + last->flat_elems);
  }
  if (ctx.grid.is_last_stage()) {
    final_w_ = &parameters.at("final_norm.weight");
    final_b_ = &parameters.at("final_norm.bias");
    head_ = parameters.find("head.weight");
    if (!head_) head_ = tokens_;  // tied, on the same stage
    head_flat_end_ = final_w_->flat_begin + final_w_->flat_elems;
  }
}

Dropout Stage::dropout_at(const MicroBatch& batch, float p, std::int64_t site) const {
  return {.p = batch.train ? p : 0.0f, .seed = seed_, .step = batch.step, .site = static_cast<std::uint32_t>(site),
          .first_sample = batch.first_sample};
}

BlockDropout Stage::block_dropout(const MicroBatch& batch, std::int64_t layer, bool has_delta) const {
  return {.delta_in = has_delta ? dropout_at(batch, rates_.residual, 3 * (layer - 1) + 3) : Dropout{},
          .attention = dropout_at(batch, rates_.attention, 3 * layer + 1),
          .attn_out = dropout_at(batch, rates_.residual, 3 * layer + 2)};
}

void Stage::embed(StageSlot& slot) {
  const std::int64_t N = shape_.B * shape_.T;
  const View x = rows(slot.input, N);
  const std::int64_t first_row = tokens_->slice.whole() ? 0 : tokens_->slice.ranges[0].begin;
  embedding(x, flat(slot.ids), tokens_->weight, first_row, false, ctx_.stream);
  all_reduce_tp(ctx_, x);
  embedding(x, flat(position_ids_), positions_->weight, 0, true, ctx_.stream);
  const Dropout drop = dropout_at(slot.batch, rates_.embedding, 0);
  if (drop.p > 0) dropout(slot.input, slot.input, drop, ctx_.stream);
}

void Stage::forward(StageSlot& slot) {
  if (ctx_.grid.is_first_stage()) embed(slot);
  ConstView x = slot.input, delta;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const std::int64_t layer = layers_.begin + static_cast<std::int64_t>(i);
    BlockActivations acts = slot.blocks[i];
    if (shape_.recompute == Recompute::block) {
      const View kept = acts.sum1;
      acts = recomputed_;
      acts.sum1 = kept;
    }
    block_forward(ctx_, config_, layer, block_, blocks_[i], acts, block_dropout(slot.batch, layer, i > 0), nullptr, x, delta, delta_);
    x = acts.sum2;
    delta = delta_;
  }
  const Dropout drop = dropout_at(slot.batch, rates_.residual, 3 * (layers_.end - 1) + 3);
  if (!ctx_.grid.is_last_stage()) {
    add_layer_norm(View(), slot.output, View(), View(), x, delta, ConstView(), ConstView(), config_.norm_eps, drop, ctx_.stream);
    return;
  }
  add_layer_norm(slot.y, slot.output, slot.mean, slot.rstd, x, delta, final_w_->weight, final_b_->weight, config_.norm_eps, drop,
                 ctx_.stream);
  const std::int64_t N = shape_.B * shape_.T;
  head_loss(ctx_, flat(slot.loss), slot.batch.train ? rows(slot.dy, N) : View(), rows(slot.y, N), flat(slot.labels), *head_,
            slot.batch.loss_scale, head_scratch_);
}

// The activations of a block, recomputed from its input where they were not kept.
const BlockActivations& Stage::activations(StageSlot& slot, std::size_t i) {
  if (shape_.recompute == Recompute::none) return slot.blocks[i];
  const std::int64_t layer = layers_.begin + static_cast<std::int64_t>(i);
  recomputed_.sum1 = slot.blocks[i].sum1;
  const BlockDropout drop = block_dropout(slot.batch, layer, false);  // sum1 holds the incoming delta already
  block_forward(ctx_, config_, layer, block_, blocks_[i], recomputed_, drop, nullptr, recomputed_.sum1, ConstView(), delta_,
                BlockPart::activations);
  return recomputed_;
}

void Stage::backward(StageSlot& slot, const std::function<void(std::int64_t flat_end)>& ready) {
  const std::int64_t N = shape_.B * shape_.T;
  const Dropout out_drop = dropout_at(slot.batch, rates_.residual, 3 * (layers_.end - 1) + 3);
  if (ctx_.grid.is_last_stage()) {
    std::memset(slot.dx.data(), 0, slot.dx.bytes());
    add_layer_norm_backward(slot.dx, d_delta_, final_w_->grad, final_b_->grad, slot.dy, slot.output, slot.mean, slot.rstd,
                            final_w_->weight, out_drop, ctx_.stream);
    if (ready) ready(head_flat_end_);
  } else {
    add_layer_norm_backward(slot.dx, d_delta_, View(), View(), ConstView(), ConstView(), ConstView(), ConstView(), ConstView(), out_drop,
                            ctx_.stream);
  }
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    const std::int64_t layer = layers_.begin + static_cast<std::int64_t>(i);
    block_backward(ctx_, config_, layer, block_, blocks_[i], activations(slot, i), block_dropout(slot.batch, layer, i > 0), scratch_,
                   i > 0, slot.dx, d_delta_);
    if (ready) ready(block_flat_end_[i]);
  }
  if (!ctx_.grid.is_first_stage()) return;
  const Dropout drop = dropout_at(slot.batch, rates_.embedding, 0);
  if (drop.p > 0) dropout(slot.dx, slot.dx, drop, ctx_.stream);
  const std::int64_t first_row = tokens_->slice.whole() ? 0 : tokens_->slice.ranges[0].begin;
  embedding_backward(tokens_->grad, rows(slot.dx, N), flat(slot.ids), first_row, ctx_.stream);
  embedding_backward(positions_->grad, rows(slot.dx, N), flat(position_ids_), 0, ctx_.stream);
  if (ready) ready(flat_elems_);
}

}  // namespace weft

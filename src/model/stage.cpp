#include "model/stage.h"

#include <algorithm>

#include "kernels/scratch.h"
#include "model/parameter_views.h"
#include "model/rope.h"
#include "model/tensor_parallel.h"

namespace weft {
namespace {

// Of a slot, filled by the host before the GPU has come to the first of them.
constexpr int kMicroBatchesAhead = 4;

// Everything a stage holds besides parameters, in one layout for the planner and the program.
struct StageMemory {
  std::vector<StageSlot> slots;
  BlockActivations recomputed;
  BlockScratch scratch;
  HeadScratch head;
  LabelScratch labels;
  View delta, d_delta;
  Staging rope_staging;
  Staged rope_positions, rope_table;
};

// Rows that a label head labels: the texts, or all tokens.
std::int64_t n_labelled(const ModelConfig& config, const StageShape& shape) {
  return config.head == HeadKind::classify ? shape.B : shape.B * shape.T;
}

bool is_first_of(const Grid& grid, const StageShape& shape) {
  return grid.is_first_stage() && shape.chunk == 0;
}
bool is_last_of(const Grid& grid, const StageShape& shape) {
  return grid.is_last_stage() && shape.chunk == shape.chunks - 1;
}
Range layers_of(const ModelConfig& config, const Grid& grid, const StageShape& shape) {
  return stage_layers(config, grid.shape().pp, grid.pp().rank(),
                      shape.chunks)[static_cast<std::size_t>(shape.chunk)];
}

StageMemory lay_out(Arena& arena, const ModelConfig& config, const Grid& grid,
                    const StageShape& shape) {
  const BlockShape block = block_shape(config, grid, shape.B, shape.T, shape.act);
  const std::int64_t n_layers = layers_of(config, grid, shape).size(),
                     M = n_labelled(config, shape);
  const Dims stream = {shape.B, shape.T, config.width}, tokens = {shape.B, shape.T};
  StageMemory m;
  for (int i = 0; i < shape.slots; ++i) {
    StageSlot slot;
    MicroBatch& batch = slot.batch;
    StageActivations& a = slot.activations;
    batch.label_ends.resize(static_cast<std::size_t>(shape.B));
    batch.lengths = slot.staging.alloc(arena, DType::i32, {shape.B});
    if (is_last_of(grid, shape)) {
      const Dims labelled = config.head == HeadKind::classify ? Dims{shape.B} : tokens;
      batch.labels = slot.staging.alloc(arena, DType::i32, labelled);
      if (config.has_label_head()) a.labelled = slot.staging.alloc(arena, DType::i32, {M});
      if (config.head == HeadKind::classify)
        batch.targets = slot.staging.alloc(arena, DType::f32, {shape.B, config.n_labels});
    }
    if (is_first_of(grid, shape)) {
      a.tokens = allocate_embedding(arena, slot.staging, config, shape.B, shape.T, shape.act);
      batch.ids = a.tokens.ids;
      batch.types = a.tokens.types;
    }
    a.input = arena.alloc(shape.act, stream);
    for (std::int64_t l = 0; l < n_layers; ++l) {
      BlockActivations block_acts;
      if (shape.recompute == Recompute::none)
        block_acts = allocate_block(arena, config, block);
      else
        block_acts.sum1 = arena.alloc(shape.act, stream);
      a.blocks.push_back(block_acts);
      if (shape.splits_backward) a.gradients.push_back(allocate_block_gradients(arena, block));
    }
    a.output = arena.alloc(shape.act, stream);
    a.dx = arena.alloc(shape.act, stream);
    if (is_last_of(grid, shape)) {
      const Dims labelled = config.head == HeadKind::classify ? Dims{shape.B} : tokens;
      a.y = arena.alloc(shape.act, stream);
      a.final_norm = allocate_norm(arena, config, shape.B, shape.T);
      a.dy = arena.alloc(shape.act, stream);
      a.loss = arena.alloc(DType::f32, labelled);
      if (config.has_label_head()) a.logits = arena.alloc(DType::f32, {M, config.n_labels});
    }
    m.slots.push_back(std::move(slot));
  }
  if (shape.recompute == Recompute::block) m.recomputed = allocate_block(arena, config, block);
  m.scratch = allocate_block_scratch(arena, config, block);
  if (is_last_of(grid, shape)) {
    const std::int64_t V_tp = split_range(config.vocab, grid.shape().tp, grid.tp().rank()).size();
    if (config.has_lm_head())
      m.head = allocate_head_scratch(arena, config,
                                     {.n_rows = shape.B * shape.T,
                                      .V_tp = V_tp,
                                      .tp = grid.shape().tp,
                                      .act = shape.act,
                                      .device = shape.device});
    if (config.has_label_head()) m.labels = allocate_label_scratch(arena, config, M, shape.act);
  }
  m.delta = arena.alloc(shape.act, stream);
  m.d_delta = arena.alloc(shape.act, stream);
  if (config.positions == Positions::rope) {
    m.rope_positions = m.rope_staging.alloc(arena, DType::i32, {shape.B * shape.T});
    m.rope_table = m.rope_staging.alloc(arena, DType::f32, {shape.T, 2, config.rope.dims / 2});
  }
  return m;
}

View flat(View x) { return x.reshape({x.elems()}); }

StageShape as_in(const Context& ctx, StageShape shape) {
  shape.act = ctx.act;
  shape.device = ctx.stream.device();
  return shape;
}

}  // namespace

std::size_t Stage::plan_bytes(const Context& ctx, const ModelConfig& config, StageShape shape) {
  shape = as_in(ctx, shape);
  return measure([&](Arena& arena) { lay_out(arena, config, ctx.grid, shape); });
}

std::size_t Stage::scratch_bytes(const Context& ctx, const ModelConfig& c, StageShape shape) {
  const ScratchPlace place = {ctx.stream.device(), ctx.stream.n_threads()};
  if (place.device.type == DeviceType::cpu) return 0;
  const BlockShape s = block_shape(c, ctx.grid, shape.B, shape.T, ctx.act);
  const std::int64_t N = s.B * s.T;
  std::int64_t widest = 0;  // of rows that a bias is added to
  std::size_t bytes = 0;
  const auto linear = [&](std::int64_t n, std::int64_t O, std::int64_t I) {
    widest = std::max(widest, O);
    bytes = std::max(bytes, linear_scratch_bytes({.N = n,
                                                  .O = O,
                                                  .I = I,
                                                  .act = ctx.act,
                                                  .weight = ctx.act,  // or its copy
                                                  .precision = ctx.precision},
                                                 place));
  };
  linear(N, (s.H_tp + 2 * s.Hkv_tp) * s.D, s.C);
  linear(N, s.C, s.H_tp * s.D);
  linear(N, s.U_tp, s.C);
  linear(N, s.C, s.F_tp);
  BackwardSizes sizes = {
      .B = s.B, .T = s.T, .width = s.C, .widest = widest, .n_heads = s.H_tp, .head_dim = s.D};
  bytes = std::max(bytes, backward_scratch_bytes(sizes, place.device));
  if (!is_last_of(ctx.grid, shape)) return bytes;
  const std::int64_t tp = ctx.grid.shape().tp,
                     V_tp = padded_vocab(
                         split_range(c.vocab, static_cast<int>(tp), ctx.grid.tp().rank()).size(),
                         place.device);
  if (c.has_lm_head()) {
    sizes = {.B = 1, .T = logits_block_rows(N, V_tp, place.device), .widest = V_tp};
    linear(sizes.T, V_tp, s.C);
    if (c.head_bias) bytes = std::max(bytes, backward_scratch_bytes(sizes, place.device));
  }
  if (c.head_transform) linear(N, s.C, s.C);
  if (c.has_label_head() || c.pooler) linear(N, std::max(s.C, c.n_labels), s.C);
  return bytes;
}

Stage::Stage(const Context& ctx, const ModelConfig& config, Parameters& parameters,
             StageShape shape, DropoutRates rates, std::uint64_t seed)
    : ctx_(ctx),
      config_(config),
      shape_(as_in(ctx, shape)),
      rates_(rates),
      seed_(seed),
      block_(block_shape(config, ctx.grid, shape.B, shape.T, ctx.act)),
      first_(is_first_of(ctx.grid, shape)),
      last_(is_last_of(ctx.grid, shape)),
      layers_(layers_of(config, ctx.grid, shape)),
      arena_("activations", plan_bytes(ctx, config, shape_), ctx.stream.device()) {
  StageMemory memory = lay_out(arena_, config, ctx.grid, shape_);
  slots_ = std::move(memory.slots);
  for (StageSlot& slot : slots_)
    slot.staging.upload_copies(ctx.stream.device(), kMicroBatchesAhead);
  recomputed_ = memory.recomputed;
  scratch_ = memory.scratch;
  head_scratch_ = memory.head;
  label_scratch_ = memory.labels;
  delta_ = memory.delta;
  d_delta_ = memory.d_delta;
  rope_staging_ = std::move(memory.rope_staging);
  rope_positions_ = memory.rope_positions;
  rope_table_ = memory.rope_table;
  if (config.positions == Positions::rope) {
    const std::vector<float> frequencies = rope_frequencies(config.rope, shape.T);
    for (std::int64_t t = 0; t < shape.T; ++t)
      fill_rope_row(rope_table_.host.as<float>() + t * config.rope.dims, t, frequencies,
                    config.rope.attention_factor);
    for (std::int64_t i = 0; i < shape.B * shape.T; ++i)
      rope_positions_.host.as<std::int32_t>()[i] = static_cast<std::int32_t>(i % shape.T);
    rope_staging_.upload(ctx.stream);
  }

  flat_elems_ = parameters.grads_flat().elems();
  if (first_) embedding_ = find_embedding(parameters);
  for (std::int64_t l = layers_.begin; l < layers_.end; ++l) {
    blocks_.push_back(block_parameters(parameters, l));
    // The last of a block in the flat order.
    const LocalParameter* last =
        blocks_.back().norm1 ? blocks_.back().norm1.weight : blocks_.back().qkv_w;
    block_flat_end_.push_back(last->flat_begin + last->flat_elems);
  }
  if (last_) {
    final_norm_ = find_norm(parameters, "final_norm");
    if (config.has_lm_head()) head_ = find_lm_head(parameters);
    if (config.has_label_head()) label_head_ = find_label_head(parameters, config);
    head_flat_end_ = final_norm_.weight->flat_begin + final_norm_.weight->flat_elems;
  }
}

Dropout Stage::dropout_at(const MicroBatch& batch, float p, std::int64_t site) const {
  return {.p = batch.train ? p : 0.0f,
          .seed = seed_,
          .step = batch.step,
          .site = static_cast<std::uint32_t>(site),
          .first_sample = batch.first_sample};
}

// The delta that `layer` (or the final norm, past the last) takes in is dropped there, unless the
// block before it did so.
Dropout Stage::delta_dropout(const MicroBatch& batch, std::int64_t layer, bool has_delta) const {
  return has_delta && !config_.parallel_residual
             ? dropout_at(batch, rates_.residual, 3 * (layer - 1) + 3)
             : Dropout{};
}

BlockDropout Stage::block_dropout(const MicroBatch& batch, std::int64_t layer,
                                  bool has_delta) const {
  return {.delta_in = delta_dropout(batch, layer, has_delta),
          .norm_out = layer == 0 && config_.norm_place == NormPlace::post
                          ? dropout_at(batch, rates_.embedding, 0)
                          : Dropout{},
          .attention = dropout_at(batch, rates_.attention, 3 * layer + 1),
          .attn_out = dropout_at(batch, rates_.residual, 3 * layer + 2),
          .mlp_out = dropout_at(batch, rates_.residual, 3 * layer + 3)};
}

// A post-norm model drops its embeddings behind their norm, which is the first block's.
Dropout Stage::embedding_dropout(const MicroBatch& batch) const {
  return config_.norm_place == NormPlace::post ? Dropout{} : dropout_at(batch, rates_.embedding, 0);
}

// Padding is seen by nobody in a causal model: all of it stands to the right.
BlockTokens Stage::tokens(const StageSlot& slot) const {
  return {.positions = rope_positions_.device,
          .rope_table = rope_table_.device,
          .lengths = config_.causal ? ConstView() : ConstView(slot.batch.lengths.device),
          .packed = false};
}

// has_delta: a delta arrives beside the block's input.
BlockCall Stage::block_call(const StageSlot& slot, std::size_t i, bool has_delta) const {
  const std::int64_t layer = layers_.begin + static_cast<std::int64_t>(i);
  const BlockActivations& kept = slot.activations.blocks[i];
  return {.ctx = ctx_,
          .config = config_,
          .layer = layer,
          .shape = block_,
          .parameters = blocks_[i],
          .activations = shape_.recompute == Recompute::none
                             ? kept
                             : with_input(config_, recomputed_, kept.sum1),
          .tokens = tokens(slot),
          .dropout = block_dropout(slot.batch, layer, has_delta)};
}

// What the host knows of the micro-batch, to the device.
void Stage::place(StageSlot& slot) const {
  StageActivations& a = slot.activations;
  if (first_) {
    const auto* lengths = slot.batch.lengths.host.as<std::int32_t>();
    a.texts.clear();
    for (std::int64_t b = 0; b < shape_.B; ++b)
      a.texts.push_back({b * shape_.T, b * shape_.T + lengths[b], 0});
    a.scales = place_tokens(config_, a.tokens, a.texts);
  }
  if (!a.labelled.empty()) {
    std::vector<std::int64_t> begins, ends;
    const bool texts = config_.head == HeadKind::classify;
    for (std::int64_t b = 0; b < shape_.B; ++b) {
      const std::int64_t n = slot.batch.label_ends[static_cast<std::size_t>(b)];
      for (std::int64_t t = 0; t < (texts ? 1 : shape_.T); ++t) {
        begins.push_back(b * shape_.T + t);
        ends.push_back(texts ? b * shape_.T + n : b * shape_.T + t + 1);
      }
    }
    auto* rows = a.labelled.host.as<std::int32_t>();
    for (const std::int64_t row : labelled_rows(config_, begins, ends))
      *rows++ = static_cast<std::int32_t>(row);
  }
  slot.staging.upload(ctx_.stream);
}

void Stage::forward(StageSlot& slot) {
  const MicroBatch& batch = slot.batch;
  StageActivations& a = slot.activations;
  place(slot);
  if (first_)
    embed(ctx_, embedding_, a.tokens, a.texts, a.scales, embedding_dropout(batch), a.input);
  ConstView x = a.input, delta;
  RowSums sums;  // of delta
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const BlockCall call = block_call(slot, i, i > 0);
    x = block_forward(call, nullptr, x, delta, delta_, sums);
    delta = delta_;
  }
  sums.wait();
  const Dropout drop = delta_dropout(batch, layers_.end, true);
  if (!last_) return add_delta(ctx_, a.output, x, delta, drop);
  add_norm(ctx_, a.y, a.output, a.final_norm, x, delta, final_norm_, drop);
  if (config_.has_label_head()) return label(slot);
  const std::int64_t N = shape_.B * shape_.T;
  head_loss(ctx_, flat(a.loss), batch.train ? as_rows(a.dy, N) : View(), as_rows(a.y, N),
            flat(batch.labels.device), head_, batch.loss_scale, head_scratch_);
}

void Stage::label(StageSlot& slot) {
  const MicroBatch& batch = slot.batch;
  const StageActivations& a = slot.activations;
  const std::int64_t N = shape_.B * shape_.T;
  const LabelCall call = {.ctx = ctx_,
                          .config = config_,
                          .head = label_head_,
                          .scratch = label_scratch_,
                          .rows = a.labelled.device,
                          .dropout = dropout_at(batch, rates_.head, 3 * config_.layers + 4)};
  label_logits(call, as_rows(a.y, N));
  convert(a.logits, label_scratch_.logits, ctx_.stream);
  label_loss(call, flat(a.loss), batch.train ? as_rows(a.dy, N) : View(), flat(batch.labels.device),
             batch.targets.device, batch.loss_scale);
}

// A block's activations once more, from its input, where that is all that was kept.
void Stage::recompute(StageSlot& slot, std::size_t i) {
  if (shape_.recompute == Recompute::none) return;
  const BlockCall again = block_call(slot, i, false);  // the input holds the delta already
  RowSums sums;
  block_forward(again, nullptr, again.activations.sum1, ConstView(), delta_, sums,
                BlockPart::activations);
}

// From the last block to the first; keep: what the matrices' gradients need, instead of these.
void Stage::backward_stream(StageSlot& slot, bool keep, const Ready& ready) {
  const StageActivations& a = slot.activations;
  const Dropout out_drop = delta_dropout(slot.batch, layers_.end, true);
  if (last_) {
    fill(a.dx, 0, ctx_.stream);
    add_norm_backward(ctx_, a.dx, d_delta_, a.dy, a.output, a.final_norm, final_norm_, out_drop);
    if (ready) ready(head_flat_end_);
  } else {
    add_delta_backward(ctx_, a.dx, d_delta_, out_drop);
  }
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    recompute(slot, i);
    block_backward(block_call(slot, i, i > 0), scratch_, i > 0, a.dx, d_delta_,
                   keep ? &a.gradients[i] : nullptr);
    if (ready) ready(block_flat_end_[i]);
  }
}

void Stage::backward(StageSlot& slot, const Ready& ready) {
  backward_stream(slot, false, ready);
  embedding_backward(slot, ready);
}

void Stage::backward_input(StageSlot& slot) {
  CHECK(shape_.splits_backward, "a stage without room for what a later weight part needs");
  backward_stream(slot, true, nullptr);
}

void Stage::backward_weight(StageSlot& slot, const Ready& ready) {
  if (last_ && ready) ready(head_flat_end_);
  for (std::size_t i = blocks_.size(); i-- > 0;) {
    recompute(slot, i);
    block_backward_weight(block_call(slot, i, i > 0), slot.activations.gradients[i]);
    if (ready) ready(block_flat_end_[i]);
  }
  embedding_backward(slot, ready);
}

void Stage::embedding_backward(StageSlot& slot, const Ready& ready) {
  if (!first_) return;
  const StageActivations& a = slot.activations;
  embed_backward(ctx_, embedding_, a.tokens, a.texts, a.scales, embedding_dropout(slot.batch), a.dx,
                 d_delta_);
  if (ready) ready(flat_elems_);
}

}  // namespace weft

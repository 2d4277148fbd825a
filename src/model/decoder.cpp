#include "model/decoder.h"

#include <algorithm>
#include <cstring>

#include "model/tensor_parallel.h"

namespace weft {

// The views of one pass over n rows; laid out anew for each pass in memory planned for the largest.
struct Decoder::Buffers {
  View ids, positions, labels;  // (N) i32
  View x, delta;                // (1, N, C)
  BlockActivations block;
  std::optional<GatherRoom> gather;      // where tp > 1
  View y, mean, rstd;           // (1, N, C), (1, N)
  View loss;                    // (N)
  HeadScratch head;             // of losses()
  View picked, shard, gathered, logits;  // (R, C), (R, V_tp), (R·V), (R, V)
};

Decoder::Buffers Decoder::lay_out(Arena& arena, const ModelConfig& c, const Grid& grid, const DecoderShape& shape, std::int64_t N) {
  Buffers b;
  const int tp = grid.shape().tp;
  const std::int64_t V_tp = split_range(c.vocab, tp, grid.tp().rank()).size(), R = std::min(shape.max_logit_rows, shape.max_rows);
  b.ids = arena.alloc(DType::i32, {N});
  b.positions = arena.alloc(DType::i32, {N});
  b.labels = arena.alloc(DType::i32, {N});
  b.x = arena.alloc(DType::f32, {1, N, c.width});
  b.delta = arena.alloc(DType::f32, {1, N, c.width});
  b.block = allocate_block(arena, block_shape(c, grid, 1, N));
  if (tp > 1) b.gather = allocate_gather(arena, c, grid, N);
  if (!grid.is_last_stage()) return b;
  b.y = arena.alloc(DType::f32, {1, N, c.width});
  b.mean = arena.alloc(DType::f32, {1, N});
  b.rstd = arena.alloc(DType::f32, {1, N});
  b.loss = arena.alloc(DType::f32, {N});
  b.head = allocate_head_scratch(arena, N, V_tp, tp);
  b.picked = arena.alloc(DType::f32, {R, c.width});
  b.shard = arena.alloc(DType::f32, {R, V_tp});
  if (tp > 1) b.gathered = arena.alloc(DType::f32, {R * c.vocab});
  b.logits = arena.alloc(DType::f32, {R, c.vocab});
  return b;
}

namespace {

std::vector<std::pair<View, View>> lay_out_cache(Arena& arena, const ModelConfig& c, const Grid& grid, const DecoderShape& shape) {
  const std::int64_t n_layers = stage_layers(c, grid.shape().pp, grid.pp().rank()).size();
  const Dims dims = {shape.slots, shape.S, split_heads(c.heads, c.kv_heads, grid.shape().tp, grid.tp().rank()).kv.size(), c.head_dim};
  std::vector<std::pair<View, View>> cache;
  for (std::int64_t l = 0; l < n_layers; ++l) {
    const View k = arena.alloc(DType::f32, dims), v = arena.alloc(DType::f32, dims);
    cache.emplace_back(k, v);
  }
  return cache;
}

constexpr int kTag = 3;

}  // namespace

std::size_t Decoder::plan_bytes(const ModelConfig& config, const Grid& grid, DecoderShape shape) {
  return measure([&](Arena& a) { lay_out_cache(a, config, grid, shape); }) +
         measure([&](Arena& a) { lay_out(a, config, grid, shape, shape.max_rows); });
}

Decoder::Decoder(const Context& ctx, const ModelConfig& config, const Parameters& parameters, DecoderShape shape)
    : ctx_(ctx), config_(config), shape_(shape), layers_(stage_layers(config, ctx.grid.shape().pp, ctx.grid.pp().rank())),
      cache_arena_("KV cache", measure([&](Arena& a) { lay_out_cache(a, config, ctx.grid, shape); })),
      arena_("activations", measure([&](Arena& a) { lay_out(a, config, ctx.grid, shape, shape.max_rows); })),
      cache_(lay_out_cache(cache_arena_, config, ctx.grid, shape)) {
  for (std::int64_t l = layers_.begin; l < layers_.end; ++l) blocks_.push_back(block_parameters(parameters, l));
  if (ctx.grid.is_first_stage()) {
    tokens_ = &parameters.at("embed.tokens.weight");
    positions_ = &parameters.at("embed.positions.weight");
  }
  if (ctx.grid.is_last_stage()) {
    final_w_ = &parameters.at("final_norm.weight");
    final_b_ = &parameters.at("final_norm.bias");
    head_ = parameters.find("head.weight");
    if (!head_) head_ = tokens_;
  }
}

ConstView Decoder::hidden(std::span<const std::int32_t> ids, std::span<const std::int32_t> positions, std::span<const CacheSlice> slices) {
  const auto N = static_cast<std::int64_t>(ids.size());
  CHECK(N >= 1 && N <= shape_.max_rows && positions.size() == ids.size(), "{} rows; planned for {}", N, shape_.max_rows);
  arena_.release(0);
  const Buffers b = lay_out(arena_, config_, ctx_.grid, shape_, N);
  const View x_rows = b.x.reshape({N, config_.width});
  Communicator& pp = ctx_.grid.pp();
  if (ctx_.grid.is_first_stage()) {
    std::copy(ids.begin(), ids.end(), b.ids.as<std::int32_t>());
    std::copy(positions.begin(), positions.end(), b.positions.as<std::int32_t>());
    const std::int64_t first_row = tokens_->slice.whole() ? 0 : tokens_->slice.ranges[0].begin;
    embedding(x_rows, b.ids, tokens_->weight, first_row, false, ctx_.stream);
    all_reduce_tp(ctx_, x_rows);
    embedding(x_rows, b.positions, positions_->weight, 0, true, ctx_.stream);
  } else {
    pp.recv(x_rows, pp.rank() - 1, kTag, ctx_.stream);
  }
  const BlockShape shape = block_shape(config_, ctx_.grid, 1, N);
  ConstView x = b.x, delta;
  for (std::size_t i = 0; i < blocks_.size(); ++i) {
    const BlockInference inference = {cache_[i].first, cache_[i].second, slices, b.gather ? &*b.gather : nullptr};
    block_forward(ctx_, config_, layers_.begin + static_cast<std::int64_t>(i), shape, blocks_[i], b.block, {}, &inference, x, delta, b.delta);
    x = b.block.sum2;
    delta = b.delta;
  }
  if (!ctx_.grid.is_last_stage()) {
    add_layer_norm(View(), b.x, View(), View(), x, delta, ConstView(), ConstView(), config_.norm_eps, {}, ctx_.stream);
    pp.send(x_rows, pp.rank() + 1, kTag, ctx_.stream);
    return {};
  }
  add_layer_norm(b.y, b.x, b.mean, b.rstd, x, delta, final_w_->weight, final_b_->weight, config_.norm_eps, {}, ctx_.stream);
  return b.y.reshape({N, config_.width});
}

void Decoder::copy_slot(std::int64_t from, std::int64_t to, std::int64_t n_tokens) {
  CHECK(from != to && n_tokens <= shape_.S, "{} tokens of slot {} to slot {}; a slot holds {}", n_tokens, from, to, shape_.S);
  for (const auto& [k, v] : cache_)
    for (const View& x : {k, v}) {
      const View source = x.rows(from, from + 1), target = x.rows(to, to + 1);
      std::memcpy(target.data(), source.data(), target.bytes() / static_cast<std::size_t>(shape_.S) * static_cast<std::size_t>(n_tokens));
    }
}

ConstView Decoder::logits(ConstView hidden, std::span<const std::int64_t> rows) {
  arena_.release(0);
  const Buffers b = lay_out(arena_, config_, ctx_.grid, shape_, hidden.dim(0));
  const auto R = static_cast<std::int64_t>(rows.size()), C = config_.width;
  CHECK(R >= 1 && R <= b.picked.dim(0), "logits of {} rows; planned for {}", R, b.picked.dim(0));
  for (std::int64_t r = 0; r < R; ++r)
    std::memcpy(b.picked.as<float>() + r * C, hidden.as<float>() + rows[static_cast<std::size_t>(r)] * C, static_cast<std::size_t>(C) * sizeof(float));
  head_logits(ctx_, b.logits.rows(0, R), b.shard.rows(0, R), b.gathered.empty() ? View() : b.gathered.rows(0, R * config_.vocab), b.picked.rows(0, R), *head_,
              config_.vocab);
  return b.logits.rows(0, R);
}

ConstView Decoder::losses(ConstView hidden, std::span<const std::int32_t> labels) {
  arena_.release(0);
  const Buffers b = lay_out(arena_, config_, ctx_.grid, shape_, hidden.dim(0));
  std::copy(labels.begin(), labels.end(), b.labels.as<std::int32_t>());
  head_loss(ctx_, b.loss, View(), hidden, b.labels, *head_, 0, b.head);
  return b.loss;
}

}  // namespace weft

#include "model/embed.h"

#include <algorithm>

#include "model/parameter_views.h"
#include "model/tensor_parallel.h"

namespace weft {
namespace {

std::int64_t first_row(const LocalParameter& p) {
  return p.slice.whole() ? 0 : p.slice.ranges[0].begin;
}

// Token embeddings alone: from the table's scale to each text's.
void scale_tokens(const Context& ctx, const EmbeddingParameters& p, std::span<const TextRows> texts,
                  std::span<const float> scales, View x) {
  if (p.scale != 1) scale(x, p.scale, ctx.stream);
  for (std::size_t i = 0; i < scales.size(); ++i)
    if (texts[i].end > texts[i].begin)
      scale(x.rows(texts[i].begin, texts[i].end), scales[i], ctx.stream);
}

// The gradient as it is added to, row by row.
View begun_grad(const Context& ctx, const LocalParameter& p) {
  const Gradient grad = begin_grad(&p);
  if (!grad.accumulate && p.grad.elems() > 0) fill(p.grad, 0, ctx.stream);
  return p.grad;
}

}  // namespace

EmbeddingParameters find_embedding(const Parameters& parameters) {
  return {.tokens = &parameters.at("embed.tokens.weight"),
          .positions = parameters.find("embed.positions.weight"),
          .types = parameters.find("embed.types.weight"),
          .norm = find_norm(parameters, "embed.norm"),
          .scale = parameters.config().embedding_scale};
}

EmbeddingRows allocate_embedding(Arena& arena, Staging& staging, const ModelConfig& c,
                                 std::int64_t B, std::int64_t T, DType act) {
  EmbeddingRows rows;
  rows.ids = staging.alloc(arena, DType::i32, {B * T});
  if (c.positions == Positions::learned) rows.positions = staging.alloc(arena, DType::i32, {B * T});
  if (c.token_types > 0) rows.types = staging.alloc(arena, DType::i32, {B * T});
  if (c.embedding_norm) {
    rows.raw = arena.alloc(act, {B, T, c.width});
    rows.norm = allocate_norm(arena, c, B, T);
  }
  return rows;
}

std::vector<float> place_tokens(const ModelConfig& c, const EmbeddingRows& rows,
                                std::span<const TextRows> texts) {
  auto* ids = rows.ids.host.as<std::int32_t>();
  if (!rows.positions.empty()) {
    auto* positions = rows.positions.host.as<std::int32_t>();
    std::fill(
        positions, positions + rows.positions.host.elems(),
        static_cast<std::int32_t>(std::max<std::int64_t>(0, c.first_position - 1)));  // of padding
    for (const TextRows& t : texts) {
      std::int64_t at = t.first;
      for (std::int64_t r = t.begin; r < t.end; ++r) {
        const bool pad = c.pad_keeps_position && ids[r] == c.pad_id;
        positions[r] = static_cast<std::int32_t>(pad ? c.pad_id : c.first_position + at);
        at += !pad;
      }
    }
  }
  if (!c.token_dropout) return {};
  constexpr float kTrained =
      1 - 0.15f * 0.8f;  // share of tokens that were not masked when ESM was trained
  std::vector<float> scales;
  for (const TextRows& t : texts) {
    std::int64_t masked = 0;
    for (std::int64_t r = t.begin; r < t.end; ++r) {
      if (ids[r] != c.mask_id) continue;
      ids[r] = -1;
      ++masked;
    }
    const std::int64_t n = t.end - t.begin;
    scales.push_back(
        masked < n ? kTrained / (1 - static_cast<float>(masked) / static_cast<float>(n)) : 1.0f);
  }
  return scales;
}

void embed(const Context& ctx, const EmbeddingParameters& p, const EmbeddingRows& rows,
           std::span<const TextRows> texts, std::span<const float> scales, const Dropout& drop,
           View x) {
  const View sum = p.norm ? rows.raw : x;
  const View out = as_rows(sum, rows.ids.device.elems());
  embedding(out, rows.ids.device, p.tokens->weight, first_row(*p.tokens), false, ctx.stream);
  all_reduce_tp(ctx, out);
  scale_tokens(ctx, p, texts, scales, out);
  if (p.positions) embedding(out, rows.positions.device, p.positions->weight, 0, true, ctx.stream);
  if (p.types) embedding(out, rows.types.device, p.types->weight, 0, true, ctx.stream);
  if (p.norm) add_norm(ctx, x, View(), rows.norm, sum, ConstView(), p.norm, {});
  if (drop.p > 0) dropout(x, x, drop, ctx.stream);
}

void embed_backward(const Context& ctx, const EmbeddingParameters& p, const EmbeddingRows& rows,
                    std::span<const TextRows> texts, std::span<const float> scales,
                    const Dropout& drop, View dx, View room) {
  if (drop.p > 0) dropout(dx, dx, drop, ctx.stream);
  if (p.norm) {
    fill(room, 0, ctx.stream);
    add_norm_backward(ctx, room, View(), dx, rows.raw, rows.norm, p.norm, {});
    dx = room;
  }
  const View d = as_rows(dx, rows.ids.device.elems());
  if (p.positions)
    embedding_backward(begun_grad(ctx, *p.positions), d, rows.positions.device, 0, ctx.stream);
  if (p.types) embedding_backward(begun_grad(ctx, *p.types), d, rows.types.device, 0, ctx.stream);
  scale_tokens(ctx, p, texts, scales, d);
  embedding_backward(begun_grad(ctx, *p.tokens), d, rows.ids.device, first_row(*p.tokens),
                     ctx.stream);
}

}  // namespace weft

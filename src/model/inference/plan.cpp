// What a pass holds of its device beside its tensors.
#include <algorithm>

#include "kernels/scratch.h"
#include "model/inference/pass.h"
#include "model/tensor_parallel.h"

namespace weft {

namespace {

// Kernels and copies of a block in a pass that decodes, and of what is before and behind all of
// them, at most.
constexpr std::int64_t kPiecesOfBlock = 32, kPiecesBeside = 32;

}  // namespace

// Ranks wait for one another in the midst of their passes, and a text's scale (token dropout) is an
// argument, not in memory.
bool InferencePass::can_decode(const Context& ctx, const ModelConfig& config,
                               const InferenceShape& shape) {
  const GridShape& grid = ctx.grid.shape();
  return Graph::available(ctx.stream.device()) && grid.tp == 1 && grid.pp == 1 &&
         !shape.whole_texts && !config.token_dropout;
}

std::size_t InferencePass::scratch_bytes(const Context& ctx, const ModelConfig& c,
                                         const InferenceShape& shape) {
  const ScratchPlace place = {ctx.stream.device(), ctx.stream.n_threads()};
  const Grid& grid = ctx.grid;
  const int tp = grid.shape().tp;
  const std::int64_t N = shape.max_rows, S = pages_of(shape.S) * kPageTokens,
                     R = std::min(shape.max_logit_rows, shape.max_rows);
  const BlockShape s = block_shape(c, grid, 1, N, shape.act, ParameterUse::inference);
  std::size_t bytes = head_norm_scratch_bytes(N, s.H_tp, s.D, place);
  const auto linear = [&](std::int64_t n, std::int64_t O, std::int64_t I) {
    bytes = std::max(bytes, linear_scratch_bytes({.N = n,
                                                  .O = O,
                                                  .I = I,
                                                  .act = shape.act,
                                                  .weight = shape.weights,
                                                  .precision = ctx.precision,
                                                  .panels = place.device.type == DeviceType::cpu},
                                                 place));
  };
  const std::int64_t C_tp = split_range(c.width, tp, grid.tp().rank()).size(),
                     V_tp = split_range(c.vocab, tp, grid.tp().rank()).size();
  linear(N, (s.H_tp + 2 * s.Hkv_tp) * s.D, s.C);
  linear(N, C_tp, c.heads * s.D);
  linear(N, s.U_tp, s.C);
  linear(N, C_tp, c.ffn);
  if (grid.is_last_stage()) {
    if (c.has_lm_head())
      linear(std::max(R, logits_block_rows(N, V_tp, place.device)),
             padded_vocab(V_tp, place.device), s.C);
    if (c.head_transform) linear(std::max(N, R), s.C, s.C);
    if (c.has_label_head() || c.pooler) linear(R, std::max(s.C, c.n_labels), s.C);
  }
  const CachedAttentionSizes cached = {.rows = N, .texts = shape.slots, .keys = S};
  return std::max(bytes, shape.whole_texts ? attention_scratch_bytes(s.D, place)
                                           : attention_cached_scratch_bytes(
                                                 cached, weft::attention_args(c, s, 0), place));
}

std::size_t InferencePass::kept_bytes(const Context& ctx, const ModelConfig& c,
                                      const InferenceShape& shape) {
  const Device device = ctx.stream.device();
  const bool captures = ctx.graphs && can_decode(ctx, c, shape);
  return scratch_bytes(ctx, c, shape) + op_workspace_bytes(device) +
         (captures ? GraphCache::most_bytes(kPiecesOfBlock * c.layers + kPiecesBeside, device) +
                         GraphCache::most_bytes(kPiecesBeside, device)
                   : 0);
}

}  // namespace weft

// The transformer block, forward and backward side by side, one for all families. The residual stream arrives as
// (x, delta): what the next norm must still add. So each add is fused with the norm behind it.
//
//   sum1 = x + drop(delta)          y1 = norm(sum1)
//   qkv  = y1 Wqkvᵀ + b             a  = attention(qkv)          delta_a = Σ_tp a Woᵀ + b
//   sum2 = sum1 + drop(delta_a)     y2 = norm(sum2)
//   up   = y2 Wupᵀ + b              g  = act(up)                 delta_m = Σ_tp g Wdownᵀ + b
//   out: (sum2, delta_m)
#pragma once

#include <span>
#include <vector>

#include "core/arena.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

// Sizes of a block on this rank.
struct BlockShape {
  std::int64_t B = 0, T = 0;        // sequences and tokens each; inference: B = 1, T = rows of the batch
  std::int64_t C = 0, D = 0;
  std::int64_t H_tp = 0, Hkv_tp = 0, F_tp = 0;
  std::int64_t first_head = 0, H = 0;
};
BlockShape block_shape(const ModelConfig& config, const Grid& grid, std::int64_t B, std::int64_t T);

// What backward needs of one block and one micro-batch. Inference uses one set for all blocks.
struct BlockActivations {
  View sum1, y1;      // (B, T, C)
  View mean1, rstd1;  // (B, T)
  View qkv;           // (B, T, H_tp + 2 Hkv_tp, D)
  View attn;          // (B, T, H_tp, D)
  View lse;           // (B, H_tp, T)
  View sum2, y2;      // (B, T, C)
  View mean2, rstd2;  // (B, T)
  View up, act;       // (B, T, F_tp)
};
BlockActivations allocate_block(Arena& arena, const BlockShape& shape);

// Buffers that live only within one block's backward.
struct BlockScratch {
  View d_ffn;   // (B, T, F_tp)
  View d_qkv;   // (B, T, H_tp + 2 Hkv_tp, D)
  View d_attn;  // (B, T, H_tp, D)
  View d_y;     // (B, T, C)
};
BlockScratch allocate_block_scratch(Arena& arena, const BlockShape& shape);

// A block's parameters on this rank, looked up once.
struct BlockParameters {
  const LocalParameter *norm1_w, *norm1_b, *qkv_w, *qkv_b, *out_w, *out_b, *norm2_w, *norm2_b, *up_w, *up_b, *down_w, *down_b;
};
BlockParameters block_parameters(const Parameters& parameters, std::int64_t layer);

// Dropout of one micro-batch; p = 0 everywhere for inference and evaluation.
struct BlockDropout {
  Dropout delta_in;   // of the delta that arrives
  Dropout attention;  // on the probabilities
  Dropout attn_out;   // of delta_a
};

// What inference adds: keys and values of earlier tokens, and room to gather what tensor-parallel ranks hold of a row.
struct BlockInference {
  View k, v;  // (slots, S, Hkv_tp, D)
  std::span<const CacheSlice> slices;
  const struct GatherRoom* gather = nullptr;  // null where tp is 1
};
struct GatherRoom {
  std::vector<std::int64_t> head_widths, ffn_widths, out_widths;  // of each tp rank: H_tp·D, F_tp, C_tp
  View whole;   // (N · max(H·D, F))
  View packed;  // (N · max(H·D, F, C))
  View part;    // (N · C_tp)
};
GatherRoom allocate_gather(Arena& arena, const ModelConfig& config, const Grid& grid, std::int64_t N);

// How far a forward pass goes: all of it, or only what backward reads (recomputation needs no delta_m).
enum class BlockPart : std::uint8_t { whole, activations };

// x: (B, T, C); delta: (B, T, C) or empty. Writes delta_out (B, T, C), which may be delta; the new stream is acts.sum2.
void block_forward(const Context& ctx, const ModelConfig& config, std::int64_t layer, const BlockShape& shape,
                   const BlockParameters& p, const BlockActivations& acts, const BlockDropout& drop, const BlockInference* inference,
                   ConstView x, ConstView delta, View delta_out, BlockPart part = BlockPart::whole);

// dx: (B, T, C): in: gradient of sum2 from behind; out: gradient of sum1 (and so of x).
// d_delta: (B, T, C): in: gradient of delta_m; out: gradient of delta, where has_delta. Parameter gradients accumulate.
void block_backward(const Context& ctx, const ModelConfig& config, std::int64_t layer, const BlockShape& shape,
                    const BlockParameters& p, const BlockActivations& acts, const BlockDropout& drop, const BlockScratch& scratch,
                    bool has_delta, View dx, View d_delta);

}  // namespace weft

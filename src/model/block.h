// The transformer block, forward and backward side by side, one for all families. The residual
// stream arrives as (x, delta): what the next norm must still add. So each add is fused with the
// norm behind it.
//
//   sum1 = x + drop(delta)          y1 = norm(sum1)
//   qkv  = rope(norm(y1 Wqkvᵀ + b)) a  = attention(qkv)          delta_a = Σ_tp a Woᵀ + b
//   sum2 = sum1 + drop(delta_a)     y2 = norm(sum2)
//   up   = y2 Wupᵀ + b              g  = act(up)                 delta_m = Σ_tp g Wdownᵀ + b
//   out: (sum2, delta_m)
//
// All but attention is row by row. So on GPUs that share a layer (Σ_tp) the rows go in two pieces:
// while one's sum is under way, the other computes; delta_m's sum ends in the block behind it.
// Backward, a sum over ranks runs while the matrix gradient of the same layer is made.
//
// The knobs change this as follows.
//   qk_norm     where it is none, queries and keys are turned as they are
//   sandwich    delta_a and delta_m go through a norm of their own first
//   output      likewise, and y1 = sum1, y2 = sum2
//   parallel    y2 = norm(sum1);  out: (sum1, delta_a + delta_m)
//   post        the stream is what the norms give: sum2 = y1 + drop(delta_a);  out: (y2, delta_m).
//               The norm that BERT has behind a block is so the first one of the block behind it,
//               and the first block's is the embeddings'.
#pragma once

#include <span>
#include <vector>

#include "core/arena.h"
#include "model/context.h"
#include "model/norm.h"
#include "model/parameters.h"
#include "model/qk_norm.h"
#include "model/tensor_parallel.h"

namespace weft {

// Sizes of a block on this rank.
struct BlockShape {
  std::int64_t B = 0, T = 0;  // sequences and tokens each; inference: B = 1, T = rows of the batch
  std::int64_t C = 0, D = 0;
  std::int64_t H_tp = 0, Hkv_tp = 0, F_tp = 0, U_tp = 0;  // U: rows of the up projection, F or 2F
  std::int64_t first_head = 0, H = 0;
  DType act = DType::f32;  // of activations
  QkNormShape qk_norm;
};
// Inference keeps nothing for a backward pass.
BlockShape block_shape(const ModelConfig& config, const Grid& grid, std::int64_t B, std::int64_t T,
                       DType act, ParameterUse use = ParameterUse::training);

// What the attention of a layer is told of heads, scale, soft cap and mask, without dropout.
AttentionArgs attention_args(const ModelConfig& config, const BlockShape& shape,
                             std::int64_t layer);

// What backward needs of one block and one micro-batch. Inference uses one set for all blocks.
struct BlockActivations {
  View sum1, y1;  // (B, T, C)
  NormStatistics norm1;
  View qkv;  // (B, T, H_tp + 2 Hkv_tp, D), normed and turned
  QkNormActivations qk_norm;
  View attn;      // (B, T, H_tp, D)
  View lse;       // (B, H_tp, T)
  View attn_out;  // (B, T, C) delta_a before its own norm
  NormStatistics attn_post;
  View sum2, y2;  // (B, T, C); parallel: sum2 is sum1
  NormStatistics norm2;
  View up;   // (B, T, U_tp)
  View act;  // (B, T, F_tp)
  // (B, T, C) delta_m before its own norm; parallel: delta_m before it is added
  View mlp_out;
  NormStatistics mlp_post;
};
BlockActivations allocate_block(Arena& arena, const ModelConfig& config, const BlockShape& shape);
// The activations with another sum1 (the input that recomputation keeps).
BlockActivations with_input(const ModelConfig& config, BlockActivations acts, View sum1);
// Buffers that live only within one block's backward.
struct BlockScratch {
  View d_up;    // (B, T, U_tp)
  View d_act;   // (B, T, F_tp)
  View d_qkv;   // (B, T, H_tp + 2 Hkv_tp, D)
  View d_attn;  // (B, T, H_tp, D)
  View d_y;     // (B, T, C)
  // (B, T, C) parallel, or norms behind the branches: gradient of what a branch gave before its
  // norm
  View d_branch;
  View qk_dots;  // (B·T·G) norms of queries and keys
};
BlockScratch allocate_block_scratch(Arena& arena, const ModelConfig& config,
                                    const BlockShape& shape);

// A block's parameters on this rank, looked up once; null: the model has none.
struct BlockParameters {
  NormParameters norm1, attn_post, norm2, mlp_post;
  QkNormParameters qk_norm;
  const LocalParameter *qkv_w, *qkv_b, *out_w, *out_b, *up_w, *up_b, *down_w, *down_b;
};
BlockParameters block_parameters(const Parameters& parameters, std::int64_t layer);

// Dropout of one micro-batch; p = 0 everywhere for inference and evaluation.
struct BlockDropout {
  Dropout delta_in;   // of the delta that arrives
  Dropout norm_out;   // of y1: a post-norm model's embeddings, first block
  Dropout attention;  // on the probabilities
  Dropout attn_out;   // of delta_a
  Dropout mlp_out;    // of delta_m; only parallel blocks drop it themselves
};

// Which tokens a block's rows are.
struct BlockTokens {
  ConstView positions;   // (B·T) i32 rows of the rope table
  ConstView rope_table;  // (rows, 2, P/2); empty without rope
  ConstView lengths;     // as kernels' attention
  bool packed = false;   // likewise
};

// What inference adds: keys and values of earlier tokens, and room to gather what tensor-parallel
// ranks hold of a row.
struct BlockInference {
  View k, v;        // (n_pages, S, Hkv_tp, D); empty: nothing is cached, the rows are whole texts
                    // (tokens.packed)
  ConstView pages;  // (slots, M) i32, as kernels' attention_cached
  const CachedPlan* plan = nullptr;  // of this layer's heads and mask; null: nothing is cached
  const struct GatherRoom* gather = nullptr;  // null where tp is 1
  const struct KeptRows* kept = nullptr;      // null: all rows are asked for
};
// Rows that are asked for of a layer's results, the others' keys and values aside.
struct KeptRows {
  ConstView rows;  // (M) i32, ascending, of the block's
  View attn;       // (M, H_tp·D) room for them
  View stream;     // (M, C) likewise
};
struct GatherRoom {
  std::vector<std::int64_t> head_widths, ffn_widths,
      out_widths;  // of each tp rank: H_tp·D, F_tp, C_tp
  View whole;      // (N · max(H·D, F))
  View packed;     // (N · max(H·D, F, C))
  View part;       // (N · C_tp)
};
GatherRoom allocate_gather(Arena& arena, const ModelConfig& config, const Grid& grid,
                           std::int64_t N, DType act);

// Gradients at what a block's matrices gave: all that their own gradients still need of a backward
// pass whose weight part comes later.
struct BlockGradients {
  View qkv;   // (B, T, H_tp + 2 Hkv_tp, D)
  View out;   // (B, T, C)
  View up;    // (B, T, U_tp)
  View down;  // (B, T, C)
};
BlockGradients allocate_block_gradients(Arena& arena, const BlockShape& shape);

// How far a forward pass goes: all of it, or only what backward reads (recomputation needs no
// delta_m).
enum class BlockPart : std::uint8_t { whole, activations };

// What forward and backward of one block and one micro-batch are both told.
struct BlockCall {
  const Context& ctx;
  const ModelConfig& config;
  std::int64_t layer;
  BlockShape shape;
  const BlockParameters& parameters;
  BlockActivations activations;
  BlockTokens tokens;
  BlockDropout dropout;
};

// x: (B, T, C); delta: (B, T, C) or empty. Writes delta_out (B, T, C), which may be delta, and
// gives the new stream (B, T, C); of M kept rows both are (1, M, C) instead, delta_out its first M
// rows. sums: in: of delta, out: of delta_out. Collective over tp. inference: null in training.
View block_forward(const BlockCall& call, const BlockInference* inference, ConstView x,
                   ConstView delta, View delta_out, RowSums& sums,
                   BlockPart part = BlockPart::whole);

// dx: (B, T, C): in: gradient of the new stream from behind; out: gradient of x.
// d_delta: (B, T, C): in: gradient of delta_m; out: gradient of delta, where has_delta. Parameter
// gradients accumulate. Collective over tp. With `keep` those of matrices and their biases are left
// to block_backward_weight.
void block_backward(const BlockCall& call, const BlockScratch& scratch, bool has_delta, View dx,
                    View d_delta, const BlockGradients* keep = nullptr);
void block_backward_weight(const BlockCall& call, const BlockGradients& kept);

}  // namespace weft

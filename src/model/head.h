// The language model heads: final norm's output to logits, and the loss with its gradient; a masked
// LM's transform before them. Logits exist for one block of rows at a time, never for the whole
// batch.
#pragma once

#include "core/arena.h"
#include "model/context.h"
#include "model/norm.h"
#include "model/parameters.h"

namespace weft {

struct LmHeadParameters {
  const LocalParameter *weight = nullptr, *bias = nullptr;      // (V_tp, C), (V_tp)
  const LocalParameter *dense_w = nullptr, *dense_b = nullptr;  // the transform; null: none
  NormParameters norm;
  Activation activation = Activation::gelu_erf;  // the transform's
  float softcap = 0;                             // of the logits; 0: none
};
LmHeadParameters find_lm_head(
    const Parameters& parameters);  // of the last stage; its weight may be the embedding

// Rows of logits at a time: on the CPU as many as fit the budget, in whole batches of the matmul;
// on a GPU 4,096, for each block reads and writes the whole gradient of the head's matrix.
std::int64_t logits_block_rows(std::int64_t n_rows, std::int64_t V_tp, Device device);

struct HeadScratch {
  View logits;            // (R, padded_vocab)
  View stats;             // (R, 3) of this shard
  View gathered;          // (tp, R, 3)
  View lse;               // (R)
  View dense, act, z, d;  // (1, N, C) the transform's; empty without
  NormStatistics norm;
};
// What a pass of the head is planned for.
struct HeadShape {
  std::int64_t n_rows = 0, V_tp = 0;
  int tp = 1;
  DType act = DType::f32;
  Device device = {};
};
HeadScratch allocate_head_scratch(Arena& arena, const ModelConfig& config, const HeadShape& shape);

// Loss of each row (N), and where dy is given the gradient of scale · Σ loss: dy (N, C) is written,
// the head's gradients accumulate.
void head_loss(const Context& ctx, View loss,  // (N) fp32
               View dy,                        // (N, C), or empty: loss alone
               ConstView y,                    // (N, C) fp32, the final norm's output
               ConstView labels,               // (N) i32
               const LmHeadParameters& head, float scale, const HeadScratch& scratch);

// Columns in memory of all tp ranks' logits: V, and on a GPU what pads each rank's share.
std::int64_t padded_columns(std::int64_t V, int tp, Device device);

// Logits of the rows over the whole vocabulary, on every tp rank; their padding goes no further.
void head_logits(const Context& ctx, View logits,  // (N, V) act
                 View shard,  // (N, padded_vocab) act scratch; unused when tp is 1 and nothing pads
                 View gathered,  // (N · padded_columns) act scratch, may be empty when tp is 1
                 ConstView y,    // (N, C) act
                 const LmHeadParameters& head, const HeadScratch& scratch);

}  // namespace weft

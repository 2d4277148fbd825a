// Bytes and FLOPs of everything: the one home of the formulas that training reports, benchmarks and
// the planner share. FLOPs are of matrix products alone, 2 a multiply-add.
#pragma once

#include <vector>

#include "comm/grid.h"
#include "model/config.h"
#include "model/parameters.h"
#include "model/schedule_check.h"
#include "model/stage.h"

namespace weft {

// ---- the customary count, for MFU (model FLOPs utilisation)

// Of one token in training as PaLM counts it (Chowdhery et al. 2022, appendix B): 6 a parameter,
// all of them, and 12·L·H·D·T for attention, both halves of the causal mask. What it counts need
// not be done: parameters that are looked up, the half that a mask hides. Recomputation, padding
// and frozen time do not make it larger.
double customary_flops_per_token(const ModelConfig& config, std::int64_t T);

// ---- the executed count, for shares of a peak
//
// What the ops do for the rows they are given: each linear layer's products with every row, padding
// and recomputed blocks included; attention's pairs that the mask lets through. A tied head is a
// layer like any; tables whose rows are looked up are none. What several ranks repeat of the same
// (replicated KV heads, a label head) counts once, so that no count depends on the grid; nor does
// one on the device: the rows that pad a vocabulary on a GPU (padded_vocab) are not counted.

// Sequences that go through the model side by side.
struct SequenceRows {
  std::int64_t n = 1;       // sequences
  std::int64_t rows = 1;    // of each that are computed, its padding included
  std::int64_t cached = 0;  // tokens of each whose keys and values are there already
  std::int64_t tokens = 0;  // of all n that are no padding, in a model that sees to both sides and
                            // hides padding; 0: all
};

// Elements of a block's matrices, by which its rows are multiplied.
std::int64_t block_matrix_elems(const ModelConfig& config);
// One block, forward.
double block_flops(const ModelConfig& config, std::int64_t layer, const SequenceRows& rows);
// The head that the model has, with so many rows: its LM head with its transform, its label layers,
// its pooler; 0 of a base model.
double head_flops(const ModelConfig& config, std::int64_t n_rows);
// All blocks, and the head on so many rows (a prompt needs it for its last token alone). wanted:
// rows that the last block goes on with behind its attention (DecoderRows, model/inference/pass.h);
// -1: all of them.
double forward_flops(const ModelConfig& config, const SequenceRows& rows, std::int64_t head_rows,
                     std::int64_t wanted = -1);
// Forward and backward of a step, the blocks' second forward included where they are recomputed.
double training_flops(const ModelConfig& config, const SequenceRows& rows, Recompute recompute);

// Relative cost of each virtual stage (model/schedule.h), by executed FLOPs; the loss's gradient is
// made in the last one's forward.
std::vector<StageCost> stage_costs(const ModelConfig& config, int pp, std::int64_t T,
                                   Recompute recompute, int chunks = 1);

// ---- communication

// What one rank's calls of a kind in a training step are about, in one of the grid's groups
// (Communicator::call_bytes). It need not be sent as it is: see wire_bytes.
struct StepTraffic {
  GridGroup group;
  CallKind call;
  const char* what;    // "sums of block outputs"
  std::int64_t bytes;  // not 0
  bool waits = true;   // what comes next needs it; else other work of the step goes on meanwhile
  // Of calls that run beside a product: how many they are, and the FLOPs of this rank's in each.
  // What comes next needs what outlasts it.
  std::int64_t n_calls = 1;
  double flops_beside = 0;
};

// How a step is cut, and which rank this is.
struct StepCut {
  GridShape grid;
  int tp_rank = 0, pp_rank = 0;
  std::int64_t B = 1, T = 1, n_micro = 1;  // a micro-batch's sequences, their tokens; how many
  Recompute recompute = Recompute::none;
  DType act = DType::f32;
  bool splits_backward = false;  // zero-bubble
  int chunks = 1;                // of the stage
  Device device = {};
};

// All of a training step, but for what runs only now and then (evaluation, saving) and what ranks
// tell one another of their clocks. The backward of one micro-batch may overlap with the sends of
// another; a bucket's sum with what is left of backward.
std::vector<StepTraffic> step_traffic(const ModelConfig& config, const StepCut& cut);

// Bytes that a link carries one way where n ranks make calls about so many: of a ring, as
// nccl-tests' bus bandwidth counts.
double wire_bytes(CallKind call, double bytes, int n);

// ---- bytes

// Of weights that one decode step reads: all but the tables, of which a row is looked up. Matrices
// are held in `dtype`, vectors in fp32. Without the head: of a pass whose logits nobody wants.
std::int64_t decode_weight_bytes(const ModelConfig& config, DType dtype, bool with_head = true);
// Of keys and values, held in `dtype`, that one decode step of one sequence reads with so many
// tokens before it, over all layers; a windowed layer reads its window.
std::int64_t decode_cache_bytes(const ModelConfig& config, DType dtype, std::int64_t n_tokens);

}  // namespace weft

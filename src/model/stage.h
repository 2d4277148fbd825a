// A pipeline stage in training, or one chunk of it (a virtual stage, model/schedule.h): embedding
// (the first), blocks, final norm and loss (the last), forward and backward, with the activations
// of every micro-batch in flight. Knows its neighbours only by the buffers that they fill. Below,
// "first stage" and "last stage" are of the virtual ones.
#pragma once

#include <functional>
#include <vector>

#include "core/fields.h"
#include "model/block.h"
#include "model/embed.h"
#include "model/head.h"
#include "model/label_head.h"

namespace weft {

enum class Recompute : std::uint8_t {
  none,
  block
};  // block: keep a block's input only, recompute the rest in backward
constexpr Word<Recompute> kRecomputes[] = {{"none", Recompute::none}, {"block", Recompute::block}};

// How a stage is cut: sequences of a micro-batch on this rank, tokens of each, micro-batches held
// at once, which of how many chunks of its rank it is.
struct StageShape {
  std::int64_t B = 1, T = 1;
  int slots = 1;
  Recompute recompute = Recompute::none;
  DType act = DType::f32;        // of activations; a Stage's are its context's
  bool splits_backward = false;  // backward_input and backward_weight are called
  int chunk = 0, chunks = 1;
  Device device = {};  // a Stage's is its context's
};

// Dropout of a run: probabilities from the config, off for evaluation.
struct DropoutRates {
  float embedding = 0, attention = 0, residual = 0, head = 0;
};

// What whoever trains fills before a forward pass, after the slot's staging.wait(): samples in the
// host's views, and what makes the micro-batch's random numbers and gradient scale.
struct MicroBatch {
  Staged ids, types;  // (B·T) i32 first stage (types: where the model has them); forward marks
                      // masked tokens in ids (embed.h)
  Staged labels;      // (B, T) i32 last stage; texts: (B)
  Staged targets;     // (B, n_labels) fp32 last stage: several labels or regression
  Staged lengths;     // (B) i32 tokens of each sequence, the rest of its T is padding
  std::vector<std::int32_t> label_ends;  // (B) texts: behind the labelled token (label_head.h)
  std::int64_t first_sample = 0;         // global index of its first sequence
  std::uint32_t step = 0;
  float loss_scale = 1;  // 1 / labels of the global batch
  bool train = true;     // dropout, and the loss's gradient
};

// What the stage computes of a micro-batch, from its forward to its backward.
struct StageActivations {
  EmbeddingRows tokens;                  // first stage; ids and types are the micro-batch's
  std::vector<TextRows> texts;           // of the B sequences
  std::vector<float> scales;             // of their embeddings; may be empty
  View input;                            // (B, T, C) the stream that enters the stage
  std::vector<BlockActivations> blocks;  // one a layer; with recompute only sum1 is there
  View output;                           // (B, T, C) the stream that leaves it
  View y;                                // (B, T, C) final norm, last stage
  NormStatistics final_norm;
  View dy;          // (B, T, C) gradient of y, last stage
  View loss;        // (B, T) last stage; texts: (B)
  View logits;      // (M, n_labels) last stage, label heads: of the texts or tokens
  Staged labelled;  // (M) i32 likewise: the rows of y
  View dx;          // (B, T, C) gradient of output, then of input
  std::vector<BlockGradients> gradients;  // one a layer, where backward comes in two parts
};

// One micro-batch in flight.
struct StageSlot {
  Staging staging;  // of what the batch holds and the places of its tokens
  MicroBatch batch;
  StageActivations activations;
};

class Stage {
 public:
  Stage(const Context& ctx, const ModelConfig& config, Parameters& parameters, StageShape shape,
        DropoutRates rates, std::uint64_t seed);

  // Bytes of activations on a rank of the grid, by the same layout.
  static std::size_t plan_bytes(const Context& ctx, const ModelConfig& config, StageShape shape);
  // Of the stream's scratch on a GPU, all that its passes need; the CPU's is not planned.
  static std::size_t scratch_bytes(const Context& ctx, const ModelConfig& config, StageShape shape);
  std::size_t bytes() const { return arena_.capacity_bytes(); }

  StageSlot& slot(int micro_batch) {
    return slots_[static_cast<std::size_t>(micro_batch) % slots_.size()];
  }
  const StageShape& shape() const { return shape_; }

  void forward(StageSlot& slot);
  // Gradients accumulate. `ready(flat_end)` is told, as backward goes, that this pass adds nothing
  // more to gradients [0, flat_end) of the flat arena.
  using Ready = std::function<void(std::int64_t flat_end)>;
  void backward(StageSlot& slot, const Ready& ready);
  // The same in two parts, where the shape says so: dx and the norms' gradients; then those of
  // matrices and tables.
  void backward_input(StageSlot& slot);
  void backward_weight(StageSlot& slot, const Ready& ready);

 private:
  Dropout dropout_at(const MicroBatch& batch, float p, std::int64_t site) const;
  Dropout delta_dropout(const MicroBatch& batch, std::int64_t layer, bool has_delta) const;
  Dropout embedding_dropout(const MicroBatch& batch) const;
  BlockDropout block_dropout(const MicroBatch& batch, std::int64_t layer, bool has_delta) const;
  BlockTokens tokens(const StageSlot& slot) const;
  BlockCall block_call(const StageSlot& slot, std::size_t i, bool has_delta) const;
  void place(StageSlot& slot) const;
  void label(StageSlot& slot);
  void recompute(StageSlot& slot, std::size_t i);
  void embedding_backward(StageSlot& slot, const Ready& ready);
  void backward_stream(StageSlot& slot, bool keep, const Ready& ready);

  const Context& ctx_;
  const ModelConfig& config_;
  StageShape shape_;
  DropoutRates rates_;
  std::uint64_t seed_;
  BlockShape block_;
  bool first_, last_;  // of the virtual stages
  Range layers_;
  std::vector<BlockParameters> blocks_;
  std::vector<std::int64_t> block_flat_end_;  // end of each block's gradients in the flat arena
  EmbeddingParameters embedding_;
  NormParameters final_norm_;
  LmHeadParameters head_;
  LabelHeadParameters label_head_;
  std::int64_t flat_elems_ = 0, head_flat_end_ = 0;

  Arena arena_;
  std::vector<StageSlot> slots_;
  BlockActivations recomputed_;  // one set for all blocks, with recompute
  BlockScratch scratch_;
  HeadScratch head_scratch_;
  LabelScratch label_scratch_;
  View delta_, d_delta_;  // (B, T, C) forward's; backward's
  Staging rope_staging_;
  Staged rope_positions_;  // (B·T) i32
  Staged rope_table_;      // (T, 2, P/2)
};

}  // namespace weft

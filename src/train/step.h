// One optimizer step on this rank's grid: micro-batches through the pipeline, gradients reduced,
// clipped, applied. Knows no files.
#pragma once

#include <array>
#include <functional>

#include "core/host_copy.h"
#include "data/sample.h"
#include "model/pipeline.h"
#include "model/schedule_check.h"
#include "train/optimizer.h"

namespace weft {

struct StepSettings {
  std::int64_t batch_size = 8;  // sequences of the whole grid
  std::int64_t micro_batch_size =
      0;  // sequences of a rank at a time; 0: chosen (all, or an eighth for a pipeline)
  std::int64_t T = 0;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  int chunks = 1;  // of the model on each stage, as the parameters have; more for interleaved
  Recompute recompute = Recompute::none;
  DropoutRates dropout;
  std::uint64_t seed = 0;
  double clip_grad_norm = 1.0;  // 0: no clipping
  OptimizerSettings optimizer;
};

// The whole pipeline's lists for a step, one a stage. Error where check_schedule finds them wrong:
// called before a job starts.
std::vector<StageSchedule> checked_schedule(const StepSettings& settings, const GridShape& shape);

struct StepResult {
  double loss = 0;       // mean over the labels of the global batch
  double grad_norm = 0;  // before clipping
};

class TrainStep {
 public:
  TrainStep(const Context& ctx, const ModelConfig& config, Parameters& parameters,
            const StepSettings& settings);

  // Sequences of a micro-batch and micro-batches of a step, on every data-parallel rank. Where the
  // batch does not divide, the rows past a rank's share carry no labels.
  static std::int64_t micro_batch_size(const StepSettings& settings, const GridShape& shape);
  static std::int64_t n_micro_batches(const StepSettings& settings, const GridShape& shape);
  // Sequences that the ranks compute in a step, those that only fill up included.
  static std::int64_t computed_sequences(const StepSettings& settings, const GridShape& shape);
  static StageShape stage_shape(const StepSettings& settings, const GridShape& shape, int stage,
                                int chunk);

  // Trains on the samples at places [cursor, cursor + batch_size). `step` counts from 1.
  // Collective; equal results everywhere. begin() and result() at once.
  StepResult train(const SampleSource& source, std::int64_t cursor, std::int64_t step);
  // In two parts, so that a GPU has the next step before the host waits for this one: begin()
  // enqueues all of a step, result() waits for the oldest one under way, of which there are
  // kMostUnderWay at most. An Error where that has diverged: its weights, and those of the steps
  // after it, are not to be saved.
  static constexpr std::int64_t kMostUnderWay = 2;
  void begin(const SampleSource& source, std::int64_t cursor, std::int64_t step);
  StepResult result();
  std::int64_t under_way() const { return n_begun_ - n_ended_; }
  // With no step under way:
  // Forward and backward alone: gradients are summed over all ranks but not applied.
  double gradients(const SampleSource& source, std::int64_t cursor, std::int64_t step);
  // Mean loss over the labels of the samples at places [first, first + n), and how many labels;
  // dropout off. `predicted(place, logits)` is told
  // the label head's (n_labels) for a text or (T, n_labels) for tokens, on the last stage's first
  // tp rank, of this rank's share.
  using Predicted = std::function<void(std::int64_t place, std::span<const float> logits)>;
  struct Evaluation {
    double loss = 0;
    std::int64_t n_labels = 0;
  };
  Evaluation evaluate(const SampleSource& source, std::int64_t first, std::int64_t n,
                      const Predicted& predicted = nullptr);

  std::size_t activation_bytes() const;
  // What a step takes of its device beside the parameters: activations, scratch, what ops keep.
  static std::size_t plan_bytes(const Context& ctx, const ModelConfig& config,
                                const ParametersPlan& parameters, const StepSettings& settings);

 private:
  struct Pass {
    ScheduleKind kind;
    std::int64_t first = 0, n = 0, step = 0;
    bool train = false;
    std::function<void(std::int64_t)> ready;
    Predicted predicted;
  };
  // What a step knows of itself, on its device: nothing waits for it before the step is over.
  struct Scalars {
    View sums;          // (2) fp64:
    View loss, square;  // (1) a pass's losses; the squared norm of the gradient
    View grad_scale;    // (1) fp32: what clips it
  };
  struct UnderWay {
    Scalars scalars;
    HostCopy sums;  // of scalars'
    std::int64_t step = 0, n_labels = 0;
  };
  static std::array<Scalars, kMostUnderWay> lay_out_scalars(Arena& arena);
  // Of the stream's scratch on a GPU.
  static std::size_t scratch_bytes(const Context& ctx, const ModelConfig& config,
                                   const ParametersPlan& parameters, const StepSettings& settings);
  UnderWay& ring(std::int64_t i) { return ring_[static_cast<std::size_t>(i % kMostUnderWay)]; }
  // Runs a schedule over places [first, first + n), whose losses then stand in `to` as far as this
  // rank has them, and n_labels, of all ranks.
  void run(UnderWay& to, const SampleSource& source, const Pass& pass);
  // Labels of those places, over all data-parallel ranks.
  std::int64_t count_labels(const SampleSource& source, std::int64_t first, std::int64_t n);
  void run_backward(UnderWay& to, const SampleSource& source, std::int64_t cursor,
                    std::int64_t step);
  // Of a pass whose sums are on their way: waits for them. grad_norm is that of `square`.
  // Collective.
  StepResult fetch(UnderWay& of);
  // A pass that no other is under way with, and its loss.
  double loss_of(const std::function<void(UnderWay&)>& pass);

  const Context& ctx_;
  const ModelConfig& config_;
  Parameters& parameters_;
  StepSettings settings_;
  std::int64_t micro_, n_micro_;
  std::vector<std::unique_ptr<Stage>> chunks_;
  Pipeline pipeline_;
  GradientReducer reducer_;
  Arena scalar_arena_;
  std::array<UnderWay, kMostUnderWay> ring_;
  std::int64_t n_begun_ = 0, n_ended_ = 0;
  HostCopy logits_;
};

}  // namespace weft

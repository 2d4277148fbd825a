// One optimizer step on this rank's grid: micro-batches through the pipeline, gradients reduced,
// clipped, applied. Knows no files.
#pragma once

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
  // Collective; equal results everywhere.
  StepResult train(const SampleSource& source, std::int64_t cursor, std::int64_t step);
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

 private:
  struct Pass {
    ScheduleKind kind;
    std::int64_t first = 0, n = 0, step = 0;
    bool train = false;
    std::function<void(std::int64_t)> ready;
    Predicted predicted;
  };
  // Runs a schedule over places [first, first + n); the result is the mean loss, on all ranks.
  Evaluation run(const SampleSource& source, const Pass& pass);
  // Labels of those places, over all data-parallel ranks.
  std::int64_t count_labels(const SampleSource& source, std::int64_t first, std::int64_t n);
  double sum_over_grid();

  const Context& ctx_;
  const ModelConfig& config_;
  Parameters& parameters_;
  StepSettings settings_;
  std::int64_t micro_, n_micro_;
  std::vector<std::unique_ptr<Stage>> chunks_;
  Pipeline pipeline_;
  GradientReducer reducer_;
  Arena scalars_;
  View loss_;        // (1) fp64: the sum of a pass's losses, on the last stage
  HostCopy copied_;  // loss_, logits
};

}  // namespace weft

// One optimizer step on this rank's grid: micro-batches through the pipeline, gradients reduced, clipped, applied. Knows no files.
#pragma once

#include <functional>

#include "model/pipeline.h"
#include "train/optimizer.h"

namespace weft {

struct StepSettings {
  std::int64_t batch_size = 8;        // sequences of the whole grid
  std::int64_t micro_batch_size = 0;  // sequences of a rank at a time; 0: chosen (all, or an eighth for a pipeline)
  std::int64_t T = 0;
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  Recompute recompute = Recompute::none;
  DropoutRates dropout;
  std::uint64_t seed = 0;
  double clip_grad_norm = 1.0;        // 0: no clipping
  OptimizerSettings optimizer;
};

// Fills ids (T) and labels (T) of the sample at a place; either may be null.
using SampleSource = std::function<void(std::int64_t place, std::int32_t* ids, std::int32_t* labels)>;

struct StepResult {
  double loss = 0;       // mean over the label tokens of the global batch
  double grad_norm = 0;  // before clipping
};

class TrainStep {
 public:
  TrainStep(const Context& ctx, const ModelConfig& config, Parameters& parameters, const StepSettings& settings);

  // Sequences of a micro-batch and micro-batches of a step, on every data-parallel rank. Where the batch does not divide, the
  // rows past a rank's share carry no labels.
  static std::int64_t micro_batch_size(const StepSettings& settings, const GridShape& shape);
  static std::int64_t n_micro_batches(const StepSettings& settings, const GridShape& shape);
  static StageShape stage_shape(const StepSettings& settings, const GridShape& shape, int stage);

  // Trains on the samples at places [cursor, cursor + batch_size). `step` counts from 1. Collective; equal results everywhere.
  StepResult train(const SampleSource& source, std::int64_t cursor, std::int64_t step, double lr);
  // Forward and backward alone: gradients are summed over all ranks but not applied.
  double gradients(const SampleSource& source, std::int64_t cursor, std::int64_t step);
  // Mean loss over the samples at places [0, n); dropout off.
  double evaluate(const SampleSource& source, std::int64_t n);

  std::size_t activation_bytes() const { return stage_.bytes(); }

 private:
  // Runs a schedule over places [first, first + n); returns this rank's sum of losses.
  double run(ScheduleKind kind, const SampleSource& source, std::int64_t first, std::int64_t n, std::int64_t step, bool train,
             const std::function<void(std::int64_t)>& ready);
  double sum_over_grid(double loss);

  Context ctx_;
  Parameters& parameters_;
  StepSettings settings_;
  std::int64_t micro_, n_micro_;
  Stage stage_;
  Pipeline pipeline_;
  GradientReducer reducer_;
};

}  // namespace weft

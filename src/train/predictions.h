// What an evaluation predicted, gathered over the grid in the order of the samples, and how well it
// fits.
#pragma once

#include "train/metrics.h"
#include "train/step.h"

namespace weft {

class Predictions {
 public:
  // Of n texts; takes nothing where the model does not label texts.
  Predictions(const ModelConfig& config, std::int64_t n);
  TrainStep::Predicted taker();
  // The task's metrics; `source` is the evaluation's. Collective; equal on every rank and on every
  // grid.
  Metrics metrics(Communicator& world, const SampleSource& source, Stream& stream);

 private:
  const ModelConfig& config_;
  std::int64_t n_;
  std::vector<float> logits_;  // (n, n_labels), 0 where another rank has them
};

}  // namespace weft

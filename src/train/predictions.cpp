#include "train/predictions.h"

#include <algorithm>

namespace weft {

Predictions::Predictions(const ModelConfig& config, std::int64_t n)
    : config_(config),
      n_(n),
      logits_(config.head == HeadKind::classify ? static_cast<std::size_t>(n * config.n_labels)
                                                : 0) {}

TrainStep::Predicted Predictions::taker() {
  if (logits_.empty()) return nullptr;
  return [this](std::int64_t place, std::span<const float> logits) {
    std::copy(logits.begin(), logits.end(), logits_.begin() + place * config_.n_labels);
  };
}

Metrics Predictions::metrics(Communicator& world, const SampleSource& source, Stream& stream) {
  if (logits_.empty()) return {};
  // Every number has one rank that knows it: the sum is that number, whatever the grid.
  world.all_reduce(View(logits_.data(), Dims{static_cast<std::int64_t>(logits_.size())}),
                   ReduceOp::sum, stream);
  const std::int64_t width = config_.n_labels;
  std::vector<std::int32_t> labels(static_cast<std::size_t>(n_)), predicted;
  std::vector<float> targets(logits_.size());
  for (std::int64_t i = 0; i < n_; ++i) {
    Sample sample;
    sample.labels = labels.data() + i;
    sample.targets = targets.data() + i * width;
    source(i, sample);
  }
  if (config_.problem == Problem::regression) return number_metrics(logits_, targets, width);
  if (config_.problem == Problem::multi_label) {
    std::vector<float> said;
    for (const float z : logits_) said.push_back(z > 0 ? 1.0f : 0.0f);
    return label_set_metrics(said, targets, width);
  }
  for (auto row = logits_.begin(); row != logits_.end(); row += width)
    predicted.push_back(static_cast<std::int32_t>(std::max_element(row, row + width) - row));
  return class_metrics(predicted, labels, width);
}

}  // namespace weft

// What a training run starts from, resolved from its options: config, tokenizer, data, and the
// checkpoint to resume. Every mistake that can be seen before the first step is found here.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>

#include "comm/grid.h"
#include "text/tokenizer.h"
#include "train/checkpoint.h"
#include "train/data.h"
#include "train/options.h"
#include "train/step.h"

namespace weft {

struct TrainingStart {
  GridShape shape;
  ModelConfig config;
  std::optional<Tokenizer> tokenizer;  // none: the data names none, and none was given
  std::shared_ptr<TrainingData> data;
  StepSettings step;
  std::filesystem::path out;
  std::int64_t context = 0;  // to ask for again: the model's where it is fresh, else step.T
};

// Reads files, writes none; the same on every rank.
TrainingStart resolve_start(const TrainOptions& options, int n_ranks);

// The checkpoints to try, best first, by --resume. UserError where a named one does not exist.
std::vector<std::filesystem::path> resume_candidates(const TrainOptions& options);

}  // namespace weft

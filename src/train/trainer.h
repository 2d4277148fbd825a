// A whole training run: start or resume, steps, evaluation, checkpoints, the log, and the exported
// model at the end.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.h"
#include "core/memory.h"
#include "io/json.h"
#include "train/options.h"

namespace weft {

struct TrainingEnvironment {
  int n_threads = 1;
  std::function<std::string(const TrainOptions&)> recipe;  // recipe.toml of the options as resolved
  OrderedJson build;  // version, commit, libraries, for the log's start line
  std::vector<std::string> hosts;
  MemoryRoom memory;  // for this rank, before the arenas take theirs
};

// Throws Interrupted after a signal, its checkpoint saved.
void train(std::unique_ptr<Communicator> world, const TrainOptions& options,
           const TrainingEnvironment& environment);

}  // namespace weft

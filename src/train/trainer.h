// A whole training run: start or resume, steps, evaluation, checkpoints, the log, and the exported
// model at the end.
#pragma once

#include <functional>
#include <memory>

#include "comm/communicator.h"
#include "comm/run_time.h"
#include "core/system/stop_signal.h"
#include "io/json.h"
#include "train/start.h"
#include "train/text_sampler.h"

namespace weft {

struct TrainingEnvironment {
  Device device;
  int n_threads = 1;
  std::function<std::string(const TrainOptions&)> recipe;  // recipe.toml of the options as resolved
  OrderedJson facts;  // of the log's start line: what every command says there
  std::vector<std::string> hosts;
  RunTime time;
  const StopSignal* stop = nullptr;  // null: no signal ends the run
  MakeTextSampler sampler;           // of a run with --sample
  int ranks_on_host = 1;             // that share its memory
};

// start: resolve_together()'s of these options. Throws Interrupted after a signal, or where the
// time is nearly over, its checkpoint saved.
void train(std::unique_ptr<Communicator> world, const TrainOptions& options, TrainingStart start,
           const TrainingEnvironment& environment);

}  // namespace weft

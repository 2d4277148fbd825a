// The lines of run.jsonl, one JSON object each, as far as they are more than a few words.
#pragma once

#include "io/tensorboard_events.h"
#include "train/metrics.h"
#include "train/progress.h"
#include "train/start.h"
#include "train/text_sampler.h"

namespace weft {

// What the start line says of this start of a run, besides what every command's log says.
struct StartFacts {
  const OrderedJson& environment;  // of every command: TrainingEnvironment::facts
  const TrainOptions& options;     // as given
  const TrainOptions& resolved;
  const TrainingStart& start;
  Device device;
  int n_threads = 1;
  std::int64_t bytes_per_rank = 0;  // of the rank that holds most
  double peak_flops = 0;            // measured, of all ranks
  std::int64_t step = 0;            // that the run is at
};

OrderedJson start_line(const StartFacts& facts);
OrderedJson step_line(const StepReport& report);

// An evaluation.
struct EvalReport {
  std::int64_t step = 0, n_samples = 0;
  double loss = 0;
  Metrics metrics;  // the task's
  std::vector<TextSample> texts;
};
OrderedJson eval_line(const EvalReport& report);
std::string eval_text(const EvalReport& report);  // of its numbers, for people
OrderedJson warning_line(std::int64_t step, const std::string& text);

// With the peaks that rose above the start line's, and from which step on.
OrderedJson end_line(std::int64_t step, const std::string& reason, const OrderedJson& risen_peaks);

// A step's or an evaluation's numbers by their tags in TensorBoard: loss, shares/comm, eval/loss.
Scalars scalars_of(const OrderedJson& line);

}  // namespace weft

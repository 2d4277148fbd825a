// A run as its log tells it (run.jsonl, or the --log of a text job), and what follows from the
// lines: medians, shares, hours.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/json.h"

namespace weft::report {

// A number that a log does not have is NaN, a count -1, a text empty.
constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
inline bool known(double value) { return !std::isnan(value); }
inline double or_unknown(std::int64_t value) {
  return value < 0 ? kUnknown : static_cast<double>(value);
}

using StepShares = std::array<double, kTimeShares>;  // as kTimeShareNames

struct RunStep {
  std::int64_t step = 0;
  double loss = kUnknown, tokens = kUnknown, step_s = kUnknown, tokens_per_s = kUnknown;
  double mfu = kUnknown, peak_share = kUnknown, comm_bytes = kUnknown;
  double at_s = kUnknown;  // when it ended, in seconds that the run's processes have run
  StepShares shares{};
  bool has_shares = false;
  int start = 0;      // of the log's starts, from 1
  bool warm = false;  // behind the first three steps of its start
};

struct RunEval {
  std::int64_t step = 0;
  double loss = kUnknown;
};

struct Percentiles {
  double p50 = kUnknown, p95 = kUnknown, p99 = kUnknown;
};

// What a text job did, by its `end` line, or its last `progress` line where it was stopped.
struct TextJob {
  double items = kUnknown, prompt_tokens = kUnknown, new_tokens = kUnknown;
  double prompt_tokens_per_s = kUnknown, new_tokens_per_s = kUnknown, tokens_per_s = kUnknown;
  Percentiles queue_s, ttft_s, inter_token_s;
  double batch_occupancy = kUnknown, cache_use = kUnknown, comm_share = kUnknown;
  double cache_shared = kUnknown, preemptions = kUnknown;
  double streamed_bytes = kUnknown, streamed_bytes_per_s = kUnknown;
  double read_peak_bytes_per_s = kUnknown, peak_share = kUnknown, comm_bytes = kUnknown;
  StepShares shares{};
  bool has_shares = false;
};

// How far a text job was, by its progress and end lines.
struct TextProgress {
  double at_s = kUnknown, tokens = kUnknown;  // of prompts and new ones, since its start
  int start = 0;
};

// Where starts of a run were, that differ in none of this but hosts and measured peak.
struct RunPlace {
  std::string machine, site, cpu, commit, mpi, queue;
  std::int64_t nodes = -1, ranks = -1, threads = -1;
  std::vector<std::string> hosts;  // of all these starts
  double peak_flops = kUnknown;    // as the last of them measured it
  std::vector<int> starts;         // from 1
};

struct Run {
  std::string name;     // short, unlike those of the other runs
  std::string file;     // its log
  std::string problem;  // why the log cannot be read; the rest is empty then

  // of the last start
  std::string what = "train", site, machine, date, commit, model, device, dtype, task, cpu, queue;
  std::int64_t parameters = -1, context = -1, batch_size = -1, tp = -1, pp = -1, dp = -1,
               ranks = -1, nodes = -1, threads = -1;
  OrderedJson start = OrderedJson::object();  // the line itself
  std::vector<std::string> commands;          // of each start, where it is another

  std::vector<RunStep> steps;  // by step; where one stands twice in the log, the last
  std::vector<RunEval> evals;
  TextJob text;
  std::vector<TextProgress> progress;
  std::vector<RunPlace> places;  // of its starts, in their order
  int starts = 0;
  double elapsed_s = kUnknown;         // of all starts
  double node_hours = kUnknown;        // likewise
  double lost_s = 0, lost_tokens = 0;  // by steps that a resume did again
  double save_s = 0;
  std::int64_t saves = 0;
  std::string end;  // reason of the last end line; empty: it stopped without one

  bool damaged() const { return !problem.empty(); }
  bool trains() const { return what == "train"; }
  // The machines of its starts where they are several, "epyc, then polaris"; else empty.
  std::string moved() const;
  double loss() const;          // of the last step
  double tokens_per_s() const;  // median of the warm steps; a text job's own
  double tokens_per_s_rank() const;
  double mfu() const;
  double peak_share() const;
  double step_s() const;
  double comm_bytes() const;  // of a step, median; of a text job, all
  // Of the warm steps' time (not of one step), summing to 1; false where no line has any.
  bool shares(StepShares& out) const;
};

double median(std::vector<double> values);  // NaNs left out; NaN of none

// Damage (not JSON, no start) becomes the run's `problem`. UserError: no such file, a log of
// another version. Error: cannot be read.
Run read_run(const std::string& file);

// The logs that the words name: a log, a run folder, a folder of run folders (in natural order of
// names: run2 before run10). UserErrors: no such path, a folder without a log. Names are given.
std::vector<Run> read_runs(const std::vector<std::string>& words);

bool natural_less(const std::string& a, const std::string& b);

}  // namespace weft::report

// The run log of a job of texts (--log FILE): a start line, progress now and then, and an end line
// with what all ranks did together. Without a file every call does nothing.
#pragma once

#include <filesystem>
#include <optional>

#include "comm/grid_span.h"
#include "infer/read_peak.h"
#include "infer/statistics.h"
#include "io/run_log.h"
#include "model/context.h"

namespace weft {

// What was done for the results that are there.
struct JobWork {
  std::int64_t items = 0, prompt_tokens = 0, new_tokens = 0;
  void add(const JobWork& other) {
    items += other.items;
    prompt_tokens += other.prompt_tokens;
    new_tokens += other.new_tokens;
  }
};

class JobLog {
 public:
  JobLog() = default;
  // Rank 0 appends `start` to the file. `clock` is the context's. Collective; Error or UserError
  // where the file cannot be written.
  JobLog(const Context& ctx, ShareClock& clock, const std::filesystem::path& file,
         const OrderedJson& start);
  bool on() const { return ctx_ != nullptr; }

  // For generation: counts its passes and measures the memory beside it; to be asked for before
  // begin(). Collective where the log is on.
  EngineWatch watch_engine();
  void begin();  // of the work itself: the model is there. Collective
  // Rank 0's, whose word counts: what all replicas have done so far. A line a second at most, and
  // at most one a hundredth of the time.
  void progress(const JobWork& work);
  void stop();  // of the work: ranks that are done wait here for the others. Collective
  // Rank 0 writes the last line, with the work of all replicas.
  void end(const std::string& reason, const JobWork& work);

 private:
  const Context* ctx_ = nullptr;  // null: no log
  ShareClock* clock_ = nullptr;
  RunLog log_;  // rank 0's
  std::int64_t sent_before_ = 0;
  GridSpan span_;
  std::optional<EngineStatistics> statistics_;
  std::optional<ReadPeak> reads_;
  double begun_s_ = 0, said_s_ = 0;  // since the process began
};

}  // namespace weft

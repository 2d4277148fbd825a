// What a step did, and the progress line on stderr that says so.
#pragma once

#include <array>
#include <chrono>

#include "model/context.h"
#include "train/speed.h"
#include "train/step.h"

namespace weft {

struct StepReport {
  std::int64_t step = 0, steps = 0, tokens = 0;  // tokens of this step
  StepResult result;
  double lr = 0, seconds = 0;
  double elapsed_s = 0;  // since the process began
  SpeedShares speed;
  std::int64_t comm_bytes = 0;               // sent by all ranks together
  std::array<double, kTimeShares> shares{};  // of the step, summing to 1; averaged over the ranks

  double tokens_per_s() const { return static_cast<double>(tokens) / seconds; }
};

// One line that rewrites itself on a terminal; elsewhere a line at most every ten seconds.
class ProgressLine {
 public:
  explicit ProgressLine(bool speaks);
  ~ProgressLine();
  void show(const StepReport& report);
  void break_line();  // before something else is printed

 private:
  bool speaks_, terminal_, open_ = false;
  std::chrono::steady_clock::time_point last_{};
};

}  // namespace weft

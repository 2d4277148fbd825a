// How fast a run is beside what its machine can do. The peak is the best sample of the matmul rate
// of all ranks together: some at the start, then one between steps now and then, which costs at
// most a hundredth of the time and none of a step's.
#pragma once

#include <chrono>
#include <optional>

#include "kernels/peak.h"
#include "model/context.h"
#include "model/sizes.h"

namespace weft {

// Shares of the peak: `mfu` by the customary count of the tokens that are no padding; it may pass 1
// where most parameters are looked up and never multiplied. `peak_share` by the work that was
// executed, padding and recomputation included: at most 1.
struct SpeedShares {
  double mfu = 0, peak_share = 0;
};

class Speed {
 public:
  // The first samples. Collective.
  Speed(const Context& ctx, const ModelConfig& config, std::int64_t T, Recompute recompute);

  double peak_flops() const { return peak_.rate(); }  // the same on every rank

  // Of a step in which `sequences` of T rows went through the model, `tokens` of them no padding.
  // A step that was faster than all samples raises the peak.
  SpeedShares shares(std::int64_t sequences, std::int64_t tokens, double seconds);

  // Whether this rank finds it time for a sample; where one does, all ranks take it.
  bool due() const;
  void sample();  // collective

 private:
  using Clock = std::chrono::steady_clock;
  const Context& ctx_;
  const ModelConfig& config_;
  std::int64_t T_;
  Recompute recompute_;
  MatmulProbe probe_;
  BestRate peak_;
  Clock::time_point sampled_;  // when the last sample ended
  double cost_s_ = 0;          // that it took
};

}  // namespace weft

#include "train/lr_schedule.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"

namespace weft {

LrDecay lr_decay(const std::string& name) { return value_of(kLrDecays, "--lr-schedule", name); }

double LrSchedule::at(std::int64_t step) const {
  if (step <= warmup_steps)
    return lr * static_cast<double>(step) / static_cast<double>(warmup_steps);
  if (decay == LrDecay::constant) return lr;
  const double span = static_cast<double>(std::max<std::int64_t>(1, steps - warmup_steps));
  const double done = std::min(1.0, static_cast<double>(step - warmup_steps) / span);
  const double left = decay == LrDecay::linear ? 1 - done : 0.5 * (1 + std::cos(M_PI * done));
  return min_lr + (lr - min_lr) * left;
}

}  // namespace weft

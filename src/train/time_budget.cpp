#include "train/time_budget.h"

#include <algorithm>
#include <utility>

namespace weft {
namespace {

// One stripe of a parallel file system that others use too writes some hundreds of MB a second;
// opening, syncing and renaming there may take half a second.
constexpr double kCautiousBytesPerS = 100e6, kCautiousOpen_s = 0.5;

}  // namespace

TimeBudget::TimeBudget(double total_s, std::int64_t checkpoint_bytes)
    : total_s_(total_s),
      estimated_save_s_(kCautiousOpen_s +
                        static_cast<double>(checkpoint_bytes) / kCautiousBytesPerS) {}

void TimeBudget::step_took(double seconds) {
  steps_s_ += seconds;
  ++n_steps_;
  if (seconds > slowest_s_)
    second_s_ = std::exchange(slowest_s_, seconds);
  else
    second_s_ = std::max(second_s_, seconds);
}

void TimeBudget::save_took(double seconds) {
  measured_save_s_ = std::max(measured_save_s_, seconds);
}

void TimeBudget::evaluation_took(double seconds) {
  evaluation_s_ = std::max(evaluation_s_, seconds);
}

double TimeBudget::save_s() const {
  return save_is_measured() ? measured_save_s_ : estimated_save_s_;
}

double TimeBudget::margin_s() const {
  const double second_s = n_steps_ < 2 ? slowest_s_ : second_s_;  // one is all that is known
  return 2 * save_s() + slowest_s_ + second_s + 0.01 * total_s_;
}

bool TimeBudget::holds_evaluation(double left_s, double batches) const {
  const double step_s = n_steps_ > 0 ? steps_s_ / static_cast<double>(n_steps_) : 0;
  const double cost_s = evaluation_s_ >= 0 ? evaluation_s_ : batches * step_s;
  return left_s - cost_s > margin_s();
}

}  // namespace weft

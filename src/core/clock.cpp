#include "core/clock.h"

#include "core/gpu.h"

namespace weft {

void ShareClock::start() {
  seconds_ = {};
  running_ = TimeShare::other;
  last_ = Clock::now();
}

TimeShare ShareClock::switch_to(TimeShare share) {
  const Clock::time_point now = Clock::now();
  seconds_[static_cast<std::size_t>(running_)] +=
      std::chrono::duration<double>(now - last_).count();
  last_ = now;
  return std::exchange(running_, share);
}

std::array<double, kTimeShares> ShareClock::stop() {
  switch_to(TimeShare::other);
  return seconds_;
}

TimeAs::TimeAs(ShareClock& clock, TimeShare share)
    : clock_(&clock), before_(clock.switch_to(share)) {
  gpu::enter_range(kTimeShareNames[static_cast<std::size_t>(share)]);
}

TimeAs::~TimeAs() {
  gpu::leave_range();
  clock_->switch_to(before_);
}

}  // namespace weft

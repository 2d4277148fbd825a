#include "core/clock.h"

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

}  // namespace weft

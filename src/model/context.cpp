#include "model/context.h"

namespace weft {

void ShareClock::start() {
  seconds_ = {};
  running_ = Share::other;
  last_ = Clock::now();
}

Share ShareClock::switch_to(Share share) {
  const Clock::time_point now = Clock::now();
  seconds_[static_cast<std::size_t>(running_)] +=
      std::chrono::duration<double>(now - last_).count();
  last_ = now;
  return std::exchange(running_, share);
}

std::array<double, kShares> ShareClock::stop() {
  switch_to(Share::other);
  return seconds_;
}

}  // namespace weft

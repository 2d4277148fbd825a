#include "model/context.h"

namespace weft {

void ShareClock::start() {
  seconds_ = {};
  running_ = Share::other;
  last_ = Clock::now();
}

Share ShareClock::switch_to(Share share) {
  const Clock::time_point now = Clock::now();
  seconds_[static_cast<std::size_t>(running_)] += std::chrono::duration<double>(now - last_).count();
  last_ = now;
  return std::exchange(running_, share);
}

std::array<double, kShares> ShareClock::stop() {
  switch_to(Share::other);
  return seconds_;
}

void all_reduce_tp(const Context& ctx, View x) {
  if (ctx.grid.shape().tp == 1) return;
  const auto booked = book(ctx, Share::comm);
  ctx.grid.tp().all_reduce(x, ReduceOp::sum, ctx.stream);
}

}  // namespace weft

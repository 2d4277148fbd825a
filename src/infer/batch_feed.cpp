// A Batch that is fed while it runs: what begins and what is dropped between two passes.
#include <algorithm>
#include <utility>

#include "comm/pass_limit.h"
#include "infer/batch.h"

namespace weft {

// Whether there is anything for a pass to do.
bool Batch::begin_pass() {
  if (feed_) return take_orders();
  admit();
  return !works_.empty();
}

// Until there is something to do; false: it ends.
bool Batch::take_orders() {
  for (;;) {
    EngineOrders orders = ask_feed();
    const double now_s = elapsed_s();
    for (GenerationRequest& r : orders.begin) {
      CHECK(fits(model_.config, shape_, r), "{} does not fit what was planned", r.name);
      fed_.emplace(n_fed_++, Fed{std::move(r), now_s});
    }
    for (const std::size_t request : orders.drop) drop(request);
    release();
    if (orders.end) return false;
    admit();
    if (!works_.empty()) return true;
  }
}

// While nothing is under way the clock stands still: the feed may take its time, which is no part
// of what a request or a pass takes.
EngineOrders Batch::ask_feed() {
  const bool idle = fed_.empty();
  const auto asked = std::chrono::steady_clock::now();
  EngineOrders orders = feed_(idle);
  if (!idle) return orders;
  start_ += std::chrono::steady_clock::now() - asked;
  if (PassLimit* limit = model_.ctx.limit) limit->begin();
  return orders;
}

void Batch::drop(std::size_t request) {
  const auto is_it = [&](const ActiveRequest& w) { return w.request == request; };
  const auto found = std::find_if(works_.begin(), works_.end(), is_it);
  if (found != works_.end()) {
    found->over = true;
    return;
  }
  waiting_.remove_if(is_it);  // it holds no page
  fed_.erase(request);
}

// The first request that has not begun.
Batch::Coming Batch::coming() const {
  if (!feed_) return {begun_, begun_ < requests_.size() ? &requests_[begun_] : nullptr, 0};
  const auto found = fed_.lower_bound(begun_);
  if (found == fed_.end()) return {begun_, nullptr, 0};
  return {found->first, &found->second.asked, found->second.came_s};
}

// Of the chooser, what it tells beside the chosen token.
std::int64_t Batch::n_likely(const ActiveRequest& w) const {
  return w.beams ? 0 : std::min(request_of(w).n_likely, model_.config.vocab);
}

}  // namespace weft

#include "comm/collective_watch.h"

#include <algorithm>
#include <utility>

#include "core/check.h"

namespace weft {
namespace {

constexpr auto kPeriod = std::chrono::milliseconds(50);

}  // namespace

CollectiveWatch::CollectiveWatch(double timeout_s, std::function<void(const std::string&)> end_run,
                                 double grace_s)
    : timeout_s_(timeout_s),
      grace_s_(grace_s),
      end_run_(std::move(end_run)),
      thread_([this] { run(); }) {}

CollectiveWatch::~CollectiveWatch() {
  {
    const std::lock_guard lock(mutex_);
    stops_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

int CollectiveWatch::add(Group group) {
  const std::lock_guard lock(mutex_);
  groups_[next_].group = std::move(group);
  return next_++;
}

bool CollectiveWatch::remove(int group) {
  const std::lock_guard lock(mutex_);
  groups_.erase(group);
  return failed_.empty();
}

void CollectiveWatch::add_call(int group, std::string call, std::shared_ptr<const Event> end) {
  const std::lock_guard lock(mutex_);
  Watched& w = groups_.at(group);
  // A step's calls are many and nobody asks for those that have ended.
  while (w.calls.size() > 1 && w.calls.front().end->has_passed()) {
    w.calls.pop_front();
    progress_ = Clock::now();
  }
  w.calls.push_back({std::move(call), ++w.n_calls, Clock::now(), std::move(end)});
}

void CollectiveWatch::check() {
  const std::lock_guard lock(mutex_);
  if (!failed_.empty()) machine_error("{}", failed_);
}

void CollectiveWatch::run() {
  std::unique_lock lock(mutex_);
  while (!stops_ && failed_.empty()) {
    wake_.wait_for(lock, kPeriod);
    if (!stops_) failed_ = failure();
  }
  if (failed_.empty()) return;
  for (auto& [id, w] : groups_) {
    w.group.abort();
    w.calls.clear();
  }
  const auto end = Clock::now() + std::chrono::duration<double>(grace_s_);
  if (wake_.wait_until(lock, end, [this] { return stops_; })) return;
  const std::string text = failed_;
  lock.unlock();
  end_run_(text);
}

std::string CollectiveWatch::failure() {
  const auto now = Clock::now();
  try {
    for (auto& [id, w] : groups_)
      while (!w.calls.empty() && w.calls.front().end->has_passed()) {
        w.calls.pop_front();
        progress_ = now;
      }
  } catch (const Error& e) {  // of the device itself
    return e.what();
  }
  const Call* oldest = nullptr;
  const Watched* of = nullptr;
  for (const auto& [id, w] : groups_) {
    const std::string at =
        w.calls.empty()
            ? ""
            : fmt::format(", in {} (its call {})", w.calls.front().what, w.calls.front().sequence);
    if (const std::string error = w.group.error(); !error.empty())
      return fmt::format("{}{}: {}", w.group.name, at, error);
    if (w.calls.empty() || (oldest && oldest->given <= w.calls.front().given)) continue;
    oldest = &w.calls.front();
    of = &w;
  }
  if (!oldest) return "";
  const std::chrono::duration<double> waited = now - std::max(progress_, oldest->given);
  if (waited.count() < timeout_s_) return "";
  return fmt::format(
      "{}: {} (its call {}) has not ended for {:.0f} s: another rank died, stopped or makes other "
      "calls; --comm-timeout says how long is waited",
      of->group.name, oldest->what, oldest->sequence, waited.count());
}

}  // namespace weft

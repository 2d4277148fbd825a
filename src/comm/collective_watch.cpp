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

void CollectiveWatch::add(int group, CollectiveCall call, std::function<bool()> has_ended,
                          bool of_host) {
  const std::lock_guard lock(mutex_);
  Watched& w = groups_.at(group);
  w.calls.push_back({call, ++w.n_calls, Clock::now(), std::move(has_ended), of_host});
}

void CollectiveWatch::add_call(int group, CollectiveCall call, std::shared_ptr<const Event> end) {
  add(
      group, call, [end = std::move(end)] { return end->has_passed(); }, false);
}

std::shared_ptr<void> CollectiveWatch::add_host_call(int group, CollectiveCall call) {
  check();
  auto under_way = std::make_shared<char>();
  add(
      group, call, [held = std::weak_ptr(under_way)] { return held.expired(); }, true);
  return under_way;
}

std::string CollectiveWatch::named(const Call& c) {
  const std::string of =
      c.what.elems > 0 ? fmt::format(" of {} {}", c.what.elems, dtype_name(c.what.dtype)) : "";
  return fmt::format("{}{} (its call {})", c.what.name, of, c.sequence);
}

void CollectiveWatch::forget_ended(Watched& w) {
  while (!w.calls.empty() && w.calls.front().has_ended()) {
    w.calls.pop_front();
    progress_ = Clock::now();
  }
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
    if (w.group.abort) w.group.abort();
    w.calls.clear();
  }
  const auto end = Clock::now() + std::chrono::duration<double>(host_waits_ ? 0 : grace_s_);
  if (wake_.wait_until(lock, end, [this] { return stops_; })) return;
  const std::string text = failed_;
  lock.unlock();
  end_run_(text);
}

std::string CollectiveWatch::failure() {
  try {
    for (auto& [id, w] : groups_) forget_ended(w);
  } catch (const Error& e) {  // of the device itself
    return e.what();
  }
  const Call* oldest = nullptr;
  const Watched* of = nullptr;
  for (const auto& [id, w] : groups_) {
    const std::string at = w.calls.empty() ? "" : ", in " + named(w.calls.front());
    if (const std::string error = w.group.error ? w.group.error() : ""; !error.empty())
      return fmt::format("{}{}: {}", w.group.name, at, error);
    if (w.calls.empty() || (oldest && oldest->given <= w.calls.front().given)) continue;
    oldest = &w.calls.front();
    of = &w;
  }
  if (!oldest) return "";
  const std::chrono::duration<double> waited = Clock::now() - std::max(progress_, oldest->given);
  if (waited.count() < timeout_s_) return "";
  host_waits_ = oldest->of_host;
  return fmt::format(
      "{}: {} has not ended for {:.0f} s: another rank died, stopped or makes other calls; "
      "--comm-timeout says how long is waited",
      of->group.name, named(*oldest), waited.count());
}

}  // namespace weft

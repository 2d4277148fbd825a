#include "serve/work.h"

#include <algorithm>
#include <utility>

namespace weft {

void ServedWork::give(WorkEvent event) {
  {
    const std::lock_guard lock(mutex_);
    events_.push_back(std::move(event));
  }
  given_.notify_one();
}

std::optional<WorkEvent> ServedWork::next(double seconds) {
  std::unique_lock lock(mutex_);
  if (!given_.wait_for(lock, std::chrono::duration<double>(seconds),
                       [&] { return !events_.empty(); }))
    return std::nullopt;
  WorkEvent event = std::move(events_.front());
  events_.pop_front();
  return event;
}

bool ServedWork::look_due(double seconds) {
  const auto now = std::chrono::steady_clock::now();
  if (now - looked_ < std::chrono::duration<double>(seconds)) return false;
  looked_ = now;
  return true;
}

WorkQueue::Put WorkQueue::put(const WorkPtr& work) {
  {
    const std::lock_guard lock(mutex_);
    if (closed_) return Put::closed;
    std::erase_if(waiting_, [](const WorkPtr& w) { return w->left(); });
    if (waiting_.size() >= most_) return Put::full;
    waiting_.push_back(work);
  }
  changed_.notify_one();
  return Put::waits;
}

WorkPtr WorkQueue::take(bool room) {
  const std::lock_guard lock(mutex_);
  std::erase_if(waiting_, [](const WorkPtr& w) { return w->left(); });
  const auto found = std::find_if(waiting_.begin(), waiting_.end(),
                                  [&](const WorkPtr& w) { return room || !w->request.generates; });
  if (found == waiting_.end()) return nullptr;
  WorkPtr work = *found;
  waiting_.erase(found);
  return work;
}

void WorkQueue::wait(double seconds) {
  std::unique_lock lock(mutex_);
  changed_.wait_for(lock, std::chrono::duration<double>(seconds),
                    [&] { return !waiting_.empty() || woken_; });
  woken_ = false;
}

void WorkQueue::wake() {
  {
    const std::lock_guard lock(mutex_);
    woken_ = true;
  }
  changed_.notify_one();
}

std::deque<WorkPtr> WorkQueue::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  return std::exchange(waiting_, {});
}

std::size_t WorkQueue::size() const {
  const std::lock_guard lock(mutex_);
  return waiting_.size();
}

bool WorkQueue::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

}  // namespace weft

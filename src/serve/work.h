// One request's work between the thread that answers its client and the one that runs the engine,
// and the queue in which it waits.
#pragma once

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>

#include "serve/answer.h"

namespace weft {

struct WorkEvent {
  enum class Kind : std::uint8_t { token, done, prompt, vector, failed };
  Kind kind = Kind::token;
  std::size_t index = 0;                  // of the choice; of the prompt for prompt and vector
  TokenLogprob token = {};                // token
  std::string finish = "";                // done
  std::vector<TokenLogprob> scores = {};  // prompt: of its tokens
  std::vector<float> vector = {};         // vector
  HttpError error = {};                   // failed: the whole request ends
};

class ServedWork {
 public:
  ServedWork(ServedRequest what, std::string text)
      : request(std::move(what)), body(std::move(text)) {}

  const ServedRequest request;
  const std::string body;  // as it came
  const std::chrono::steady_clock::time_point came = std::chrono::steady_clock::now();

  // The engine's side.
  void give(WorkEvent event);
  bool left() const { return left_; }
  // The client's: waits for the next event, for so many seconds at most.
  std::optional<WorkEvent> next(double seconds);
  void leave() { left_ = true; }  // nobody waits for it any more
  // Whether so many seconds have passed since it last said so.
  bool look_due(double seconds);

 private:
  std::mutex mutex_;
  std::condition_variable given_;
  std::deque<WorkEvent> events_;
  std::atomic<bool> left_ = false;
  std::chrono::steady_clock::time_point looked_ = came;
};

using WorkPtr = std::shared_ptr<ServedWork>;

class WorkQueue {
 public:
  explicit WorkQueue(std::size_t most) : most_(most) {}

  enum class Put : std::uint8_t { waits, full, closed };
  Put put(const WorkPtr& work);
  // The first that waits, and that needs no room where there is none for another continuation.
  WorkPtr take(bool room);
  // Until something waits, or wake() is called, for so many seconds at most.
  void wait(double seconds);
  void wake();  // somebody has left
  // No other is taken in; those that wait are given back, to be refused.
  std::deque<WorkPtr> close();
  std::size_t size() const;
  bool closed() const;

 private:
  const std::size_t most_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<WorkPtr> waiting_;
  bool closed_ = false, woken_ = false;
};

}  // namespace weft

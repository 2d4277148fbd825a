// Watches what was given to a device's communication library, which goes on by itself and waits for
// ever where a peer is gone: a collective that does not end in time, or that the library says has
// failed, ends the run with a sentence that names it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

// What a group was given; put into words where it fails.
struct CollectiveCall {
  const char* name;  // "all_reduce"
  std::int64_t elems;
  DType dtype;
};

class CollectiveWatch {
 public:
  // A group of the library's.
  struct Group {
    std::string name;                    // "the tensor-parallel group (rank 1 of 4)"
    std::function<std::string()> error;  // what the library says has failed; "": nothing
    std::function<void()> abort;         // what it was given ends soon, undone; called once at most
  };
  // timeout_s: how long a collective may take after the last one that ended. Once one has failed
  // all groups are aborted, and check() throws; where the rank does not end by that within grace_s
  // (it waits for a peer, by MPI), the watch's own thread calls end_run with the sentence.
  CollectiveWatch(double timeout_s, std::function<void(const std::string&)> end_run,
                  double grace_s = 10);
  ~CollectiveWatch();
  CollectiveWatch(const CollectiveWatch&) = delete;
  CollectiveWatch& operator=(const CollectiveWatch&) = delete;

  int add(Group group);  // without error and abort where only host calls will be its
  // False: it was aborted. What it was given is not watched any more.
  bool remove(int group);
  // `call` is the group's next and has ended when the event has passed.
  void add_call(int group, CollectiveCall call, std::shared_ptr<const Event> end);
  // Likewise a call of the host's, by MPI, that is under way until the result goes. Nothing can
  // take one back that does not end in time: the watch calls end_run without grace. Error where a
  // collective has failed before.
  [[nodiscard]] std::shared_ptr<void> add_host_call(int group, CollectiveCall call);
  void check();  // throws the failure's sentence, where there was one

  double timeout_s() const { return timeout_s_; }

 private:
  using Clock = std::chrono::steady_clock;
  struct Call {
    CollectiveCall what;
    std::int64_t sequence;  // in its group, from 1
    Clock::time_point given;
    std::function<bool()> has_ended;
    bool of_host;
  };
  struct Watched {
    Group group;
    std::int64_t n_calls = 0;
    std::deque<Call> calls;  // that have not ended
  };
  void run();
  static std::string named(const Call& call);
  void add(int group, CollectiveCall call, std::function<bool()> has_ended, bool of_host);
  void forget_ended(Watched& group);
  std::string failure();  // of now; "": none. Forgets what has ended

  double timeout_s_, grace_s_;
  std::function<void(const std::string&)> end_run_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::map<int, Watched> groups_;
  int next_ = 0;
  bool stops_ = false;
  std::string failed_;
  bool host_waits_ = false;  // in what has failed
  Clock::time_point progress_ = Clock::now();
  std::thread thread_;
};

}  // namespace weft

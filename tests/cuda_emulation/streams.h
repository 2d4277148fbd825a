// The emulated streams, events and captures behind the CUDA runtime's calls. A stream's work runs
// when somebody waits for it, or before, as a seed draws it; what is ordered before what is
// decided when the work is given, from events and waits alone.
#pragma once

#include <cuda_runtime_api.h>

#include <chrono>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "runtime.h"

namespace weft::emulation {

struct Queue;

// One thing that a captured stream was given.
struct Step {
  enum class Kind : std::uint8_t { work, record, wait } kind;
  std::size_t branch = 0;  // of the graph: a stream of the capture
  std::size_t mark = 0;    // of a record, and of the wait for it
  Item item;
  std::vector<std::uint64_t> serials;  // of the allocations that it touches
};

struct Capture {
  std::thread::id owner;
  Queue* origin = nullptr;
  std::vector<std::shared_ptr<Queue>> branches;
  std::vector<Step> steps;
  std::size_t n_marks = 0;
};

struct Queue {
  int number = 0;  // of the process's streams, from 1; 0: a default stream
  int device = 0;
  int agent = 0;
  Clock clock;                             // of what it is given next
  std::deque<std::function<bool()>> work;  // false: it waits for another rank, and is asked again
  std::uint64_t enqueued = 0, done = 0;
  bool runs = false;     // a piece of its work does
  double eagerness = 0;  // the chance that what it is given runs at once
  std::shared_ptr<Capture> capture;
  std::size_t branch = 0;
};

struct Event {
  int device = 0;
  std::shared_ptr<Queue> queue;  // recorded on
  std::uint64_t position = 0;
  Clock clock;
  std::shared_ptr<Capture> capture;  // recorded in
  std::size_t mark = 0;
  bool timed = false;
  std::shared_ptr<std::chrono::steady_clock::time_point> passed_at;  // of a timed one
};

struct Runtime {
  std::recursive_mutex mutex;
  std::map<Queue*, std::shared_ptr<Queue>> queues;
  std::map<int, Queue> default_queues;  // by device
  int n_streams = 0;
  std::vector<int> idle_agents;
  Clock last;  // of each agent, how many items it has had
  Clock host;  // what the host has waited for
  std::vector<std::shared_ptr<Capture>> captures;
  cudaError_t error = cudaSuccess;
  std::string fault_text;
  bool fault_told = false;
  std::uint64_t launches = 0;
  std::uint64_t turns = 0;  // calls of the runtime's so far
  std::uint64_t seed = 1;
  Schedule schedule = Schedule::drawn;
  std::mt19937_64 random{1};
  Runtime();
  ~Runtime();
};

Runtime& runtime();

// Each call of the CUDA runtime takes its turn. A look is none that a waiting host would not make.
class Turn {
 public:
  enum class Kind : std::uint8_t { call, look };
  explicit Turn(Kind kind = Kind::call) : lock_(runtime().mutex) {
    if (kind == Kind::call) ++runtime().turns;
  }

 private:
  std::lock_guard<std::recursive_mutex> lock_;
};

const std::vector<int>& visible_gpus();  // the host's ids of those that this process sees
int n_gpus();
int& current_gpu();  // of this thread
cudaError_t failed(const std::string& what, cudaError_t error = cudaErrorLaunchFailure);
std::string named(const Queue& queue);  // "stream 2 of GPU 0"

std::shared_ptr<Queue> queue_of(cudaStream_t stream);  // null: there is no such stream
std::shared_ptr<Queue> make_queue(int device);
void drop_queue(Queue& queue);
int make_agent();
void drop_agent(int agent);

// The item's stamp; `clock`, that of what happened before, has then seen the item too.
Stamp next_stamp(const Item& item, int agent, const Queue& queue, Clock& clock);
void push(Queue& queue, std::function<bool()> work);  // and runs it, where that is drawn
void run_item(const Item& item, const Stamp& stamp, const Clock& clock);
// False where the queue has not come so far: a piece of its work waits for another rank.
bool run_until(Queue& queue, std::uint64_t position);
bool run_all(int device);
void run_everything();  // of all streams, as far as they can go
// The host waits until `done`, which is asked while the turn is taken; between, other threads take
// theirs and the other streams go on.
void host_waits(const std::function<bool()>& done);
void host_sees(const Clock& clock);
// Faults where the calling thread captures a stream, in which `call` cannot be.
bool refused_in_capture(const char* call);
void capture_item(Queue& queue, Item item);

}  // namespace weft::emulation

#include "streams.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <sstream>
#include <thread>
#include <utility>

#include "device_memory.h"
#include "executor.h"
#include "pinned.h"
#include "races.h"

namespace weft::emulation {
namespace {

int from_environment(const char* name, int otherwise) {
  const char* text = std::getenv(name);
  return text && *text ? std::atoi(text) : otherwise;
}

void expect_memory(const Range& range, const Stamp& item) {
  const MemoryBlock* block = memory_block(reinterpret_cast<const void*>(range.begin));
  if (!block)
    throw Fault(named(item) + " touches memory that is neither a GPU's nor pinned, or was freed");
  if (range.begin + range.bytes > block->begin + block->bytes)
    throw Fault(fmt::format("{} touches {} bytes where {} are left of an allocation", named(item),
                            range.bytes, block->begin + block->bytes - range.begin));
  if (block->device != kPinned && block->device != item.device)
    throw Fault(fmt::format("{} touches memory of GPU {}", named(item), block->device));
}

double drawn_eagerness() { return static_cast<double>(runtime().random() % 3) / 2; }

// Whether what the queue was given now runs at once. A stream is patient, hasty or neither for a
// while.
bool is_drawn(Queue& queue) {
  Runtime& r = runtime();
  if (r.schedule != Schedule::drawn) return r.schedule == Schedule::eager;
  if (r.random() % 16 == 0) queue.eagerness = drawn_eagerness();
  return static_cast<double>(r.random() % 1024) < queue.eagerness * 1024;
}

}  // namespace

Runtime::Runtime() {
  seed = static_cast<std::uint64_t>(from_environment("WEFT_EMULATION_SEED", 1));
  random.seed(seed);
}

Runtime::~Runtime() {
  if (error == cudaSuccess || fault_told) return;
  std::fprintf(stderr, "emulated GPU: %s\n", fault_text.c_str());
  std::fflush(stderr);
  std::_Exit(1);
}

Runtime& runtime() {
  static Runtime r;
  return r;
}

const std::vector<int>& visible_gpus() {
  static const std::vector<int> visible = [] {
    const int n = static_cast<int>(std::clamp(from_environment("WEFT_EMULATED_GPUS", 8), 0, 64));
    std::vector<int> ids;
    const char* shown = std::getenv("CUDA_VISIBLE_DEVICES");
    if (!shown) {
      for (int id = 0; id < n; ++id) ids.push_back(id);
      return ids;
    }
    std::istringstream list(shown);
    for (std::string id; std::getline(list, id, ',');) {  // CUDA stops at what is no GPU's
      if (id.empty() || id.find_first_not_of("0123456789") != std::string::npos) break;
      if (id.size() > 3 || std::stoi(id) >= n) break;
      ids.push_back(std::stoi(id));
    }
    return ids;
  }();
  return visible;
}
int n_gpus() { return static_cast<int>(visible_gpus().size()); }

int& current_gpu() {
  thread_local int gpu = 0;
  return gpu;
}

cudaError_t failed(const std::string& what, cudaError_t error) {
  Runtime& r = runtime();
  if (r.error != cudaSuccess) return r.error;
  r.error = error;
  r.fault_text = fmt::format("{} (WEFT_EMULATION_SEED={})", what, r.seed);
  r.fault_told = false;
  return r.error;
}

std::string named(const Queue& queue) {
  return fmt::format("stream {} of GPU {}", queue.number, queue.device);
}

std::shared_ptr<Queue> queue_of(cudaStream_t stream) {
  const auto found = runtime().queues.find(reinterpret_cast<Queue*>(stream));
  return found == runtime().queues.end() ? nullptr : found->second;
}

int make_agent() {
  Runtime& r = runtime();
  if (!r.idle_agents.empty()) {
    const int agent = r.idle_agents.back();
    r.idle_agents.pop_back();
    return agent;
  }
  r.last.push_back(0);
  return static_cast<int>(r.last.size()) - 1;
}

// Another may go on counting where it ended.
void drop_agent(int agent) { runtime().idle_agents.push_back(agent); }

std::shared_ptr<Queue> make_queue(int device) {
  Runtime& r = runtime();
  const auto queue = std::make_shared<Queue>();
  queue->number = ++r.n_streams;
  queue->device = device;
  queue->agent = make_agent();
  queue->eagerness = drawn_eagerness();
  r.queues[queue.get()] = queue;
  return queue;
}

void drop_queue(Queue& queue) {
  drop_agent(queue.agent);
  runtime().queues.erase(&queue);
}

Stamp next_stamp(const Item& item, int agent, const Queue& queue, Clock& clock) {
  const auto at = static_cast<std::size_t>(agent);
  const std::uint64_t position = ++runtime().last[at];
  if (clock.size() <= at) clock.resize(at + 1);
  clock[at] = position;
  return {agent, position, item.name, item.kernel, queue.number, queue.device};
}

namespace {

void note(const std::vector<Range>& ranges, const Stamp& stamp, const Clock& clock) {
  for (const Range& range : ranges) {
    expect_memory(range, stamp);
    note_access(range, stamp, clock);
  }
}

void begin_item(const Item& item, const Stamp& stamp, const Clock& clock) {
  note(item.touches, stamp, clock);
  pinned_copy_runs(stamp);
}

}  // namespace

void run_item(const Item& item, const Stamp& stamp, const Clock& clock) {
  begin_item(item, stamp, clock);
  item.work();
  if (item.kernel) note(take_touched(), stamp, clock);
}

bool run_until(Queue& queue, std::uint64_t position) {
  if (queue.done >= position || queue.work.empty()) return true;
  if (queue.runs) return false;  // further out on this thread's stack
  const DeviceAccess access;
  queue.runs = true;
  bool waits = false;
  while (queue.done < position && !queue.work.empty()) {
    try {
      waits = runtime().error == cudaSuccess && !queue.work.front()();
    } catch (const Fault& f) {
      failed(f.what());
    }
    if (waits) break;
    queue.work.pop_front();
    ++queue.done;
  }
  queue.runs = false;
  return !waits;
}

void push(Queue& queue, std::function<bool()> work) {
  queue.work.push_back(std::move(work));
  ++queue.enqueued;
  if (is_drawn(queue)) run_until(queue, queue.enqueued);
}

bool run_all(int device) {
  bool all_ran = true;
  for (auto& [key, queue] : runtime().queues)
    if (queue->device == device) all_ran = run_until(*queue, queue->enqueued) && all_ran;
  if (!all_ran) return false;
  Clock all = runtime().default_queues[device].clock;
  for (auto& [key, queue] : runtime().queues)
    if (queue->device == device) join(all, queue->clock);
  host_sees(all);
  return true;
}

void run_everything() {
  for (auto& [key, queue] : runtime().queues) run_until(*queue, queue->enqueued);
}

void host_waits(const std::function<bool()>& done) {
  for (;;) {
    {
      const Turn turn;
      if (done()) return;
      run_everything();
      if (done()) return;
    }
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void host_sees(const Clock& clock) {
  Runtime& r = runtime();
  join(r.host, clock);
  if (r.error != cudaSuccess) return;
  try {
    host_has_waited(r.host);
  } catch (const Fault& f) {
    failed(f.what());
  }
}

void enqueue(cudaStream_t stream, Item item) {
  const Turn turn;
  const std::shared_ptr<Queue> queue = queue_of(stream);
  if (!queue) {
    failed(stream == nullptr ? "work on the default stream: it is not ordered with Weft's streams"
                             : "work on a stream that does not exist");
    return;
  }
  if (runtime().error != cudaSuccess) return;
  if (queue->capture) return capture_item(*queue, std::move(item));
  join(queue->clock, runtime().host);
  const Stamp stamp = next_stamp(item, queue->agent, *queue, queue->clock);
  try {
    for (const Range& range : item.touches) {
      const MemoryBlock* block = memory_block(reinterpret_cast<const void*>(range.begin));
      if (block && block->device == kPinned) pinned_copy_begins(range, stamp, queue->clock);
    }
  } catch (const Fault& f) {
    failed(f.what());
    return;
  }
  if (!item.poll) {
    push(*queue, [item = std::move(item), stamp, clock = queue->clock] {
      run_item(item, stamp, clock);
      return true;
    });
    return;
  }
  push(*queue, [item = std::move(item), stamp, clock = queue->clock, begun = false]() mutable {
    if (!begun) begin_item(item, stamp, clock);
    begun = true;
    return item.poll();
  });
}

void set_schedule(Schedule schedule) { runtime().schedule = schedule; }

void set_schedule_seed(std::uint64_t seed) {
  runtime().seed = seed;
  runtime().random.seed(seed);
}

void count_streams_from_one() { runtime().n_streams = 0; }

void forget_fault() {
  Runtime& r = runtime();
  r.error = cudaSuccess;
  r.fault_text.clear();
  forget_pinned_copies();
  for (const auto& capture : r.captures)
    for (const auto& queue : capture->branches) queue->capture.reset();
  r.captures.clear();
}

std::uint64_t kernels_launched() { return runtime().launches; }

}  // namespace weft::emulation

#include "executor.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <algorithm>
#include <boost/context/detail/fcontext.hpp>
#include <cstring>
#include <exception>
#include <memory>
#include <numeric>
#include <vector>

#include "races.h"
#include "sanitizer.h"
#include "thread_copies.h"

namespace weft::emulation {
namespace {

namespace context = boost::context::detail;

constexpr std::size_t kStackBytes = 256 << 10;
constexpr const char* kCollectiveNames[] = {
    "__syncwarp",      "a vote",   "__shfl_sync",    "__shfl_up_sync", "__shfl_down_sync",
    "__shfl_xor_sync", "ldmatrix", "ldmatrix.trans", "mma.m16n8k16",   "mma.m16n8k8"};

enum class State : std::uint8_t { ready, at_barrier, at_collective, ended };

// Unwinds the fibers of a block in which another thread has faulted.
struct Abandoned {};

struct Thread {
  Place place;
  int warp = 0;
  State state = State::ready;
  Collective kind{};
  unsigned mask = 0;
  void* operand = nullptr;
  const void* site = nullptr;  // of the collective or barrier
  int predicate = 0, barrier_result = 0;
  context::fcontext_t context = nullptr;
  std::byte* stack = nullptr;
  void* fake_stack = nullptr;
  ThreadCopies copies;
};

// A warp's lanes that wait at one collective, all with the same kind, mask and site; others are
// found lane by lane.
struct Meeting {
  Collective kind{};
  const void* site = nullptr;
  unsigned mask = 0, arrived = 0, ended = 0;
};

// Stacks are kept from block to block; a guard page is below each.
class Stacks {
 public:
  std::byte* at(std::size_t i) {
    while (stacks_.size() <= i) {
      void* memory = mmap(nullptr, kStackBytes + kGuard, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (memory == MAP_FAILED || mprotect(memory, kGuard, PROT_NONE) != 0)
        throw Fault("no memory for the emulated threads' stacks");
      stacks_.push_back(static_cast<std::byte*>(memory) + kGuard);
    }
    return stacks_[i];
  }

 private:
  static constexpr std::size_t kGuard = 4096;
  std::vector<std::byte*> stacks_;
};

// One block at a time runs in a process, so its state is the executor's own; a test instrument may
// have that.
struct Executor {
  std::vector<Thread> threads;
  std::vector<Meeting> meetings;  // one a warp
  Thread* running = nullptr;
  Stacks stacks;
  context::fcontext_t scheduler = nullptr;
  const void* scheduler_stack = nullptr;
  std::size_t scheduler_stack_bytes = 0;
  void* scheduler_fake_stack = nullptr;
  const std::function<void()>* kernel = nullptr;
  std::exception_ptr failure;
  void* shared = nullptr;
  std::size_t shared_bytes = 0;
  std::mt19937_64 random{1};
};

Executor& executor() {
  static Executor e;
  return e;
}

// Back to the scheduler, until it resumes this thread.
void wait_for_turn() {
  Executor& e = executor();
  Thread& t = *e.running;
  start_switch(&t.fake_stack, e.scheduler_stack, e.scheduler_stack_bytes);
  const context::transfer_t from = context::jump_fcontext(e.scheduler, nullptr);
  finish_switch(t.fake_stack, &e.scheduler_stack, &e.scheduler_stack_bytes);
  e.scheduler = from.fctx;
  if (e.failure) throw Abandoned{};
}

void thread_main(context::transfer_t from) {
  Executor& e = executor();
  finish_switch(nullptr, &e.scheduler_stack, &e.scheduler_stack_bytes);
  e.scheduler = from.fctx;
  try {
    if (!e.failure) (*e.kernel)();
  } catch (const Abandoned&) {
  } catch (...) {
    if (!e.failure) e.failure = std::current_exception();
  }
  e.running->state = State::ended;
  e.meetings[static_cast<std::size_t>(e.running->warp)].ended |= 1u << e.running->place.lane;
  start_switch(nullptr, e.scheduler_stack,
               e.scheduler_stack_bytes);  // null: this stack is done with
  context::jump_fcontext(e.scheduler, nullptr);
}

void resume(Thread& t) {
  Executor& e = executor();
  e.running = &t;
  start_switch(&e.scheduler_fake_stack, t.stack, kStackBytes);
  const context::transfer_t back = context::jump_fcontext(t.context, nullptr);
  finish_switch(e.scheduler_fake_stack, nullptr, nullptr);
  t.context = back.fctx;
  e.running = nullptr;
}

std::string where(const Thread& t) {
  const auto& b = t.place.block;
  const auto& i = t.place.thread;
  return fmt::format("block ({}, {}, {}) thread ({}, {}, {})", b.x, b.y, b.z, i.x, i.y, i.z);
}

void release_barrier() {
  Executor& e = executor();
  const Thread* before = nullptr;  // of the same warp
  for (const Thread& t : e.threads) {
    if (t.state != State::at_barrier) continue;
    if (before && before->warp == t.warp && before->site != t.site)
      throw Fault(where(t) + " waits at another __syncthreads than its warp's other threads");
    before = &t;
  }
  race_block_barrier();
  int count = 0;
  for (const Thread& t : e.threads) count += t.state == State::at_barrier && t.predicate != 0;
  for (Thread& t : e.threads)
    if (t.state == State::at_barrier) {
      t.state = State::ready;
      t.barrier_result = count;
    }
}

// Nobody is ready, and the barrier cannot open since some wait elsewhere.
void report_deadlock() {
  for (const Thread& t : executor().threads)
    if (t.state == State::at_collective)
      throw Fault(
          fmt::format("deadlock: {} waits at {} with mask {:#010x} for lanes that never come",
                      where(t), kCollectiveNames[static_cast<int>(t.kind)], t.mask));
}

// Runs every thread of the block to its end.
void run_threads() {
  Executor& e = executor();
  std::vector<std::size_t> order(e.threads.size());
  std::iota(order.begin(), order.end(), 0);
  const auto count = [&](State s) {
    return std::count_if(e.threads.begin(), e.threads.end(),
                         [&](const Thread& t) { return t.state == s; });
  };
  for (;;) {
    std::shuffle(order.begin(), order.end(), e.random);
    bool ran = false;
    for (std::size_t i : order) {
      if (e.threads[i].state != State::ready) continue;
      ran = true;
      resume(e.threads[i]);
      if (e.failure) return;
    }
    if (ran) continue;
    if (count(State::ended) == static_cast<std::ptrdiff_t>(e.threads.size())) return;
    if (count(State::at_collective) > 0) report_deadlock();
    release_barrier();
  }
}

// Lets every suspended thread unwind.
void abandon() {
  for (Thread& t : executor().threads)
    if (t.state != State::ended) resume(t);
}

// Of a block's shared memory, whose ends are on no page's.
void watch(void (*change)(void*, std::size_t), void* memory, std::size_t bytes) {
  if (!kGuardsPages) change(memory, bytes);
}

unsigned existing_lanes(int warp) {
  const std::size_t left = executor().threads.size() - static_cast<std::size_t>(warp) * 32;
  return left >= 32 ? 0xFFFFFFFFu : (1u << left) - 1;
}

}  // namespace

void fault(const std::string& what) { throw Fault(where(*executor().running) + ": " + what); }

void fault_at_next_wait(const std::string& what) {
  Executor& e = executor();
  if (!e.failure) e.failure = std::make_exception_ptr(Fault(where(*e.running) + ": " + what));
}

int running_thread() {
  const Executor& e = executor();
  return e.running ? static_cast<int>(e.running - e.threads.data()) : -1;
}

const Place& place() { return executor().running->place; }
ThreadCopies& thread_copies() { return executor().running->copies; }
void* block_shared_memory() { return executor().shared; }
std::size_t block_shared_bytes() { return executor().shared_bytes; }

void warp_collective(Collective kind, unsigned mask, void* operand, Complete complete,
                     const void* site) {
  Executor& e = executor();
  Thread& t = *e.running;
  const char* name = kCollectiveNames[static_cast<int>(kind)];
  if ((mask >> t.place.lane & 1) == 0)
    fault(fmt::format("{} with mask {:#010x} by lane {}, which is not in it", name, mask,
                      t.place.lane));
  t.kind = kind;
  t.mask = mask;
  t.operand = operand;
  t.site = site;
  t.state = State::at_collective;
  Meeting& meeting = e.meetings[static_cast<std::size_t>(t.warp)];
  if (meeting.arrived == 0) meeting.kind = kind, meeting.mask = mask, meeting.site = site;
  if (meeting.kind == kind && meeting.mask == mask && meeting.site == site) {
    meeting.arrived |= 1u << t.place.lane;
    // The usual case, without looking at every lane each time: some are still to come.
    if (meeting.arrived != mask && (meeting.ended & mask) == 0 &&
        (mask & ~existing_lanes(t.warp)) == 0 && meeting.arrived != 1u << t.place.lane)
      return wait_for_turn();
    if (meeting.arrived == mask) meeting.arrived = 0;
  }
  void* operands[32] = {};
  Thread* lanes[32] = {};
  const std::size_t first = static_cast<std::size_t>(t.warp) * 32;
  bool all = true;
  for (std::size_t l = 0; l < 32; ++l) {
    if ((mask >> l & 1) == 0) continue;
    if (first + l >= e.threads.size())
      fault(fmt::format("{} with mask {:#010x}, but the warp has no lane {}", name, mask, l));
    Thread& other = e.threads[first + l];
    if (other.state == State::ended)
      fault(fmt::format("{} with mask {:#010x}, but lane {} has ended", name, mask, l));
    if (other.state != State::at_collective) {
      all = false;
      continue;
    }
    if (other.kind != kind || other.mask != mask || other.site != site) {
      if ((other.mask >> t.place.lane & 1) != 0)  // each waits for the other at a different place
        fault(fmt::format("{} with mask {:#010x}, while lane {} is at {}{} with mask {:#010x}",
                          name, mask, l, other.kind == kind && other.mask == mask ? "another " : "",
                          kCollectiveNames[static_cast<int>(other.kind)], other.mask));
      all = false;
      continue;
    }
    operands[l] = other.operand;
    lanes[l] = &other;
  }
  if (!all) return wait_for_turn();
  for (Thread* lane : lanes)
    if (lane) lane->state = State::ready;
  if (kind == Collective::sync_warp && mask == 0xFFFFFFFFu) race_warp_barrier(t.warp);
  complete(operands, mask);
}

int block_barrier(int predicate, const void* site) {
  Thread& t = *executor().running;
  t.site = site;
  t.predicate = predicate;
  t.state = State::at_barrier;
  wait_for_turn();
  return t.barrier_result;
}

void run_grid(dim3 grid, dim3 block, std::size_t shared_bytes,
              const std::function<void()>& kernel) {
  Executor& e = executor();
  const std::size_t n_threads = std::size_t{block.x} * block.y * block.z;
  if (n_threads == 0 || n_threads > 1024)
    throw Fault(fmt::format("a block of {} threads; a GPU takes 1 to 1024", n_threads));
  if (grid.y > 65535 || grid.z > 65535)
    throw Fault(fmt::format("a grid of ({}, {}, {}) blocks; a GPU takes 65535 in y and z", grid.x,
                            grid.y, grid.z));
  if (shared_bytes > (163 << 10))
    throw Fault(
        fmt::format("{} bytes of shared memory; an A100 gives a block 166912", shared_bytes));
  std::vector<std::uint64_t> blocks(std::size_t{grid.x} * grid.y * grid.z);
  std::iota(blocks.begin(), blocks.end(), 0);
  std::shuffle(blocks.begin(), blocks.end(), e.random);
  e.kernel = &kernel;
  e.failure = nullptr;
  const std::unique_ptr<void, decltype(&std::free)> shared(
      std::aligned_alloc(128, std::max<std::size_t>((shared_bytes + 127) / 128 * 128, 128)),
      std::free);
  e.shared = shared.get();
  e.shared_bytes = shared_bytes;
  race_new_launch();
  for (std::uint64_t index : blocks) {
    watch(allow, e.shared, shared_bytes);
    std::memset(e.shared, 0xFF, shared_bytes);
    watch(forbid, static_cast<std::byte*>(e.shared) + shared_bytes,
          std::max<std::size_t>((shared_bytes + 127) / 128 * 128, 128) - shared_bytes);
    race_new_block();
    e.threads.assign(n_threads, Thread());
    e.meetings.assign((n_threads + 31) / 32, Meeting());
    for (std::size_t i = 0; i < n_threads; ++i) {
      Thread& t = e.threads[i];
      t.place = {
          {static_cast<unsigned>(i % block.x), static_cast<unsigned>(i / block.x % block.y),
           static_cast<unsigned>(i / block.x / block.y)},
          {static_cast<unsigned>(index % grid.x), static_cast<unsigned>(index / grid.x % grid.y),
           static_cast<unsigned>(index / grid.x / grid.y)},
          block,
          grid,
          static_cast<int>(i % 32)};
      t.warp = static_cast<int>(i / 32);
      t.stack = e.stacks.at(i);
      t.context = context::make_fcontext(t.stack + kStackBytes, kStackBytes, thread_main);
    }
    try {
      run_threads();
    } catch (...) {
      e.failure = std::current_exception();
    }
    if (e.failure) {
      abandon();
      watch(allow, e.shared, std::max<std::size_t>((shared_bytes + 127) / 128 * 128, 128));
      std::rethrow_exception(std::exchange(e.failure, nullptr));
    }
  }
  watch(allow, e.shared, std::max<std::size_t>((shared_bytes + 127) / 128 * 128, 128));
}

void set_order_seed(std::uint64_t seed) { executor().random.seed(seed); }

}  // namespace weft::emulation

#include "races.h"

#include <fmt/format.h>

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "device_memory.h"
#include "executor.h"

namespace weft::emulation {
namespace {

constexpr std::size_t kCellBytes = 2;  // the smallest element

struct ThreadStamp {
  std::uint32_t block = 0;  // counted over all launches from 1; 0: none
  std::uint16_t thread = 0;
  std::uint32_t block_epoch = 0, warp_epoch = 0;
};

struct Cell {
  ThreadStamp write, read, other_read;  // the last of each; the reads are of two threads
};

struct Detector {
  std::uint32_t launch_first_block = 1, block = 0, block_epoch = 0;
  std::uint32_t warp_epochs[32] = {};
  std::vector<Cell> shared;
  std::unordered_map<std::uintptr_t, Cell> device;
  std::unordered_set<std::uintptr_t> atomics;  // cells of device memory
};

Detector& detector() {
  static Detector d;
  return d;
}

bool ordered(const ThreadStamp& before, const ThreadStamp& now) {
  const Detector& d = detector();
  if (before.block < d.launch_first_block || before.block == 0)
    return true;  // an earlier launch, or nobody
  if (before.block != now.block) return false;
  if (before.thread == now.thread || before.block_epoch < now.block_epoch) return true;
  return before.thread / 32 == now.thread / 32 && before.warp_epoch < now.warp_epoch;
}

void touch(Cell& cell, const ThreadStamp& now, Access access, const char* memory) {
  const auto report = [&](const ThreadStamp& before, const char* did) {
    fault_at_next_wait(
        fmt::format("race in {} memory: thread {} of this block {} what thread {} of {} block {} "
                    "before, without a barrier between",
                    memory, now.thread, access == Access::write ? "writes" : "reads", before.thread,
                    before.block == now.block ? "the same" : "another", did));
  };
  if (!ordered(cell.write, now)) report(cell.write, "wrote");
  if (access == Access::write) {
    if (!ordered(cell.read, now)) report(cell.read, "read");
    if (!ordered(cell.other_read, now)) report(cell.other_read, "read");
    cell.write = now;
    return;
  }
  if (cell.read.block != now.block || cell.read.thread != now.thread) cell.other_read = cell.read;
  cell.read = now;
}

}  // namespace

void race_new_launch() {
  Detector& d = detector();
  d.launch_first_block = d.block + 1;
  d.device.clear();
  d.atomics.clear();
}

void race_new_block() {
  Detector& d = detector();
  ++d.block;
  d.block_epoch = 0;
  for (auto& epoch : d.warp_epochs) epoch = 0;
  d.shared.clear();
}

void race_block_barrier() { ++detector().block_epoch; }
void race_warp_barrier(int warp) { ++detector().warp_epochs[warp]; }

void race_access(const void* p, std::size_t bytes, Access access, int thread) {
  Detector& d = detector();
  const auto at = reinterpret_cast<std::uintptr_t>(p),
             shared = reinterpret_cast<std::uintptr_t>(block_shared_memory());
  const ThreadStamp now = {d.block, static_cast<std::uint16_t>(thread), d.block_epoch,
                           d.warp_epochs[thread / 32]};
  const std::size_t first = at / kCellBytes, last = (at + bytes - 1) / kCellBytes;
  if (at >= shared && at < shared + block_shared_bytes()) {
    if (d.shared.empty()) d.shared.resize(block_shared_bytes() / kCellBytes + 1);
    for (std::size_t c = first; c <= last; ++c)
      touch(d.shared[c - shared / kCellBytes], now, access, "shared");
    return;
  }
  if (!is_device_memory(p)) return;  // the thread's own stack
  for (std::size_t c = first; c <= last; ++c) touch(d.device[c], now, access, "device");
}

void heard_atomic(const void* p, std::size_t bytes) {
  if (!is_device_memory(p)) return;
  const auto at = reinterpret_cast<std::uintptr_t>(p);
  for (std::size_t c = at / kCellBytes; c <= (at + bytes - 1) / kCellBytes; ++c)
    detector().atomics.insert(c);
}

std::vector<Range> take_touched() {
  Detector& d = detector();
  std::vector<std::pair<std::uintptr_t, bool>> cells;
  cells.reserve(d.device.size() + d.atomics.size());
  for (const auto& [cell, stamps] : d.device) cells.emplace_back(cell, stamps.write.block != 0);
  for (const std::uintptr_t cell : d.atomics) cells.emplace_back(cell, true);
  std::sort(cells.begin(), cells.end());
  std::vector<Range> ranges;
  for (const auto& [cell, written] : cells) {
    const std::uintptr_t begin = cell * kCellBytes;
    if (!ranges.empty() && ranges.back().writes == written &&
        ranges.back().begin + ranges.back().bytes >= begin)
      ranges.back().bytes = begin + kCellBytes - ranges.back().begin;
    else
      ranges.push_back({begin, kCellBytes, written});
  }
  d.device.clear();
  d.atomics.clear();
  return ranges;
}

}  // namespace weft::emulation

// What -fsanitize=thread calls.
namespace {

void heard(const void* p, std::size_t bytes, weft::emulation::Access access) {
  const int thread = weft::emulation::running_thread();
  if (thread >= 0) weft::emulation::race_access(p, bytes, access, thread);
}

}  // namespace

extern "C" {

#define WEFT_RACE_HOOK(n)                                                                  \
  void __tsan_read##n(void* p) { heard(p, n, weft::emulation::Access::read); }             \
  void __tsan_write##n(void* p) { heard(p, n, weft::emulation::Access::write); }           \
  void __tsan_unaligned_read##n(void* p) { heard(p, n, weft::emulation::Access::read); }   \
  void __tsan_unaligned_write##n(void* p) { heard(p, n, weft::emulation::Access::write); } \
  void __tsan_volatile_read##n(void* p) { heard(p, n, weft::emulation::Access::read); }    \
  void __tsan_volatile_write##n(void* p) { heard(p, n, weft::emulation::Access::write); }
WEFT_RACE_HOOK(1)
WEFT_RACE_HOOK(2)
WEFT_RACE_HOOK(4)
WEFT_RACE_HOOK(8)
WEFT_RACE_HOOK(16)
#undef WEFT_RACE_HOOK
void __tsan_read_range(void* p, std::size_t bytes) {
  heard(p, bytes, weft::emulation::Access::read);
}
void __tsan_write_range(void* p, std::size_t bytes) {
  heard(p, bytes, weft::emulation::Access::write);
}
// Atomics of the host code in the same sources (shared_ptr): as they were, whatever the order asked
// for.
#define WEFT_ATOMIC_HOOKS(bits, T)                                                                 \
  T __tsan_atomic##bits##_load(const volatile T* p, int) {                                         \
    return __atomic_load_n(p, __ATOMIC_SEQ_CST);                                                   \
  }                                                                                                \
  void __tsan_atomic##bits##_store(volatile T* p, T x, int) {                                      \
    __atomic_store_n(p, x, __ATOMIC_SEQ_CST);                                                      \
  }                                                                                                \
  T __tsan_atomic##bits##_exchange(volatile T* p, T x, int) {                                      \
    return __atomic_exchange_n(p, x, __ATOMIC_SEQ_CST);                                            \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_add(volatile T* p, T x, int) {                                     \
    return __atomic_fetch_add(p, x, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  T __tsan_atomic##bits##_fetch_sub(volatile T* p, T x, int) {                                     \
    return __atomic_fetch_sub(p, x, __ATOMIC_SEQ_CST);                                             \
  }                                                                                                \
  int __tsan_atomic##bits##_compare_exchange_strong(volatile T* p, T* expected, T x, int, int) {   \
    return __atomic_compare_exchange_n(p, expected, x, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST); \
  }
WEFT_ATOMIC_HOOKS(8, std::uint8_t)
WEFT_ATOMIC_HOOKS(32, std::uint32_t)
WEFT_ATOMIC_HOOKS(64, std::uint64_t)
#undef WEFT_ATOMIC_HOOKS
void __tsan_vptr_read(void**) {}
void __tsan_vptr_update(void**, void*) {}
void __tsan_func_entry(void*) {}
void __tsan_func_exit() {}
void __tsan_init() {}

}  // extern "C"

// Loops over an OpenMP team outside the kernels. An exception must not leave an OpenMP region (the
// program would be ended on the spot): these carry it out. No other `#pragma omp` stands outside
// kernels/ (tests/core/includes_test.cpp).
#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>

namespace weft {

// body(i) for each i of [0, n) on n_threads threads, taken as threads become free. Of what several
// throw, the exception of the lowest i is thrown after the loop: the one that a loop without
// threads would meet; what comes behind it may not have run.
template <class Body>
void parallel_for(std::int64_t n, int n_threads, const Body& body) {
  if (n_threads <= 1 || n <= 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  std::atomic<std::int64_t> failed{n};  // the lowest i that threw
  std::exception_ptr error;
  std::mutex mutex;
#pragma omp parallel for num_threads(n_threads) schedule(dynamic, 1)
  for (std::int64_t i = 0; i < n; ++i) {
    if (i > failed.load(std::memory_order_relaxed)) continue;
    try {
      body(i);
    } catch (...) {
      const std::lock_guard lock(mutex);
      if (i < failed.load()) {
        failed = i;
        error = std::current_exception();
      }
    }
  }
  if (error) std::rethrow_exception(error);
}

// body(begin, end) for each piece of `grain` of [0, n).
template <class Body>
void parallel_blocks(std::int64_t n, std::int64_t grain, int n_threads, const Body& body) {
  parallel_for((n + grain - 1) / grain, n_threads,
               [&](std::int64_t piece) { body(piece * grain, std::min(n, (piece + 1) * grain)); });
}

}  // namespace weft

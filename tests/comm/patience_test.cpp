// A rank that waits leaves a core to whom it shares it with.
#include "comm/patience.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <chrono>
#include <ctime>
#include <thread>

namespace weft {
namespace {

double cpu_s() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

// CPU seconds of this thread a second of waiting.
double share_of_wait(Patience& patience, double seconds) {
  using Clock = std::chrono::steady_clock;
  const auto begin = Clock::now();
  const auto waited = [&] { return std::chrono::duration<double>(Clock::now() - begin).count(); };
  const double cpu = cpu_s();
  patience.begin();
  while (waited() < seconds) patience.pause();
  return (cpu_s() - cpu) / waited();
}

TEST(Patience, LeavesTheCoreToABusyNeighbour) {
  cpu_set_t before, one;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  CPU_ZERO(&one);
  CPU_SET(static_cast<std::size_t>(sched_getcpu()), &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);  // inherited by the neighbour
  std::atomic<bool> stop = false;
  std::thread neighbour([&] {
    while (!stop) {
    }
  });
  Patience patience;
  share_of_wait(patience, 0.2);  // it is noticed
  const double share = share_of_wait(patience, 1);
  stop = true;
  neighbour.join();
  sched_setaffinity(0, sizeof before, &before);
  EXPECT_LT(share, 0.25);  // a fair share that only spins would be a half
}

}  // namespace
}  // namespace weft

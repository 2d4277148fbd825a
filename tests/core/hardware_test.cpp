// What the host says of itself, against what the system says by another way.
#include "core/system/hardware.h"

#include <gtest/gtest.h>
#include <omp.h>
#include <sched.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "core/check.h"

namespace weft {
namespace {

// Bound to one CPU while it lives.
class OneCpu {
 public:
  OneCpu() {
    sched_getaffinity(0, sizeof before_, &before_);
    cpu_set_t one;
    CPU_ZERO(&one);
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &before_)) {
        CPU_SET(cpu, &one);
        break;
      }
    sched_setaffinity(0, sizeof one, &one);
  }
  ~OneCpu() { sched_setaffinity(0, sizeof before_, &before_); }
  OneCpu(const OneCpu&) = delete;
  OneCpu& operator=(const OneCpu&) = delete;

 private:
  cpu_set_t before_;
};

TEST(Hardware, TheHostsNameIsTheKernels) {
  utsname names{};
  ASSERT_EQ(uname(&names), 0);
  EXPECT_EQ(host_name(), names.nodename);
  EXPECT_FALSE(cpu_model().empty());
}

TEST(Hardware, CountsCoresAndTheCpusItIsBoundTo) {
  EXPECT_GE(host_cores(), 1);
  EXPECT_LE(host_cores(), sysconf(_SC_NPROCESSORS_CONF));  // of CPUs, two may be a core
  EXPECT_EQ(affinity_cpus(), omp_get_num_procs());         // as it was when the program started
  const OneCpu bound;
  EXPECT_EQ(affinity_cpus(), 1);
}

TEST(Hardware, ResidentMemoryGrowsWithWhatIsTouched) {
  const long before = resident_bytes();
  EXPECT_GT(before, 1 << 20);
  const std::vector<char> touched(64 << 20, 'x');
  EXPECT_GE(resident_bytes() - before, 60 << 20);
  EXPECT_EQ(touched.back(), 'x');
}

TEST(Hardware, ThreadsAreAsAskedOrAShareOfTheHost) {
  EXPECT_EQ(resolve_threads(3, 1), 3);  // also where it is more than there are: with a warning
  const int alone = resolve_threads(0, 1);
  EXPECT_EQ(alone, std::min(host_cores(), affinity_cpus()));
  EXPECT_EQ(resolve_threads(0, 0), alone);
  EXPECT_EQ(resolve_threads(0, 1000), 1);
  EXPECT_THROW(resolve_threads(-1, 1), UserError);
  const OneCpu bound;
  EXPECT_EQ(resolve_threads(0, 1), 1);
  EXPECT_EQ(resolve_threads(2, 1), 2);
}

}  // namespace
}  // namespace weft

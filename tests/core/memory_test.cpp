// What a process may still take, on hosts that are played by folders: other limits than this
// machine's, of cgroups v1 and v2.
#include "core/system/memory.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

namespace weft {
namespace {

namespace fs = std::filesystem;
constexpr std::int64_t kGiB = std::int64_t{1} << 30;

class PlayedHost : public testing::Test {
 protected:
  PlayedHost() {
    const auto* test = testing::UnitTest::GetInstance()->current_test_info();
    root_ = fs::temp_directory_path() / fmt_name(test->name());
    put("proc/meminfo", "MemTotal: 67108864 kB\nMemFree: 1 kB\nMemAvailable: 33554432 kB\n");
    put("proc/self/statm", "1000 500 100 10 0 600 0\n");
    put("proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\n");
  }
  ~PlayedHost() override {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  void put(const std::string& file, const std::string& content) {
    fs::create_directories((root_ / file).parent_path());
    std::ofstream(root_ / file) << content;
  }
  void mount_v2(const std::string& shown = "/") {
    put("proc/self/mountinfo", "22 1 0:20 / /proc rw - proc proc rw\n31 23 0:28 " + shown +
                                   " /sys/fs/cgroup rw,relatime shared:4 - cgroup2 cgroup2 rw\n");
  }
  MemoryRoom room(int ranks = 1) {
    sources_.root = root_;
    return memory_room(ranks, sources_);
  }
  MemorySources sources_;

 private:
  static std::string fmt_name(const std::string& test) {
    return "weft_memory_" + test + "_" + std::to_string(::getpid());
  }
  fs::path root_;
};

TEST_F(PlayedHost, WithoutLimitsIsWhatTheHostHasFree) {
  EXPECT_EQ(room().bytes, 32 * kGiB);
  EXPECT_EQ(room(4).bytes, 8 * kGiB);
  EXPECT_EQ(room().bound, "what the host has free");
  EXPECT_EQ(room(4).bound, "a rank's share (of 4) of what the host has free");
}

// Slurm: the step's cgroup has no limit, the job's above it has.
TEST_F(PlayedHost, Version2LooksAtEveryCgroupAbove) {
  mount_v2();
  put("proc/self/cgroup", "0::/slurm/job_7/step_0\n");
  const std::string job = "sys/fs/cgroup/slurm/job_7/";
  put(job + "step_0/memory.max", "max\n");
  put(job + "step_0/memory.current", "1073741824\n");
  put(job + "memory.max", "4294967296\n");
  put(job + "memory.current", "3221225472\n");
  put(job + "memory.stat", "anon 1\ninactive_file 1073741824\nactive_file 1073741824\n");
  EXPECT_EQ(room().bytes, 3 * kGiB);
  EXPECT_EQ(room(2).bytes, 3 * kGiB / 2);
  EXPECT_EQ(room().bound,
            "what the job's limit of 4.29 GB leaves (/sys/fs/cgroup/slurm/job_7/memory.max)");
  put(job + "step_0/memory.high", "2147483648\n");
  EXPECT_EQ(room().bytes, kGiB);
}

TEST_F(PlayedHost, Version2InANamespaceOrAContainer) {
  mount_v2();
  put("proc/self/cgroup", "0::/\n");
  put("sys/fs/cgroup/memory.max", "2147483648\n");
  put("sys/fs/cgroup/memory.current", "0\n");
  EXPECT_EQ(room().bytes, 2 * kGiB);
  put("proc/self/cgroup", "0::/../outside\n");
  EXPECT_EQ(room().bytes, 2 * kGiB);
  mount_v2("/docker/abc");  // the host's path, of which the mount shows the lower part
  put("proc/self/cgroup", "0::/docker/abc/inner\n");
  put("sys/fs/cgroup/inner/memory.max", "1073741824\n");
  EXPECT_EQ(room().bytes, kGiB);
}

TEST_F(PlayedHost, Version1) {
  put("proc/self/mountinfo",
      "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
      "32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n"
      "35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n"
      "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n");
  put("proc/self/cgroup", "9:name=systemd:/\n4:cpuset,memory:/pbs/12\n1:cpu:/other\n0::/\n");
  const std::string job = "sys/fs/cgroup/memory/pbs/12/";
  put(job + "memory.limit_in_bytes", "9223372036854771712\n");
  put(job + "memory.usage_in_bytes", "2147483648\n");
  put(job + "memory.stat",
      "cache 5\nhierarchical_memory_limit 9223372036854771712\ntotal_inactive_file 1073741824\n");
  EXPECT_EQ(room().bytes, 32 * kGiB);
  put(job + "memory.limit_in_bytes", "8589934592\n");
  EXPECT_EQ(room().bytes, 7 * kGiB);
  put(job + "memory.stat",
      "hierarchical_memory_limit 6442450944\n");  // of a cgroup not mounted here
  EXPECT_EQ(room().bytes, 4 * kGiB);
  put(job + "memory.usage_in_bytes", "8589934592\n");
  EXPECT_EQ(room().bytes, 0);
}

TEST_F(PlayedHost, OwnLimitsAreNotShared) {
  const std::int64_t page = sysconf(_SC_PAGESIZE);
  sources_.address_space = 2 * kGiB;
  EXPECT_EQ(room(8).bytes, 2 * kGiB - 1000 * page);
  EXPECT_EQ(room(8).bound, "what ulimit -v (2.15 GB) leaves");
  sources_.data = kGiB;
  EXPECT_EQ(room(8).bytes, kGiB - 600 * page);
  sources_.address_space = 100;  // less than is taken
  EXPECT_EQ(room().bytes, 0);
}

TEST(MemoryRoom, OfThisMachine) {
  const MemoryRoom room = memory_room(1);
  EXPECT_GT(room.bytes, 0);
  EXPECT_LT(room.bytes, std::int64_t{1} << 50) << room.bound;
}

}  // namespace
}  // namespace weft

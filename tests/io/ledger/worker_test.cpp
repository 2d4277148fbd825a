// Claims: one worker's at a time, another's where that one is gone, here or on another host.
#include "io/ledger/worker.h"

#include <thread>

#include "io/files.h"
#include "tests/io/ledger/job_folder.h"

namespace weft::test {
namespace {

constexpr LockTimes kQuick = {.wait_s = 1, .watch_s = 0.4, .beat_s = 0.1};

class WorkerTest : public JobFolder {
 protected:
  WorkerTest() { fs::create_directories(folder() / Worker::kClaims); }
  fs::path folder() const { return *this / "job"; }
  fs::path claim(const std::string& name) const { return folder() / Worker::kClaims / name; }
  static void wait_s(double s) { std::this_thread::sleep_for(std::chrono::duration<double>(s)); }
};

TEST_F(WorkerTest, HasAClaimUntilItGivesItBack) {
  Worker a(folder(), "o", kQuick);
  {
    Worker b(folder(), "o", kQuick);
    EXPECT_TRUE(a.claim("1"));
    EXPECT_TRUE(a.claim("1"));
    EXPECT_FALSE(b.claim("1"));
    EXPECT_TRUE(a.holds("1"));
    EXPECT_FALSE(b.holds("1"));
    EXPECT_TRUE(b.claim("2"));
    EXPECT_FALSE(a.claim("2"));
    wait_s(0.6);
    EXPECT_FALSE(a.claim("2")) << "its owner lives";
    a.give_back("1");
    EXPECT_TRUE(b.claim("1"));
    EXPECT_TRUE(Worker::any_lives(folder()));
  }
  EXPECT_TRUE(a.claim("1")) << "who ends gives back what it has";
  EXPECT_TRUE(a.claim("2"));
}

TEST_F(WorkerTest, TakesWhatAKilledOneHad) {
  in_a_killed_process([&] { (new Worker(folder(), "o", kQuick))->claim("1"); });
  EXPECT_FALSE(Worker::any_lives(folder()));
  Worker a(folder(), "o", kQuick);
  EXPECT_TRUE(a.claim("1"));
  EXPECT_TRUE(a.holds("1"));
}

// As a process of another host looks from here: nothing but its heartbeat tells.
TEST_F(WorkerTest, WatchesTheHeartbeatOfAnotherHost) {
  Worker a(folder(), "o", kQuick);
  const std::string elsewhere =
      R"({"host":"elsewhere","process":1,"started":"1","boot":"b","namespace":"n","token":"t"})";
  put(claim("1"), elsewhere + "\n00000000000000000001\n");
  put(claim("2"), elsewhere + "\n00000000000000000001\n");
  put(claim("3"), elsewhere);
  EXPECT_FALSE(a.claim("1"));
  wait_s(0.3);
  put(claim("1"), elsewhere + "\n00000000000000000002\n");
  EXPECT_FALSE(a.claim("1")) << "it beats";
  wait_s(0.3);
  EXPECT_FALSE(a.claim("1"));
  wait_s(0.3);
  EXPECT_TRUE(a.claim("1"));
  EXPECT_FALSE(a.claim("3")) << "a copy of a line has no heartbeat: nobody can tell";
}

}  // namespace
}  // namespace weft::test

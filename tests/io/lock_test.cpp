// Whose a folder is: living owners are waited for and named, dead ones are followed, and of several
// who come at once one has it.
#include "io/lock.h"

#include <fcntl.h>
#include <sys/wait.h>

#include <chrono>
#include <thread>

#include "io/json.h"
#include "tests/io/shared_folder.h"

namespace weft::test {
namespace {

namespace fs = std::filesystem;

constexpr LockTimes kQuick = {.wait_s = 0.3, .watch_s = 1, .beat_s = 0.05};
const std::string kWhat = "--out here";

double seconds(const std::function<void()>& body) {
  const auto begin = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

void wait_s(double s) { std::this_thread::sleep_for(std::chrono::duration<double>(s)); }

// A lock as a process that is gone left it, with some of its entries replaced.
void leave_lock(const fs::path& folder, const Json& other = Json::object()) {
  const pid_t child = ::fork();
  if (child == 0) {
    new FolderLock(folder, kWhat, kQuick);  // never given back
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_EQ(status, 0);
  const std::string content = get(folder / FolderLock::kName);
  Json owner = parse_json(content.substr(0, content.find('\n')));
  owner.update(other);
  put(folder / FolderLock::kName, json_text(owner) + content.substr(content.find('\n')));
}

TEST(Lock, BelongsToOneAtATime) {
  const SharedFolder shared;
  const fs::path folder = shared.mine() / "a" / "b";
  {
    const FolderLock lock(folder, kWhat, kQuick);
    lock.check();
    EXPECT_TRUE(FolderLock::is_held(folder, lock.token()));
    EXPECT_FALSE(FolderLock::is_held(shared.mine(), lock.token()));
    expect_user_error(
        [&] { FolderLock(folder, kWhat, kQuick); },
        {"--out here", "in use", fmt::format("process {} on host", ::getpid()), "choose another"});
    lock.check();
  }
  EXPECT_FALSE(fs::exists(shared.mine() / "a")) << "made here, and nothing came into it";
  fs::create_directories(folder);
  {
    const FolderLock lock(folder, kWhat, kQuick);
    put(folder / "result", "x");
  }
  EXPECT_EQ(get(folder / "result"), "x");
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1)
      << "no lock, and nothing of its making";
}

TEST(Lock, WaitsForAnOwnerThatEnds) {
  const SharedFolder shared;
  auto first = std::make_unique<FolderLock>(shared.mine(), kWhat, kQuick);
  std::thread ends([&] {
    wait_s(0.4);
    first.reset();
  });
  const FolderLock second(shared.mine(), kWhat, {.wait_s = 20, .watch_s = 1, .beat_s = 1});
  ends.join();
  second.check();
}

TEST(Lock, FollowsADeadOwnerOfThisHostAtOnce) {
  const SharedFolder shared;
  const Json mine = {{"process", ::getpid()}};
  for (const Json& other : {Json::object(), Json{{"boot", "another"}, {"process", ::getpid()}},
                            Json{{"started", "1"}, {"process", ::getpid()}}}) {
    leave_lock(shared.mine(), other);
    EXPECT_LT(seconds([&] { FolderLock(shared.mine(), kWhat, kQuick).check(); }), 1);
    EXPECT_FALSE(fs::exists(shared.mine() / FolderLock::kName));
  }
}

TEST(Lock, WatchesTheHeartbeatOfAnotherHost) {
  const SharedFolder shared;
  const fs::path file = shared.mine() / FolderLock::kName;
  for (const Json& other : {Json{{"host", "elsewhere"}}, Json{{"namespace", "pid:[1]"}}}) {
    leave_lock(shared.mine(), other);
    const double s = seconds([&] { FolderLock(shared.mine(), kWhat, kQuick).check(); });
    EXPECT_GE(s, kQuick.watch_s);
    EXPECT_LT(s, 20);
  }
  leave_lock(shared.mine(), {{"host", "elsewhere"}});
  std::atomic<bool> stop = false;
  const std::string content = get(file);
  std::thread beats([&] {
    for (int i = 1; !stop; ++i) {
      put(shared.mine() / "beside",
          content.substr(0, content.find('\n')) + fmt::format("\n{:020}\n", i));
      fs::rename(shared.mine() / "beside", file);
      wait_s(0.05);
    }
  });
  expect_user_error([&] { FolderLock(shared.mine(), kWhat, kQuick); }, {"in use", "elsewhere"});
  stop = true;
  beats.join();
  // What is no lock is watched too, and then followed.
  put(file, "");
  FolderLock(shared.mine(), kWhat, kQuick).check();
}

TEST(Lock, BeatsAndNoticesThatItWasTaken) {
  const SharedFolder shared;
  const fs::path file = shared.mine() / FolderLock::kName;
  const FolderLock lock(shared.mine(), kWhat, kQuick);
  const std::string first = get(file);
  wait_s(0.5);
  EXPECT_NE(get(file), first);
  EXPECT_EQ(get(file).size(), first.size());
  put(file, R"({"host":"elsewhere","process":7,"started":"1","boot":"b","namespace":"n"})");
  EXPECT_THROW(lock.check(), Error);
  wait_s(0.3);
  EXPECT_NE(get(file).find("elsewhere"), std::string::npos) << "the other's is left alone";
}

TEST(Lock, AChildDoesNotGiveItBack) {
  const SharedFolder shared;
  auto lock = std::make_unique<FolderLock>(shared.mine(), kWhat, kQuick);
  const pid_t child = ::fork();
  if (child == 0) {
    lock.reset();
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  EXPECT_EQ(status, 0);
  lock->check();
  EXPECT_TRUE(FolderLock::is_held(shared.mine(), lock->token()));
}

// Many come at once for what a dead owner left; each that gets it finds itself alone.
TEST(Lock, OneOfManyFollowsADeadOwner) {
  const SharedFolder shared;
  const fs::path folder = shared.mine();
  for (int round = 0; round < 5; ++round) {
    leave_lock(folder);
    std::vector<pid_t> children;
    for (int i = 0; i < 8; ++i) {
      const pid_t child = ::fork();
      if (child == 0) {
        int code = 1;
        try {
          const FolderLock lock(folder, kWhat, {.wait_s = 30, .watch_s = 60, .beat_s = 5});
          const int alone = ::open((folder / "inside").c_str(), O_CREAT | O_EXCL, 0666);
          wait_s(0.02);
          lock.check();
          code = alone >= 0 && ::unlink((folder / "inside").c_str()) == 0 ? 0 : 2;
        } catch (const std::exception&) {
        }
        ::_exit(code);
      }
      children.push_back(child);
    }
    for (const pid_t child : children) {
      int status = 0;
      ::waitpid(child, &status, 0);
      EXPECT_EQ(status, 0);
    }
  }
}

TEST(Lock, SaysWhyAFolderCannotBeLocked) {
  const SharedFolder shared;
  put(shared.mine() / "file", "");
  expect_user_error([&] { FolderLock(shared.mine() / "file", kWhat, kQuick); }, {kWhat});
  expect_user_error([&] { FolderLock(shared.mine() / "file" / "a", kWhat, kQuick); }, {kWhat});
  const auto failure = failure_of([&] { FolderLock("/proc/self/net", kWhat, kQuick); });
  ASSERT_TRUE(failure.has_value());
  EXPECT_NE(failure->text.find(kWhat), std::string::npos) << failure->text;
}

}  // namespace
}  // namespace weft::test

// What was thrown keeps its kind and always has a sentence; a parallel loop carries it out.
#include "core/check.h"

#include <gtest/gtest.h>

#include <cerrno>
#include <filesystem>
#include <new>
#include <numeric>
#include <stdexcept>
#include <system_error>
#include <vector>

#include "core/parallel.h"

namespace weft {
namespace {

struct Silent : std::exception {
  const char* what() const noexcept override { return ""; }
};

TEST(Failure, KeepsItsKind) {
  EXPECT_FALSE(failure_of([] {}));
  const auto kind = [](const std::function<void()>& body) { return failure_of(body).value().kind; };
  EXPECT_EQ(kind([] { user_error("no"); }), FailureKind::user);
  EXPECT_EQ(kind([] { throw Interrupted("later"); }), FailureKind::interrupted);
  EXPECT_EQ(kind([] { machine_error("the disk"); }), FailureKind::program);
  EXPECT_EQ(kind([] { CHECK(false, "ours"); }), FailureKind::program);
  EXPECT_EQ(kind([] { throw std::bad_alloc(); }), FailureKind::program);
  EXPECT_EQ(kind([] { static_cast<void>(std::filesystem::file_size("/no/such/file")); }),
            FailureKind::program);
  EXPECT_EQ(exit_code(FailureKind::program), 1);
  EXPECT_EQ(exit_code(FailureKind::user), 2);
  EXPECT_EQ(exit_code(FailureKind::interrupted), 3);
}

TEST(Failure, AlwaysHasASentence) {
  EXPECT_EQ(failure_of([] { user_error("--tp is {}", 0); }).value().text, "--tp is 0");
  EXPECT_EQ(failure_of([] { throw std::bad_alloc(); }).value().text, "out of memory");
  EXPECT_NE(failure_of([] { throw Silent(); }).value().text.find("Silent"), std::string::npos);
  EXPECT_FALSE(failure_of([] { throw 7; }).value().text.empty());
  EXPECT_FALSE(failure_of([] { throw UserError(""); }).value().text.empty());
}

// The words of libraries are not for users.
TEST(Failure, OfALibraryIsAFaultOfOurs) {
  const auto text = [](const std::function<void()>& body) { return failure_of(body).value().text; };
  for (const std::string& said :
       {text([] { throw std::out_of_range("basic_string::substr: __pos"); }),
        text([] { std::stoi("x"); }), text([] { throw 7; })}) {
    EXPECT_NE(said.find("fault of Weft"), std::string::npos) << said;
    EXPECT_EQ(said.find("basic_string"), std::string::npos) << said;
  }
  EXPECT_STREQ(text([] { static_cast<void>(std::filesystem::file_size("/no/such/file")); }).c_str(),
               "/no/such/file: No such file or directory");
  EXPECT_STREQ(
      text([] { throw std::system_error(ENOSPC, std::generic_category(), "write"); }).c_str(),
      "the system refuses: No space left on device");
}

TEST(Failure, IsThrownAgainAsItWas) {
  EXPECT_THROW(rethrow({FailureKind::user, "a"}), UserError);
  EXPECT_THROW(rethrow({FailureKind::interrupted, "b"}), Interrupted);
  try {
    rethrow({FailureKind::program, "c"});
    FAIL();
  } catch (const UserError&) {
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "c");
  }
}

// A CHECK names file and line, and its rank where there are several; who names the rank in front
// takes it out again.
TEST(Failure, OfACheckNamesItsRank) {
  const auto text = [] { return failure_of([] { CHECK(1 > 2, "no {}", "[rank"); }).value().text; };
  const std::string alone = text();
  EXPECT_TRUE(alone.starts_with("no [rank [check_test.cpp:")) << alone;
  EXPECT_TRUE(alone.ends_with(": 1 > 2]")) << alone;
  set_error_rank(0, 1);
  EXPECT_EQ(text(), alone);
  set_error_rank(2, 3);
  EXPECT_TRUE(text().starts_with("no [rank [rank 2, check_test.cpp:")) << text();
  EXPECT_EQ(without_rank(text()), alone);
  EXPECT_EQ(without_rank("said by [rank 1, x.cpp:1: y]"), "said by [rank 1, x.cpp:1: y]");
  EXPECT_EQ(failure_of([] { machine_error("the disk"); }).value().text, "the disk");
  set_error_rank(0, 1);
  EXPECT_EQ(without_rank(text()), alone);
}

TEST(ParallelFor, DoesEachOnce) {
  for (const int threads : {1, 2, 5}) {
    std::vector<int> seen(1000);
    parallel_for(1000, threads, [&](std::int64_t i) { ++seen[static_cast<std::size_t>(i)]; });
    EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), 1000);
    std::vector<int> cells(1001);
    parallel_blocks(1001, 64, threads, [&](std::int64_t begin, std::int64_t end) {
      EXPECT_LE(end - begin, 64);
      for (std::int64_t i = begin; i < end; ++i) ++cells[static_cast<std::size_t>(i)];
    });
    EXPECT_EQ(cells, std::vector<int>(1001, 1));
    parallel_for(0, threads, [](std::int64_t) { FAIL(); });
  }
}

TEST(ParallelFor, ThrowsTheFirstOfSeveral) {
  for (const int threads : {1, 2, 4})
    for (int round = 0; round < 50; ++round) {
      const auto failure = failure_of([&] {
        parallel_for(200, threads, [](std::int64_t i) {
          if (i % 10 == 7) user_error("document {}", i);
        });
      });
      ASSERT_TRUE(failure);
      EXPECT_EQ(failure->kind, FailureKind::user);
      EXPECT_EQ(failure->text, "document 7");
    }
}

}  // namespace
}  // namespace weft

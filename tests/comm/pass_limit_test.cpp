// Passes that end before the time does, or by a signal, on all ranks alike.
#include "comm/pass_limit.h"

#include <gtest/gtest.h>

#include <chrono>
#include <csignal>
#include <thread>

#include "mpi_main.h"

namespace weft {
namespace {

TEST(PassLimit, TwoOfTheSlowestPassesMustFit) {
  const auto world = test_mpi().world();
  Stream stream;
  PassLimit limit(Deadline(1.0, "--walltime 1"), false);
  limit.begin();
  EXPECT_FALSE(limit.ended(*world, stream));
  std::optional<Failure> ended;
  const auto begin = std::chrono::steady_clock::now();
  int passes = 0;
  for (; !ended && passes < 100; ++passes) {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    ended = limit.ended(*world, stream);
  }
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->kind, FailureKind::interrupted);
  EXPECT_TRUE(ended->text.starts_with("stopped by the walltime, ")) << ended->text;
  EXPECT_TRUE(ended->text.ends_with(" before its end (--walltime 1)")) << ended->text;
  EXPECT_LT(passes, 5);  // 200 ms each: what is left then no longer holds two
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
}

TEST(PassLimit, WhatIsBetweenTwoRunsIsNoPass) {
  const auto world = test_mpi().world();
  Stream stream;
  PassLimit limit(Deadline(3600, ""), false);
  limit.begin();
  EXPECT_FALSE(limit.ended(*world, stream));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  limit.begin();
  EXPECT_FALSE(limit.ended(*world, stream));
}

TEST(PassLimit, OnesSignalIsEverybodysEnd) {
  const auto world = test_mpi().world();
  Stream stream;
  PassLimit limit(Deadline(), true);
  limit.begin();
  EXPECT_FALSE(limit.ended(*world, stream));
  if (world->rank() == world->size() - 1) std::raise(SIGUSR1);
  const auto ended = limit.ended(*world, stream);
  ASSERT_TRUE(ended);
  EXPECT_EQ(ended->kind, FailureKind::interrupted);
  EXPECT_EQ(ended->text, "stopped by a signal");
}

}  // namespace
}  // namespace weft

// This process's age, and what other programs answer.
#include "core/system/process.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <thread>

namespace weft {
namespace {

TEST(Process, ItsAgeGoesWithTheClock) {
  const double before = process_elapsed_s();
  EXPECT_GE(before, 0);
  EXPECT_LT(before, 3600);
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const double later = process_elapsed_s() - before;
  EXPECT_GE(later, 0.049);
  EXPECT_LT(later, 5);
  const auto mine = process_age_s(::getpid()), parents = process_age_s(::getppid());
  ASSERT_TRUE(mine && parents);
  EXPECT_NEAR(*mine, process_elapsed_s(), 0.1);
  EXPECT_GE(*parents, *mine - 0.011);
  EXPECT_FALSE(process_age_s(0x7FFFFFFF));
}

TEST(Process, AProgramsAnswer) {
  const ProgramAnswer words = ask_program({"printf", "%s\\n", "two words", "a;b $c"}, 5);
  EXPECT_EQ(words.failure, "");
  EXPECT_EQ(words.text, "two words\na;b $c\n");
  EXPECT_EQ(ask_program({"sh", "-c", "cat; echo no >&2; exit 3"}, 5).failure, "ended with 3");
  EXPECT_EQ(ask_program({"sh", "-c", "kill -TERM $$"}, 5).failure, "ended by signal 15");
  EXPECT_EQ(ask_program({"weft-has-no-such-program"}, 5).failure, "not found");
  EXPECT_EQ(ask_program({"head", "-c", "3000000", "/dev/zero"}, 5).text.size(), 1u << 20);
}

TEST(Process, WhatTakesTooLongIsKilledWithWhatItStarted) {
  for (const char* slow : {"echo some; sleep 60 & sleep 60", "exec >&-; sleep 60"}) {
    const auto begin = std::chrono::steady_clock::now();
    EXPECT_EQ(ask_program({"sh", "-c", slow}, 0.3).failure, "no answer in 0.3 s");
    EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(10));
  }
}

}  // namespace
}  // namespace weft

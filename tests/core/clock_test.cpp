// Every second is booked on one share, and all of them are booked.
#include "core/clock.h"

#include <gtest/gtest.h>

#include <numeric>
#include <thread>

namespace weft {
namespace {

double of(const std::array<double, kTimeShares>& seconds, TimeShare share) {
  return seconds[static_cast<std::size_t>(share)];
}

void pass(int milliseconds) {
  std::this_thread::sleep_for(std::chrono::milliseconds(milliseconds));
}

TEST(ShareClock, BooksEachScopeOnItsShareAndGoesBack) {
  ShareClock clock;
  const auto begin = std::chrono::steady_clock::now();
  clock.start();
  {
    const TimeAs forward(clock, TimeShare::forward);
    pass(20);
    {
      const TimeAs comm(clock, TimeShare::comm);
      pass(40);
    }
    EXPECT_EQ(clock.switch_to(TimeShare::forward), TimeShare::forward);  // it runs again
    pass(20);
  }
  EXPECT_EQ(clock.switch_to(TimeShare::data), TimeShare::other);
  pass(10);
  const auto seconds = clock.stop();
  const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
  // A sleep is never short, and nothing is booked twice: the bounds hold on a busy machine too.
  EXPECT_GE(of(seconds, TimeShare::forward), 0.040);
  EXPECT_GE(of(seconds, TimeShare::comm), 0.040);
  EXPECT_GE(of(seconds, TimeShare::data), 0.010);
  for (const TimeShare none : {TimeShare::backward, TimeShare::optimizer, TimeShare::bubble})
    EXPECT_EQ(of(seconds, none), 0);
  const double sum = std::accumulate(seconds.begin(), seconds.end(), 0.0);
  EXPECT_GE(sum, 0.090);
  EXPECT_LE(sum, all.count() + 1e-9);
}

TEST(ShareClock, StartsAnew) {
  ShareClock clock;
  clock.start();
  {
    const TimeAs bubble(clock, TimeShare::bubble);
    pass(5);
  }
  clock.switch_to(TimeShare::backward);
  clock.start();
  EXPECT_EQ(clock.switch_to(TimeShare::backward), TimeShare::other);
  EXPECT_EQ(of(clock.stop(), TimeShare::bubble), 0);
}

TEST(ShareClock, EveryShareHasAName) {
  EXPECT_STREQ(kTimeShareNames[static_cast<std::size_t>(TimeShare::forward)], "forward");
  EXPECT_STREQ(kTimeShareNames[static_cast<std::size_t>(TimeShare::other)], "other");
  EXPECT_EQ(static_cast<int>(TimeShare::other) + 1, kTimeShares);
}

}  // namespace
}  // namespace weft

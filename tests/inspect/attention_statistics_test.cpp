#include "inspect/attention_statistics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

namespace weft {
namespace {

HeadStatistics of(const std::vector<float>& map, std::int64_t T, int threads = 1) {
  return head_statistics(ConstView(map.data(), Dims{T, T}), threads);
}

TEST(AttentionStatistics, OfMapsThatAreKnown) {
  const HeadStatistics itself = of({1, 0, 0, 0, 1, 0, 0, 0, 1}, 3);
  EXPECT_EQ(itself.entropy, 0);
  EXPECT_DOUBLE_EQ(itself.first_share, 1.0 / 3);
  EXPECT_EQ(itself.distance, 0);

  const HeadStatistics first = of({1, 0, 0, 1, 0, 0, 1, 0, 0}, 3);
  EXPECT_EQ(first.entropy, 0);
  EXPECT_EQ(first.first_share, 1);
  EXPECT_EQ(first.distance, 1);  // 0, 1 and 2 tokens away

  const HeadStatistics even = of({0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f,
                                  0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f, 0.25f},
                                 4);
  EXPECT_NEAR(even.entropy, std::log(4.0), 1e-12);
  EXPECT_DOUBLE_EQ(even.first_share, 0.25);
  EXPECT_DOUBLE_EQ(even.distance, 1.25);  // 20 steps over 16 cells

  const HeadStatistics causal = of({1, 0, 0.5f, 0.5f}, 2);
  EXPECT_NEAR(causal.entropy, std::log(2.0) / 2, 1e-12);
  EXPECT_DOUBLE_EQ(causal.first_share, 0.75);
  EXPECT_DOUBLE_EQ(causal.distance, 0.25);
}

TEST(AttentionStatistics, TheSameBitsOnAnyNumberOfThreads) {
  const std::int64_t T = 201;
  std::mt19937 generator(1);
  std::vector<float> map(static_cast<std::size_t>(T * T));
  for (float& w : map) w = static_cast<float>(generator() % 1000) / 1e5f;
  const HeadStatistics one = of(map, T);
  for (const int threads : {2, 3}) {
    const HeadStatistics more = of(map, T, threads);
    EXPECT_EQ(more.entropy, one.entropy);
    EXPECT_EQ(more.first_share, one.first_share);
    EXPECT_EQ(more.distance, one.distance);
  }
}

TEST(AttentionStatistics, SayWhereAMapIsNotFinite) {
  EXPECT_TRUE(std::isnan(of({1, 0, NAN, 0.5f}, 2).entropy));
}

}  // namespace
}  // namespace weft

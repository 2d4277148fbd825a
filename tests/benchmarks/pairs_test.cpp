#include "benchmarks/pairs.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace weft {
namespace {

TEST(Tournament, EveryPairOnceAndNobodyTwiceARound) {
  for (int n = 1; n <= 17; ++n) {
    const std::vector<PairRound> rounds = tournament(n);
    EXPECT_EQ(rounds.size(), static_cast<std::size_t>(n < 2 ? 0 : n - 1 + n % 2)) << n;
    std::set<std::pair<int, int>> met;
    for (const PairRound& round : rounds) {
      std::set<int> plays;
      for (const auto& [a, b] : round) {
        EXPECT_LT(a, b);
        EXPECT_GE(a, 0);
        EXPECT_LT(b, n);
        EXPECT_TRUE(met.insert({a, b}).second) << n << ": " << a << " and " << b << " meet again";
        EXPECT_TRUE(plays.insert(a).second && plays.insert(b).second) << n << ": plays twice";
      }
    }
    EXPECT_EQ(met.size(), static_cast<std::size_t>(n * (n - 1) / 2)) << n;
  }
}

TEST(Tournament, BeyondSixtyFourRanksHostsMeet) {
  std::vector<std::string> hosts;
  for (int r = 0; r < 400; ++r) hosts.push_back("node" + std::to_string(r / 4));
  const std::vector<PairRound> rounds = pair_rounds(hosts);
  EXPECT_EQ(rounds.size(), 64u);
  std::set<int> seen;
  for (const PairRound& round : rounds) {
    std::set<int> plays;
    for (const auto& [a, b] : round) {
      EXPECT_LT(a, b);
      EXPECT_NE(a / 4, b / 4);
      EXPECT_TRUE(plays.insert(a).second && plays.insert(b).second);
      seen.insert({a, b});
    }
    EXPECT_EQ(plays.size(), 100u);  // one rank of every host
  }
  EXPECT_EQ(seen.size(), 400u);  // each of them at some time
  EXPECT_EQ(pair_rounds(std::vector<std::string>(100, "one")).size(), 64u);
  EXPECT_EQ(pair_rounds(std::vector<std::string>(64, "one")).size(), 63u);
}

TEST(Bounds, TheMedianTimesAFactorAndTheScatter) {
  EXPECT_EQ(true_median({3, 1}), 2);
  EXPECT_EQ(true_median({9, 1, 2}), 2);
  // Alike: the factor decides. One that is far out does not move the bound.
  EXPECT_DOUBLE_EQ(upper_bounds({1, 1, 1, 1}, 2).limit, 2);
  EXPECT_DOUBLE_EQ(upper_bounds({1, 1, 1, 1000}, 2).limit, 2);
  EXPECT_DOUBLE_EQ(upper_bounds({1, 1, 1, 1}, 2, 5).limit, 6);
  // Scattered: deviations of 0, 1, 1, 2 and 3 around 4, whose median is 1.
  EXPECT_DOUBLE_EQ(upper_bounds({4, 3, 5, 2, 7}, 1.1).limit, 4 + 6 * 1.4826);
  EXPECT_TRUE(std::isinf(upper_bounds({1, 9}, 2).limit));
}

// All pairs of n ranks, by what `latency` says of each.
template <class Latency>
std::vector<PairTime> all_pairs(int n, const Latency& latency) {
  std::vector<PairTime> pairs;
  for (const PairRound& round : tournament(n))
    for (const auto& [a, b] : round) pairs.push_back({a, b, latency(a, b), 1e-4});
  return pairs;
}

TEST(FindSlow, OneRankIsNamedAndNotItsPairs) {
  for (int n = 3; n <= 5; ++n)
    for (int slow = 0; slow < n; ++slow) {
      const auto found = find_slow(
          all_pairs(n, [&](int a, int b) { return a == slow || b == slow ? 5e-3 : 2e-6; }),
          std::vector<std::string>(static_cast<std::size_t>(n), "h"), {}, 1 << 20);
      ASSERT_EQ(found.size(), 1u) << n;
      EXPECT_EQ(found[0].rank, slow);
      EXPECT_EQ(found[0].other, -1);
      EXPECT_EQ(found[0].what, "latency");
      EXPECT_DOUBLE_EQ(found[0].median, 2e-6);
    }
}

TEST(FindSlow, OnePairIsNamedAndNotItsRanks) {
  for (int n = 3; n <= 5; ++n) {
    const auto found =
        find_slow(all_pairs(n, [&](int a, int b) { return a == 0 && b == 2 ? 5e-3 : 2e-6; }),
                  std::vector<std::string>(static_cast<std::size_t>(n), "h"), {}, 1 << 20);
    ASSERT_EQ(found.size(), 1u) << n;
    EXPECT_EQ(found[0].rank, 0);
    EXPECT_EQ(found[0].other, 2);
  }
}

TEST(FindSlow, AKernelThatIsSlowNamesItsRank) {
  const std::vector<PairTime> pairs = all_pairs(3, [](int, int) { return 1e-6; });
  const auto found = find_slow(pairs, {"a", "a", "a"}, {1, 1.6, 1.05}, 1 << 20);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].rank, 1);
  EXPECT_EQ(found[0].what, "local matmul");
}

TEST(FindSlow, NothingWhereAllAreAlikeOrCannotBeCompared) {
  EXPECT_TRUE(find_slow(all_pairs(4, [](int a, int b) { return (1 + 0.1 * (a + b)) * 1e-6; }),
                        {"a", "a", "a", "a"}, {1, 1.1, 1.2, 1.05}, 1 << 20)
                  .empty());
  // Slower by a factor, but by less than the clock can be trusted with.
  EXPECT_TRUE(find_slow(all_pairs(4, [](int a, int) { return a == 0 ? 4e-6 : 1e-6; }),
                        {"a", "a", "a", "a"}, {}, 1 << 20)
                  .empty());
  EXPECT_TRUE(find_slow({{0, 1, 1, 1}}, {"a", "a"}, {1, 9}, 8).empty());
}

TEST(FindSlow, PairsAcrossHostsAreComparedWithEachOther) {
  // Two hosts of two: four pairs across, all slower than the two within. One of them is slow.
  const auto latency = [](int a, int b) {
    if (a / 2 == b / 2) return 1e-6;
    return a == 1 && b == 2 ? 2e-3 : 3e-5;
  };
  const auto found = find_slow(all_pairs(4, latency), {"x", "x", "y", "y"}, {1, 1, 1, 1}, 1 << 20);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].rank, 1);
  EXPECT_EQ(found[0].other, 2);
  EXPECT_DOUBLE_EQ(found[0].median, 3e-5);
}

TEST(BytesText, TheLargestUnitThatIsWhole) {
  EXPECT_EQ(bytes_text(8), "8 B");
  EXPECT_EQ(bytes_text(32768), "32 KiB");
  EXPECT_EQ(bytes_text(1 << 20), "1 MiB");
  EXPECT_EQ(bytes_text(1025), "1025 B");
}

}  // namespace
}  // namespace weft

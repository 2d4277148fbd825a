// Random numbers are those of the papers: the published vectors, and what the numbers are for.
#include "core/rng.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>

namespace weft {
namespace {

// kat_vectors of Random123 1.14, philox4x32 with 10 rounds.
TEST(Rng, PhiloxGivesThePublishedVectors) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Philox{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(0xffffffffffffffffull, {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}),
            (Philox{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ull, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Philox{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Rng, UniformNumbersAreBelowOne) {
  EXPECT_EQ(uniform(0), 0.0f);
  EXPECT_EQ(uniform(0x80000000u), 0.5f);
  EXPECT_EQ(uniform(0xffffffffu), 1.0f - 0x1p-24f);
}

// Of SplitMix64 with seed 0 and its next state (Vigna's splitmix64.c).
TEST(Rng, MixIsSplitMix64) {
  EXPECT_EQ(mix64(0), 0xe220a8397b1dcdafull);
  EXPECT_EQ(mix64(0x9e3779b97f4a7c15ull), 0x6e789e6aa1b965f4ull);
}

TEST(Rng, NormalNumbersAreBoxAndMullers) {
  const auto [top, none] = normals(0xffffffffu, 0);
  EXPECT_EQ(top, 0.0);  // sqrt(-2 ln 1)
  EXPECT_EQ(none, 0.0);
  const auto [far, zero] = normals(0, 0);
  EXPECT_DOUBLE_EQ(far, std::sqrt(64 * std::log(2.0)));  // the farthest there is: finite
  EXPECT_EQ(zero, 0.0);
  const auto [cosine, sine] = normals(0x7fffffffu, 0x40000000u);  // a quarter turn
  EXPECT_NEAR(cosine, 0.0, 1e-15);
  EXPECT_DOUBLE_EQ(sine, std::sqrt(2 * std::log(2.0)));
}

TEST(Rng, NormalNumbersHaveTheMomentsOfTheNormal) {
  constexpr std::uint32_t kPairs = 100'000;
  double sum = 0, squares = 0, product = 0, beyond = 0;
  for (std::uint32_t i = 0; i < kPairs; ++i) {
    const Philox words = philox(7, {i, 0, 0, 0});
    const auto [a, b] = normals(words[0], words[1]);
    sum += a + b;
    squares += a * a + b * b;
    product += a * b;
    beyond += (std::abs(a) > 1.959964) + (std::abs(b) > 1.959964);
  }
  const double n = 2.0 * kPairs;  // bounds: five standard errors
  EXPECT_NEAR(sum / n, 0, 5 / std::sqrt(n));
  EXPECT_NEAR(squares / n, 1, 5 * std::sqrt(2 / n));
  EXPECT_NEAR(product / kPairs, 0, 5 / std::sqrt(kPairs));
  EXPECT_NEAR(beyond / n, 0.05, 5 * std::sqrt(0.05 * 0.95 / n));
}

// The vectors of FNV's authors; a byte above 127 counts as it is.
TEST(Rng, NamesAreHashedByFnv1a) {
  EXPECT_EQ(name_hash(""), 0xcbf29ce484222325ull);
  EXPECT_EQ(name_hash("a"), 0xaf63dc4c8601ec8cull);
  EXPECT_EQ(name_hash("foobar"), 0x85944171f73967e8ull);
  EXPECT_EQ(name_hash("\xff"), (0xcbf29ce484222325ull ^ 0xff) * 0x100000001b3ull);
}

}  // namespace
}  // namespace weft

// Random inputs and comparison with a float64 reference, for kernel tests.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <random>
#include <vector>

#include "core/rng.h"
#include "core/tensor.h"
#include "kernels/ops.h"

namespace weft::test {

struct Tensor {
  std::vector<float> data;
  Dims shape;
  View view() { return View(data.data(), shape); }
  float& operator[](std::int64_t i) { return data[static_cast<std::size_t>(i)]; }
  float operator[](std::int64_t i) const { return data[static_cast<std::size_t>(i)]; }
};

inline Tensor filled(const Dims& shape, float value) {
  return {std::vector<float>(static_cast<std::size_t>(shape.elems()), value), shape};
}

inline Tensor random(const Dims& shape, std::uint32_t seed, float std = 1.0f) {
  Tensor t = filled(shape, 0);
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0f, std);
  for (float& x : t.data) x = normal(generator);
  return t;
}

// |actual - expected| <= tolerance · (max(rms(expected), floor) + |expected|), everywhere. A
// tolerance is epsilon (6e-8) times the square root of the longest sum's length and a small factor;
// tests say which.
inline void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                         double tolerance, const char* what, double floor = 1e-30) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double square = 0;
  for (double e : expected) square += e * e;
  const double size = std::max(
      std::sqrt(square / static_cast<double>(std::max<std::size_t>(expected.size(), 1))), floor);
  double worst = 0;
  std::size_t at = 0;
  for (std::size_t i = 0; i < actual.size(); ++i) {
    ASSERT_TRUE(std::isfinite(actual[i])) << what << "[" << i << "] is " << actual[i];
    const double difference =
        std::abs(static_cast<double>(actual[i]) - expected[i]) / (size + std::abs(expected[i]));
    if (difference > worst) {
      worst = difference;
      at = i;
    }
  }
  if (actual.empty()) return;
  EXPECT_LE(worst, tolerance) << what << "[" << at << "] is " << actual[at] << ", expected "
                              << expected[at] << " (rms " << size << ")";
}

inline std::vector<double> widened(const Tensor& t) { return {t.data.begin(), t.data.end()}; }

// What dropout multiplies element `element` of row `row` of the batch by, from the counter RNG and
// ops.h's words alone.
inline double dropout_factor(const Dropout& drop, std::int64_t row, std::int64_t element) {
  if (drop.p == 0) return 1;
  const std::uint64_t key =
      mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site));
  const auto block = static_cast<std::uint64_t>(element / 4),
             s = static_cast<std::uint64_t>(drop.first_sample + row);
  const Philox words =
      philox(key, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32),
                   static_cast<std::uint32_t>(s), static_cast<std::uint32_t>(s >> 32)});
  return uniform(words[static_cast<std::size_t>(element % 4)]) >= drop.p
             ? 1.0 / (1.0 - static_cast<double>(drop.p))
             : 0.0;
}

// Thread counts that every kernel is tried with.
inline const std::vector<int> kTeams = {1, 2, 3};

}  // namespace weft::test

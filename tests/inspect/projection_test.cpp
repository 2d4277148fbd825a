// Principal components of data whose components are known.
#include "inspect/projection.h"

#include <gtest/gtest.h>

#include <cmath>

namespace weft {
namespace {

TEST(Projection, FindsTheAxesOfAnEllipse) {
  // Along (0.6, 0.8, 0) with deviation 5, along (-0.8, 0.6, 0) with 2, around (7, -3, 100).
  std::vector<float> rows;
  double square[2] = {0, 0};
  for (int i = 0; i < 360; ++i) {
    const double a = 5 * std::cos(i * M_PI / 180), b = 2 * std::sin(i * M_PI / 180);
    rows.push_back(static_cast<float>(7 + 0.6 * a - 0.8 * b));
    rows.push_back(static_cast<float>(-3 + 0.8 * a + 0.6 * b));
    rows.push_back(100);
    square[0] += a * a;
    square[1] += b * b;
  }
  const Projection p = principal_components(rows, 3);
  ASSERT_EQ(p.points.size(), 360u);
  EXPECT_NEAR(p.explained[0], square[0] / (square[0] + square[1]), 1e-6);
  EXPECT_NEAR(p.explained[1], square[1] / (square[0] + square[1]), 1e-6);
  for (int i = 0; i < 360; ++i) {
    EXPECT_NEAR(p.points[static_cast<std::size_t>(i)][0], 5 * std::cos(i * M_PI / 180), 1e-5);
    // (-0.8, 0.6, 0): its largest coordinate is made positive
    EXPECT_NEAR(p.points[static_cast<std::size_t>(i)][1], -2 * std::sin(i * M_PI / 180), 1e-5);
  }
}

TEST(Projection, EqualVariancesStillSpanThePlane) {
  const std::vector<float> rows = {3, 0, 0, -3, 0, 0, 0, 3, 0, 0, -3, 0, 0, 0, 1, 0, 0, -1};
  const Projection p = principal_components(rows, 3);
  EXPECT_NEAR(p.explained[0] + p.explained[1], 36.0 / 38.0, 1e-9);
  for (std::size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(std::hypot(p.points[i][0], p.points[i][1]), 3, 1e-9);
}

TEST(Projection, WithoutVarianceThereIsAPoint) {
  for (const std::vector<float>& rows :
       {std::vector<float>{}, std::vector<float>{1, 2}, std::vector<float>{1, 2, 1, 2, 1, 2}}) {
    const Projection p = principal_components(rows, 2);
    for (const auto& point : p.points) EXPECT_EQ(point, (std::array<double, 2>{0, 0}));
    EXPECT_EQ(p.explained[0], 0);
  }
  const Projection line = principal_components(std::vector<float>{0, 0, 1, 1, 2, 2}, 2);
  EXPECT_NEAR(line.points[2][0], std::sqrt(2.0), 1e-9);
  EXPECT_NEAR(line.points[2][1], 0, 1e-9);
  EXPECT_NEAR(line.explained[0], 1, 1e-9);
}

}  // namespace
}  // namespace weft

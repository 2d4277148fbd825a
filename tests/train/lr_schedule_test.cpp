// The learning rate of every step, against closed values. transformers' schedules say the same
// where they mean the same: theirs count from 0, so step s here is their step s; with min_lr 0,
// get_scheduler("cosine" | "linear" | "constant_with_warmup", warmup 10, total 100) at lr 1 gives
// the values of `kTransformers` (transformers 5.24, torch 2.15: tests/data/make_lr.py).
#include "train/lr_schedule.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/check.h"

namespace weft {
namespace {

TEST(LrSchedule, WarmsUpInAStraightLineToItsPeak) {
  for (LrDecay decay : {LrDecay::cosine, LrDecay::linear, LrDecay::constant}) {
    const LrSchedule s{2.0, 0.5, 10, 100, decay};
    for (std::int64_t step = 1; step <= 10; ++step)
      EXPECT_DOUBLE_EQ(s.at(step), 0.2 * static_cast<double>(step));
  }
}

TEST(LrSchedule, FallsAsItsNameSays) {
  const LrSchedule cosine{2.0, 0.5, 10, 110, LrDecay::cosine},
      linear{2.0, 0.5, 10, 110, LrDecay::linear}, constant{2.0, 0.5, 10, 110, LrDecay::constant};
  EXPECT_NEAR(cosine.at(60), 1.25, 1e-12);
  EXPECT_NEAR(cosine.at(35), 0.5 + 1.5 * (0.5 + std::sqrt(0.5) / 2), 1e-12);
  EXPECT_NEAR(linear.at(60), 1.25, 1e-12);
  EXPECT_NEAR(linear.at(35), 1.625, 1e-12);
  for (const LrSchedule& s : {cosine, linear}) {
    EXPECT_NEAR(s.at(110), 0.5, 1e-12);
    EXPECT_NEAR(s.at(1000), 0.5, 1e-12) << "a resumed run with fewer --steps stays at the floor";
    for (std::int64_t step = 11; step <= 110; ++step) EXPECT_LT(s.at(step), s.at(step - 1));
  }
  for (std::int64_t step : {11, 60, 110, 1000}) EXPECT_DOUBLE_EQ(constant.at(step), 2.0);
}

TEST(LrSchedule, WithoutWarmUpStartsJustBelowThePeak) {
  const LrSchedule s{1.0, 0.0, 0, 4, LrDecay::linear};
  EXPECT_DOUBLE_EQ(s.at(1), 0.75);
  EXPECT_DOUBLE_EQ(s.at(4), 0.0);
}

TEST(LrSchedule, AllWarmUpAndNoDecayIsFinite) {
  for (LrDecay decay : {LrDecay::cosine, LrDecay::linear, LrDecay::constant}) {
    const LrSchedule s{1.0, 0.1, 50, 20, decay};  // longer than the run
    for (std::int64_t step = 1; step <= 20; ++step)
      EXPECT_DOUBLE_EQ(s.at(step), static_cast<double>(step) / 50);
  }
}

struct Row {
  std::int64_t step;
  double cosine, linear, constant;
};
constexpr Row kTransformers[] = {
    {1, 0.1, 0.1, 0.1},
    {5, 0.5, 0.5, 0.5},
    {10, 1.0, 1.0, 1.0},
    {11, 0.9996954135095479, 0.9888888888888889, 1.0},
    {25, 0.9330127018922194, 0.8333333333333334, 1.0},
    {40, 0.75, 0.6666666666666666, 1.0},
    {55, 0.5, 0.5, 1.0},
    {77, 0.15267081477050132, 0.25555555555555554, 1.0},
    {99, 0.00030458649045211894, 0.011111111111111112, 1.0},
    {100, 0.0, 0.0, 1.0},
};

TEST(LrSchedule, EqualsTransformers) {
  for (const Row& row : kTransformers) {
    EXPECT_NEAR((LrSchedule{1.0, 0.0, 10, 100, LrDecay::cosine}.at(row.step)), row.cosine, 1e-12)
        << row.step;
    EXPECT_NEAR((LrSchedule{1.0, 0.0, 10, 100, LrDecay::linear}.at(row.step)), row.linear, 1e-12)
        << row.step;
    EXPECT_NEAR((LrSchedule{1.0, 0.0, 10, 100, LrDecay::constant}.at(row.step)), row.constant,
                1e-12)
        << row.step;
  }
}

TEST(LrSchedule, NamesWhatIsAllowed) {
  try {
    lr_decay("step");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find("cosine, linear, constant"), std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace weft

// What a run keeps of its time, and what the log of a killed one says is lost.
#include "train/time_budget.h"

#include <gtest/gtest.h>

#include "train/lost_work.h"

namespace weft {
namespace {

TEST(TimeBudget, TwoSavesTwoSlowestStepsAndAHundredth) {
  TimeBudget b(1000, 0);
  EXPECT_DOUBLE_EQ(b.margin_s(), 2 * 0.5 + 10);  // the estimate of an empty file
  b.step_took(3);
  EXPECT_DOUBLE_EQ(b.margin_s(), 1 + 6 + 10);  // one step is all that is known
  b.step_took(1);
  EXPECT_DOUBLE_EQ(b.margin_s(), 1 + 4 + 10);
  for (const double s : {0.5, 2.0, 1.5}) b.step_took(s);
  EXPECT_DOUBLE_EQ(b.margin_s(), 1 + 5 + 10);
  b.step_took(7);
  EXPECT_DOUBLE_EQ(b.margin_s(), 1 + 10 + 10);
  b.save_took(0.1);
  EXPECT_DOUBLE_EQ(b.margin_s(), 0.2 + 10 + 10);
  b.save_took(4);
  b.save_took(2);
  EXPECT_DOUBLE_EQ(b.margin_s(), 8 + 10 + 10);
  EXPECT_TRUE(b.is_over(28));
  EXPECT_TRUE(b.is_over(-1));
  EXPECT_FALSE(b.is_over(28.1));
  EXPECT_TRUE(b.is_over(28 + 7, 1));  // a step that takes as long as the slowest ends first
  EXPECT_FALSE(b.is_over(28 + 7.1, 1));
}

TEST(TimeBudget, ALargeCheckpointsFirstSaveIsEstimatedByItsBytes) {
  TimeBudget b(3600, 84'000'000'000);  // 7 G parameters: 14 minutes at 100 MB/s
  EXPECT_FALSE(b.save_is_measured());
  EXPECT_NEAR(b.save_s(), 840.5, 1e-9);
  b.save_took(30);
  EXPECT_TRUE(b.save_is_measured());
  EXPECT_DOUBLE_EQ(b.save_s(), 30);
}

TEST(TimeBudget, AnEvaluationFitsBeforeTheMarginAlone) {
  TimeBudget b(100, 0);
  b.save_took(1);
  b.step_took(2);
  b.step_took(2);  // margin 2 + 4 + 1
  EXPECT_TRUE(b.holds_evaluation(7 + 10.1, 5));
  EXPECT_FALSE(b.holds_evaluation(7 + 9.9, 5));
  b.evaluation_took(3);
  EXPECT_TRUE(b.holds_evaluation(7 + 3.1, 5));
  EXPECT_FALSE(b.holds_evaluation(7 + 2.9, 5));
}

constexpr const char* kLog =
    R"({"event":"start","step":0}
{"event":"step","step":1,"tokens":10,"elapsed_s":5.0}
{"event":"step","step":2,"tokens":10,"elapsed_s":6.0}
{"event":"save","step":2,"elapsed_s":6.5}
{"event":"step","step":3,"tokens":10,"elapsed_s":7.5}
{"event":"step","step":4,"tokens":10,"elapsed_s":8.5}
{"event":"start","step":2}
{"event":"step","step":3,"tokens":12,"elapsed_s":4.0}
)";

TEST(LostWork, StepsPastTheSaveOfTheNewestStart) {
  const LostWork lost = lost_work(kLog, 2);
  EXPECT_EQ(lost.last_step, 3);  // step 4 was lost, and told, one start before
  EXPECT_EQ(lost.tokens, 12);
  EXPECT_DOUBLE_EQ(lost.seconds, 4.0);  // from its begin: that start saved nothing
}

TEST(LostWork, AllOfARunThatSavedNothing) {
  const std::string all = kLog;
  const std::string log = all.substr(0, all.find("{\"event\":\"save\""));
  const LostWork lost = lost_work(log, 0);
  EXPECT_EQ(lost.last_step, 2);
  EXPECT_EQ(lost.tokens, 20);
  EXPECT_DOUBLE_EQ(lost.seconds, 6.0);
}

TEST(LostWork, ADamagedCheckpointLosesWhatStandsBeforeItToo) {
  std::string log = kLog;
  log += R"({"event":"save","step":3,"elapsed_s":4.5}
{"event":"start","step":3}
{"event":"step","step":4,"tokens":7,"elapsed_s":9.0}
)";
  LostWork lost = lost_work(log, 3);
  EXPECT_EQ(lost.tokens, 7);
  EXPECT_DOUBLE_EQ(lost.seconds, 9.0);
  lost = lost_work(log, 2);  // step 3's file is damaged
  EXPECT_EQ(lost.last_step, 4);
  EXPECT_EQ(lost.tokens, 12 + 7);
  EXPECT_DOUBLE_EQ(lost.seconds, 9.0 + 4.5);
}

TEST(LostWork, ARunThatEndedInOrderLostNothing) {
  const std::string log = R"({"event":"start","step":0}
{"event":"step","step":1,"tokens":10,"elapsed_s":5.0}
{"event":"save","step":1,"elapsed_s":6.5}
{"event":"end","step":1,"reason":"walltime","elapsed_s":6.6}
)";
  const LostWork lost = lost_work(log, 1);
  EXPECT_EQ(lost.last_step, 1);
  EXPECT_EQ(lost.tokens, 0);
  EXPECT_EQ(lost.seconds, 0);
}

TEST(LostWork, EveryTenthStepStandsForTheOthers) {
  const std::string log = R"({"event":"start","step":0}
{"event":"step","step":10,"tokens":8,"step_s":0.5}
{"event":"save","step":15}
{"event":"step","step":20,"tokens":8,"step_s":0.5}
{"event":"step","step":30,"tokens":8,"step_s":0.5}
)";
  const LostWork lost = lost_work(log, 15);
  EXPECT_EQ(lost.last_step, 30);
  EXPECT_EQ(lost.tokens, 15 * 8);
  EXPECT_DOUBLE_EQ(lost.seconds, 1.0);  // logs of before lack the clock: what their lines say
}

TEST(LostWork, WhatIsNoLogOfOursSaysNothing) {
  for (const char* log : {"", "\n\n", "{\"event\":\"start\"", "no json\n", "{\"event\":\"step\"}\n",
                          "{\"event\":\"start\"}\n[1]\n{\"event\":5}\n\x80\n{\"step\":\"x\"}\n"}) {
    const LostWork lost = lost_work(log, 0);
    EXPECT_EQ(lost.last_step, 0) << log;
    EXPECT_EQ(lost.tokens, 0) << log;
  }
}

}  // namespace
}  // namespace weft

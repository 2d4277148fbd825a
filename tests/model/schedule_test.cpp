#include "model/schedule.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

std::vector<std::vector<Instruction>> all_stages(ScheduleKind kind, int stages, int n_micro) {
  std::vector<std::vector<Instruction>> all;
  for (int s = 0; s < stages; ++s) all.push_back(schedule(kind, stages, s, n_micro));
  return all;
}

TEST(Schedule, IsFreeOfDeadlockAndHasTheTextbookBubble) {
  for (ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b})
    for (int stages = 1; stages <= 5; ++stages)
      for (int m = 1; m <= 9; ++m) {
        const auto all = all_stages(kind, stages, m);
        EXPECT_EQ(check_schedule(all), "");
        EXPECT_NEAR(bubble_fraction(all, std::vector<StageCost>(all.size())),
                    (stages - 1.0) / (m + stages - 1.0), 1e-12)
            << stages << " " << m;
      }
}

TEST(Schedule, HoldsNoMoreSlotsThanItSays) {
  for (ScheduleKind kind : {ScheduleKind::gpipe, ScheduleKind::one_f_one_b})
    for (int stages = 1; stages <= 4; ++stages)
      for (int stage = 0; stage < stages; ++stage)
        for (int m = 1; m <= 8; ++m) {
          int held = 0, most = 0;
          for (const Instruction& in : schedule(kind, stages, stage, m)) {
            if (in.op == Op::forward) most = std::max(most, ++held);
            if (in.op == Op::backward) --held;
          }
          EXPECT_EQ(most, slots_needed(kind, stages, stage, m));
        }
}

TEST(Schedule, UnevenStagesIdleLonger) {
  const auto all = all_stages(ScheduleKind::gpipe, 2, 4);
  const StageCost costs[] = {{1, 2}, {2, 4}};
  // Stage 1 works 4·2·3 = 24, after one forward of stage 0 and before its one backward: 27 in all;
  // stage 0 works 12 of them.
  EXPECT_NEAR(bubble_fraction(all, costs), 1 - (24 + 12) / (2 * 27.0), 1e-12);
}

TEST(Schedule, WrongOrderIsFound) {
  auto all = all_stages(ScheduleKind::one_f_one_b, 2, 4);
  std::swap(all[0][0], all[0][2]);  // a receive of a gradient that its own forward must come before
  std::erase(all[1], Instruction{Op::send_backward, 1});
  EXPECT_NE(check_schedule(all), "");
}

TEST(Schedule, UnknownNameListsTheKnown) {
  EXPECT_THROW(schedule_kind("zero"), UserError);
  EXPECT_EQ(to_text(schedule(ScheduleKind::one_f_one_b, 2, 0, 2)), "F0 sF0 F1 sF1 rB0 B0 rB1 B1");
}

}  // namespace
}  // namespace weft

// The lists of all schedules, their slots and bubbles against hand-computed values, and for every
// kind of fault that the check knows a planted one, which it must name.
#include "model/schedule_check.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

using enum ScheduleKind;

std::vector<StageCost> equal_costs(const std::vector<StageSchedule>& all, int chunks = 1) {
  return std::vector<StageCost>(all.size() * static_cast<std::size_t>(chunks));
}

// ---- what the lists are

TEST(Schedule, ListsAreThoseOfThePapers) {
  EXPECT_EQ(to_text(schedule(gpipe, 2, 0, 2)), "F0 sF0 F1 sF1 rB0 B0 rB1 B1");
  EXPECT_EQ(to_text(schedule(one_f_one_b, 2, 0, 3)), "F0 sF0 F1 sF1 rB0 B0 F2 sF2 rB1 B1 rB2 B2");
  EXPECT_EQ(to_text(schedule(one_f_one_b, 2, 1, 2)), "rF0 F0 B0 sB0 rF1 F1 B1 sB1");
  // Stage 0 does a weight part behind every input part, stage 1 one micro-batch later.
  EXPECT_EQ(to_text(schedule(zb_h1, 2, 0, 2)), "F0 sF0 F1 sF1 rB0 Bi0 Bw0 rB1 Bi1 Bw1");
  EXPECT_EQ(to_text(schedule(zb_h1, 2, 1, 2)), "rF0 F0 Bi0 sB0 rF1 F1 Bi1 sB1 Bw0 Bw1");
  // Stage 1 holds chunk 0 and, behind it, stage 0 chunk 1.
  EXPECT_EQ(to_text(schedule(interleaved, 2, 1, 2, 2)),
            "rF0 F0 sF0 rF1 F1 sF1 rF0.1 F0.1 B0.1 sB0.1 rF1.1 F1.1 B1.1 sB1.1 "
            "rB0 B0 sB0 rB1 B1 sB1");
  EXPECT_EQ(to_text(schedule(forward_only, 2, 0, 2, 2)),
            "F0 sF0 F1 sF1 rF0.1 F0.1 sF0.1 "
            "rF1.1 F1.1 sF1.1");
}

TEST(Schedule, TheWordsOfAnOption) {
  EXPECT_EQ(schedule_kind("gpipe"), gpipe);
  EXPECT_EQ(schedule_kind("1f1b"), one_f_one_b);
  EXPECT_THROW(schedule_kind("zero"), UserError);
  EXPECT_THROW(schedule(interleaved, 2, 0, 3, 2), Error) << "3 micro-batches in groups of 2";
  EXPECT_THROW(schedule(one_f_one_b, 2, 0, 4, 2), Error) << "1F1B has one chunk";
}

// ---- that they run, how long, in how many slots

struct Case {
  ScheduleKind kind;
  int stages, chunks, n_micro;
};
std::vector<Case> all_cases() {
  std::vector<Case> cases;
  for (ScheduleKind kind : {gpipe, one_f_one_b, zb_h1, interleaved, forward_only})
    for (int chunks : {1, 2, 3})
      for (int stages = chunks == 1 ? 1 : 2; stages <= 5; ++stages)
        for (int m = 1; m <= 12; ++m)
          if ((chunks == 1 || kind == interleaved || kind == forward_only) &&
              (kind != interleaved || m % stages == 0))
            cases.push_back({kind, stages, chunks, m});
  return cases;
}

TEST(Schedule, AllRunToTheirEnd) {
  for (const Case& c : all_cases())
    EXPECT_EQ(check_schedule(pipeline_schedule(c.kind, c.stages, c.n_micro, c.chunks)), "")
        << static_cast<int>(c.kind) << " " << c.stages << " " << c.chunks << " " << c.n_micro;
}

// With a slot less on any stage a micro-batch would come into one that another has not left.
TEST(Schedule, NoStageHasASlotTooMany) {
  for (const Case& c : all_cases()) {
    auto all = pipeline_schedule(c.kind, c.stages, c.n_micro, c.chunks);
    for (std::size_t s = 0; s < all.size(); ++s) {
      if (all[s].slots == 1) continue;
      --all[s].slots;
      EXPECT_NE(check_schedule(all).find("overwrites slot"), std::string::npos)
          << static_cast<int>(c.kind) << " " << c.stages << " " << c.chunks << " " << c.n_micro;
      ++all[s].slots;
    }
  }
}

TEST(Schedule, HoldsAsManyMicroBatchesAsThePapersSay) {
  for (int stages = 1; stages <= 4; ++stages)
    for (int s = 0; s < stages; ++s) {
      EXPECT_EQ(slots_needed(schedule(gpipe, stages, s, 12)), 12);
      EXPECT_EQ(slots_needed(schedule(one_f_one_b, stages, s, 12)), stages - s);
      EXPECT_EQ(slots_needed(schedule(one_f_one_b, stages, s, 1)), 1);
      EXPECT_EQ(slots_needed(schedule(zb_h1, stages, s, 12)), stages);
      EXPECT_EQ(slots_needed(schedule(forward_only, stages, s, 12)), 1);
    }
}

// Of p stages and m micro-batches, in units of a forward, an input part and a weight part of 1
// each: GPipe and 1F1B wait (p - 1)·3, interleaved 1F1B a v-th of it, ZB-H1 (p - 1)(F + Bi - Bw).
TEST(Bubble, IsTheTextbooks) {
  for (const Case& c : all_cases()) {
    if (c.kind == forward_only || (c.kind == zb_h1 && c.n_micro < c.stages)) continue;
    const auto all = pipeline_schedule(c.kind, c.stages, c.n_micro, c.chunks);
    const double work = 3.0 * c.n_micro * c.chunks,
                 idle = (c.kind == zb_h1 ? 1 : 3) * (c.stages - 1.0);
    EXPECT_NEAR(bubble_fraction(all, equal_costs(all, c.chunks)), idle / (work + idle), 1e-12)
        << static_cast<int>(c.kind) << " " << c.stages << " " << c.chunks << " " << c.n_micro;
  }
}

// Stage 1 works 4·2·3 = 24, after one forward of stage 0 and before its one backward: 27 in all;
// stage 0 works 12 of them.
TEST(Bubble, UnevenStagesIdleLonger) {
  const auto all = pipeline_schedule(gpipe, 2, 4);
  const StageCost costs[] = {{1, 1, 1}, {2, 2, 2}};
  EXPECT_NEAR(bubble_fraction(all, costs), 1 - (24 + 12) / (2 * 27.0), 1e-12);
}

// One micro-batch on two stages, F 1, Bi 2, Bw 4, and what is recomputed 8. At once: stage 1 is at
// work from 1 to 16, stage 0 from 16 to 30. In parts, both of which recompute: stage 1 sends its
// gradient at 12 and works until 24; stage 0 from 12 until 34.
TEST(Bubble, RecomputationIsDoneForEachPart) {
  const std::vector<StageCost> costs(2, {1, 2, 4, 8});
  EXPECT_NEAR(bubble_fraction(pipeline_schedule(one_f_one_b, 2, 1), costs), 1 - 30 / (2 * 30.0),
              1e-12);
  EXPECT_NEAR(bubble_fraction(pipeline_schedule(zb_h1, 2, 1), costs), 1 - 46 / (2 * 34.0), 1e-12);
}

// ---- planted faults

struct Fault {
  const char* what;
  std::vector<std::vector<Instruction>> lists;  // one a stage
  std::vector<int> slots;
  const char* sentence;
};

constexpr Op rF = Op::recv_activation, F = Op::forward, sF = Op::send_activation,
             rB = Op::recv_gradient, B = Op::backward, Bi = Op::backward_input,
             Bw = Op::backward_weight, sB = Op::send_gradient;

// One micro-batch after the other on two stages.
std::vector<Instruction> of_first(int m) { return {{F, m}, {sF, m}, {rB, m}, {B, m}}; }
std::vector<Instruction> of_last(int m) { return {{rF, m}, {F, m}, {B, m}, {sB, m}}; }
std::vector<Instruction> operator+(std::vector<Instruction> a, const std::vector<Instruction>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

TEST(Schedule, EveryFaultIsNamed) {
  const std::vector<Fault> faults = {
      {"a slot overwritten before its backward has read it",
       {{{F, 0}, {sF, 0}, {F, 1}, {sF, 1}, {rB, 0}, {B, 0}, {rB, 1}, {B, 1}},
        of_last(0) + of_last(1)},
       {1, 1},
       "stage 0, instruction 2 (forward of micro-batch 1, chunk 0) overwrites slot 0 of 1, whose "
       "micro-batch 0 has not gone backward"},
      {"by what is received",
       {of_first(0) + of_first(1),
        {{rF, 0}, {F, 0}, {rF, 1}, {B, 0}, {sB, 0}, {F, 1}, {B, 1}, {sB, 1}}},
       {1, 1},
       "stage 1, instruction 2 (recv activation of micro-batch 1, chunk 0) overwrites slot 0 of 1, "
       "whose micro-batch 0 has not gone backward"},
      {"before its weight part has read it",
       {of_first(0) + of_first(1),
        {{rF, 0}, {F, 0}, {Bi, 0}, {sB, 0}, {rF, 1}, {F, 1}, {Bi, 1}, {sB, 1}, {Bw, 0}, {Bw, 1}}},
       {1, 1},
       "stage 1, instruction 4 (recv activation of micro-batch 1, chunk 0) overwrites slot 0 of 1, "
       "whose micro-batch 0 has had no weight part of its backward"},
      {"before it is sent on",
       {{{F, 0}, {F, 1}, {sF, 0}, {sF, 1}}, {{rF, 0}, {F, 0}, {rF, 1}, {F, 1}}},
       {1, 1},
       "stage 0, instruction 1 (forward of micro-batch 1, chunk 0) overwrites slot 0 of 1, whose "
       "micro-batch 0 has not been sent on"},
      {"before its gradient is sent",
       {of_first(0) + of_first(1), {{rF, 0}, {F, 0}, {B, 0}, {rF, 1}, {F, 1}, {B, 1}, {sB, 1}}},
       {1, 1},
       "stage 1, instruction 3 (recv activation of micro-batch 1, chunk 0) overwrites slot 0 of 1, "
       "whose micro-batch 0 has not had its gradient sent"},
      {"a receive without a buffer",
       {{{F, 0}, {sF, 0}, {rB, 1}, {rB, 0}, {B, 0}}, of_last(0)},
       {2, 1},
       "stage 0, instruction 2 (recv gradient of micro-batch 1, chunk 0) has no buffer: it comes "
       "before its forward"},
      {"a second receive into a buffer in use",
       {{{F, 0}, {sF, 0}, {rB, 0}, {rB, 0}, {B, 0}}, of_last(0)},
       {1, 1},
       "stage 0, instruction 3 (recv gradient of micro-batch 0, chunk 0) is done a second time"},
      {"a receive from nobody",
       {{{rF, 0}, {F, 0}}},
       {1},
       "stage 0, instruction 0 (recv activation of micro-batch 0, chunk 0) has no sender"},
      {"a send to nobody",
       {{{F, 0}, {sF, 0}}},
       {1},
       "stage 0, instruction 1 (send activation of micro-batch 0, chunk 0) has no receiver"},
      {"a forward before its activation",
       {of_first(0), {{F, 0}, {rF, 0}, {B, 0}, {sB, 0}}},
       {1, 1},
       "stage 1, instruction 0 (forward of micro-batch 0, chunk 0) comes before its activation is "
       "received"},
      {"a backward before its forward",
       {{{B, 0}, {F, 0}}},
       {1},
       "stage 0, instruction 0 (backward of micro-batch 0, chunk 0) comes before its forward"},
      {"of another micro-batch of the slot",
       {{{F, 0}, {B, 2}, {B, 0}}},
       {2},
       "stage 0, instruction 1 (backward of micro-batch 2, chunk 0) comes before its forward"},
      {"a backward before its gradient",
       {{{F, 0}, {sF, 0}, {B, 0}, {rB, 0}}, of_last(0)},
       {1, 1},
       "stage 0, instruction 2 (backward of micro-batch 0, chunk 0) comes before its gradient is "
       "received"},
      {"a weight part before its input part",
       {{{F, 0}, {Bw, 0}, {Bi, 0}}},
       {1},
       "stage 0, instruction 1 (backward weight of micro-batch 0, chunk 0) comes before its input "
       "part"},
      {"a whole backward behind a part of it",
       {{{F, 0}, {Bi, 0}, {B, 0}}},
       {1},
       "stage 0, instruction 2 (backward of micro-batch 0, chunk 0) is done a second time"},
      {"a gradient sent before it is there",
       {of_first(0), {{rF, 0}, {F, 0}, {sB, 0}, {B, 0}}},
       {1, 1},
       "stage 1, instruction 2 (send gradient of micro-batch 0, chunk 0) comes before its "
       "backward"},
      {"a micro-batch left without its weight part",
       {{{F, 0}, {Bi, 0}, {F, 1}, {Bi, 1}, {Bw, 1}}},
       {2},
       "stage 0, instruction 1 (backward input of micro-batch 0, chunk 0) is the last of its "
       "micro-batch, which has had no weight part of its backward"},
      {"two stages that wait for each other",
       {{{F, 0}, {sF, 0}, {rB, 0}, {B, 0}, {F, 1}, {sF, 1}, {rB, 1}, {B, 1}},
        {{rF, 0}, {F, 0}, {rF, 1}, {F, 1}, {B, 0}, {sB, 0}, {B, 1}, {sB, 1}}},
       {1, 2},
       "stage 0, instruction 2 (recv gradient of micro-batch 0, chunk 0) waits for stage 1, "
       "instruction 5 (send gradient of micro-batch 0, chunk 0), which itself waits at instruction "
       "2"},
      {"a send that is missing",
       {of_first(0) + of_first(1), {{rF, 0}, {F, 0}, {rF, 1}, {F, 1}}},
       {1, 2},
       "stage 0, instruction 2 (recv gradient of micro-batch 0, chunk 0) waits for stage 1, which "
       "has no send gradient of micro-batch 0, chunk 0"},
      {"a message that nobody receives",
       {{{F, 0}, {sF, 0}}, {}},
       {1, 1},
       "stage 0, instruction 1 (send activation of micro-batch 0, chunk 0) is never received"},
      // Messages may come in another order than they were sent, but a buffer that is sent from is
      // not free before its receiver has come that far: here stage 1 wants micro-batch 1 first.
      {"a buffer that is not free before its message is received",
       {{{F, 0}, {sF, 0}, {F, 1}, {sF, 1}}, {{rF, 1}, {F, 1}, {rF, 0}, {F, 0}}},
       {1, 2},
       "stage 0, instruction 2 (forward of micro-batch 1, chunk 0) waits until what it sent has "
       "left its buffer, for stage 1, instruction 2 (recv activation of micro-batch 0, chunk 0), "
       "which itself waits at instruction 0"},
      {"a chunk that is not the one whose turn it is",
       {{{F, 0}, {sF, 0}, {F, 0, 1}, {rF, 0, 1}, {sF, 0, 1}},
        {{rF, 0}, {F, 0}, {sF, 0}, {rF, 0, 1}, {F, 0, 1}}},
       {1, 1},
       "stage 0, instruction 2 (forward of micro-batch 0, chunk 1) comes before its activation is "
       "received"}};
  for (const Fault& fault : faults) {
    std::vector<StageSchedule> all;
    for (std::size_t s = 0; s < fault.lists.size(); ++s)
      all.push_back({fault.lists[s], fault.slots[s]});
    EXPECT_EQ(check_schedule(all), fault.sentence) << fault.what;
  }
}

// With a slot for each the same order is fine: the two buffers do not wait for each other.
TEST(Schedule, MessagesMayOvertake) {
  const std::vector<StageSchedule> all = {{{{F, 0}, {sF, 0}, {F, 1}, {sF, 1}}, 2},
                                          {{{rF, 1}, {F, 1}, {rF, 0}, {F, 0}}, 2}};
  EXPECT_EQ(check_schedule(all), "");
}

// One instruction less, anywhere in any list, is always found.
TEST(Schedule, NoInstructionIsSuperfluous) {
  for (ScheduleKind kind : {gpipe, one_f_one_b, zb_h1, interleaved}) {
    const auto whole = pipeline_schedule(kind, 3, 6, kind == interleaved ? 2 : 1);
    for (std::size_t s = 0; s < whole.size(); ++s)
      for (std::size_t i = 0; i < whole[s].list.size(); ++i) {
        auto all = whole;
        all[s].list.erase(all[s].list.begin() + static_cast<std::ptrdiff_t>(i));
        EXPECT_NE(check_schedule(all), "") << static_cast<int>(kind) << ": stage " << s
                                           << " without " << to_text(whole[s].list[i]);
      }
  }
}

}  // namespace
}  // namespace weft

// Proves a pipeline schedule before it runs, and says how long its stages idle: each stage's list
// is walked with its slots, then all of them are run against each other in simulated time.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "model/schedule.h"

namespace weft {

// What a stage does, and the slots of each of its chunks (model/schedule.h: slots_needed).
struct StageSchedule {
  std::vector<Instruction> list;
  int slots = 1;
};

// The whole pipeline's of a kind, one a stage, with as many slots as each needs.
std::vector<StageSchedule> pipeline_schedule(ScheduleKind kind, int stages, int n_micro,
                                             int chunks = 1);

// Empty when the pipeline runs to its end: every slot is written, read and left in order, every
// receive meets its send, and no stage waits for ever, where a send blocks nobody until its buffer
// is needed again and then until it has been received. Else one sentence that names the stage, the
// number of its instruction (from 0) and the instruction. `all` holds one a stage.
std::string check_schedule(std::span<const StageSchedule> all);

// How long a virtual stage takes for one micro-batch, in any unit.
struct StageCost {
  double forward = 1;
  double backward_input = 1, backward_weight = 1;
  double recompute = 0;  // what either part, and both at once, first do again

  double backward() const { return recompute + backward_input + backward_weight; }
};
// Share of a step in which a stage idles, averaged over the stages: simulated from lists that
// check_schedule lets through. One cost a virtual stage.
double bubble_fraction(std::span<const StageSchedule> all, std::span<const StageCost> costs);

}  // namespace weft

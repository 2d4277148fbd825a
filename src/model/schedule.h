// Pipeline schedules as data: a list of typed instructions per stage. GPipe and 1F1B differ only in
// the list.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "core/fields.h"

namespace weft {

enum class Op : std::uint8_t {
  recv_forward,
  forward,
  send_forward,
  recv_backward,
  backward,
  send_backward
};

struct Instruction {
  Op op;
  int micro_batch;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};

enum class ScheduleKind : std::uint8_t { gpipe, one_f_one_b, forward_only };

Words pipeline_schedules();                           // what --pipeline-schedule may be
ScheduleKind schedule_kind(const std::string& name);  // UserError with that list otherwise

// What stage `stage` of `stages` does for `n_micro` micro-batches of one step.
std::vector<Instruction> schedule(ScheduleKind kind, int stages, int stage, int n_micro);

// Micro-batches whose activations a stage must hold at once.
int slots_needed(ScheduleKind kind, int stages, int stage, int n_micro);

// Empty when every receive meets its send and no stage waits for ever, with sends that do not block
// until their buffer is needed again; else what is wrong. `all` holds one list a stage.
std::string check_schedule(const std::vector<std::vector<Instruction>>& all);

// How long a stage takes for one micro-batch, in any unit.
struct StageCost {
  double forward = 1, backward = 2;
};
// TimeShare of a step in which a stage idles, averaged over the stages: simulated from the lists.
// One cost a stage.
double bubble_fraction(const std::vector<std::vector<Instruction>>& all,
                       std::span<const StageCost> costs);

std::string to_text(const std::vector<Instruction>& list);  // "rF0 F0 sF0 …"

}  // namespace weft

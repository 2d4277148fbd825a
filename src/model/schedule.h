// Pipeline schedules as data: a list of typed instructions a stage. GPipe, 1F1B, interleaved 1F1B
// and zero-bubble differ only in the list; model/schedule_check proves a list before it runs,
// model/pipeline runs it.
//
// A stage holds one chunk of the model or several. The chunks of all stages in the order in which a
// micro-batch goes through them are the virtual stages: chunk · stages + stage.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/fields.h"

namespace weft {

enum class Op : std::uint8_t {
  recv_activation,
  forward,
  send_activation,
  recv_gradient,    // from here on: backward
  backward,         // both parts at once
  backward_input,   // gradients of what the chunk took in: all that the stage before waits for
  backward_weight,  // gradients of its matrices; later than backward_input
  send_gradient
};

struct Instruction {
  Op op;
  int micro_batch;
  int chunk = 0;
  friend bool operator==(const Instruction&, const Instruction&) = default;
};
std::string to_text(const Instruction& instruction);  // "recv gradient of micro-batch 2, chunk 0"
// "rF0 F0 sF0 … rB0 B0 sB0"; Bi and Bw are the parts of B, F0.1 is of chunk 1.
std::string to_text(const std::vector<Instruction>& list);

enum class ScheduleKind : std::uint8_t {
  gpipe,        // Huang et al. 2018: all forwards, then all backwards
  one_f_one_b,  // Narayanan et al. 2021: a backward as soon as there is one
  interleaved,  // likewise: 1F1B over several chunks a stage
  zb_h1,        // Qi et al. 2023: 1F1B whose weight parts fill the end, in as much memory
  forward_only
};

Words pipeline_schedules();                           // what --pipeline-schedule may be
ScheduleKind schedule_kind(const std::string& name);  // UserError with that list otherwise

// What stage `stage` of `stages` does for `n_micro` micro-batches of one step. Several chunks:
// interleaved and forward_only, of two stages or more. Interleaved takes its micro-batches in
// groups of as many as there are stages.
std::vector<Instruction> schedule(ScheduleKind kind, int stages, int stage, int n_micro,
                                  int chunks = 1);

// Whether a list has parts of a backward on their own, for which a stage keeps more.
bool splits_backward(const std::vector<Instruction>& list);

// Micro-batch m of a chunk lives in slot m mod slots of the chunk's. So many slots that no
// micro-batch of the list comes into one that another has not left, the same for each chunk.
int slots_needed(const std::vector<Instruction>& list);

}  // namespace weft

// What communication adds to a training step on GPUs, before it is run: volumes of model/sizes over
// bandwidths of the machine's description.
#pragma once

#include <string>
#include <vector>

#include "machine/bandwidth.h"
#include "model/sizes.h"

namespace weft {

// A training step of a model on a machine: ranks with a GPU each, a node's in rank order.
struct StepOnMachine {
  const ModelConfig& config;
  const Machine& machine;
  GridShape grid;
  std::int64_t batch_size = 1, micro_batch_size = 1, T = 1;  // sequences of the grid, of a rank
  Recompute recompute = Recompute::none;
  DType act = DType::bf16;
  double flops_per_s = 0;  // of a GPU, while it computes
};

// Where the groups of one kind are; ranks_per_node: of the machine's nodes that are used.
GroupPlace place_of(GridGroup group, const GridShape& grid, std::int64_t ranks_per_node);

// Of one group, on the stage that waits longest.
struct GroupTime {
  GridGroup group;
  int ranks = 1;
  DescribedBandwidth bandwidth;
  double wire_bytes = 0;  // through a rank's link, one way
  double seconds = 0;     // of that at the bandwidth
  double exposed_s = 0;   // of them, those in which the rank computes nothing
};

struct CommTime {
  std::vector<GroupTime> groups;  // that have anything to say
  double compute_s = 0;           // of the stage, executed FLOPs over the rate
  double bubble_s = 0;            // (pp - 1) / n_micro of it: 1F1B's, of stages alike
  double exposed_s = 0;
  double share() const { return exposed_s / (compute_s + bubble_s + exposed_s); }
};

// Across nodes the bandwidth is all-reduce's, also of what nobody published (messages).
// By bandwidth alone: no call's latency counts, no contention between groups of different kinds.
//   what the next work waits for     exposed: all of it, or what outlasts the product beside it
//                                    (StepTraffic::flops_beside)
//   data-parallel buckets            what outlasts the last micro-batch's backward, as each is
//                                    summed while the rest of it runs
//   messages between stages          2 (pp - 1) of them, the pipeline's filling and emptying; of
//                                    the others what outlasts a micro-batch's forward or backward
// UserError where the machine's description lacks a bandwidth that the grid needs.
CommTime communication_time(const StepOnMachine& step);

}  // namespace weft

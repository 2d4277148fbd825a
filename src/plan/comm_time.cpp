#include "plan/comm_time.h"

#include <algorithm>
#include <map>

#include "core/check.h"

namespace weft {
namespace {

// Distance in ranks between neighbours of a group, and how many they are.
struct Axis {
  int stride, size;
};
Axis axis_of(GridGroup group, const GridShape& g) {
  switch (group) {
    case GridGroup::tp:
      return {1, g.tp};
    case GridGroup::pp:
      return {g.tp, g.pp};
    case GridGroup::dp:
      return {g.tp * g.pp, g.dp};
    case GridGroup::replica:
      return {1, g.tp * g.pp};
    case GridGroup::tied_ends:
      return {g.tp * (g.pp - 1), std::min(g.pp, 2)};
    case GridGroup::world:
      break;
  }
  return {1, g.ranks()};
}

// Of what is not published a sum's stands: it is what a node's NICs carried.
const char* collective_of(CallKind call) {
  return call == CallKind::all_gather ? "all_gather" : "all_reduce";
}

class StageComm {
 public:
  StageComm(const StepOnMachine& step, int pp_rank) : step_(step) {
    const GridShape& g = step.grid;
    const std::int64_t rows = (step.batch_size + g.dp - 1) / g.dp;
    cut_ = {.grid = g,
            .tp_rank = 0,
            .pp_rank = pp_rank,
            .B = std::min(step.micro_batch_size, rows),
            .T = step.T,
            .n_micro = (rows + step.micro_batch_size - 1) / step.micro_batch_size,
            .recompute = step.recompute,
            .act = step.act,
            .splits_backward = false,
            .chunks = 1,
            .device = {DeviceType::cuda, 0}};
    const StageCost cost =
        stage_costs(step.config, g.pp, step.T, step.recompute)[static_cast<std::size_t>(pp_rank)];
    const double each = static_cast<double>(cut_.B) / g.tp / step.flops_per_s;
    forward_s_ = cost.forward * each;
    backward_s_ = cost.backward() * each;
  }

  CommTime time() const {
    const auto n = static_cast<double>(cut_.n_micro);
    CommTime t;
    t.compute_s = n * (forward_s_ + backward_s_);
    t.bubble_s = (step_.grid.pp - 1) * (forward_s_ + backward_s_);
    std::map<GridGroup, GroupTime> groups;
    for (const StepTraffic& traffic : step_traffic(step_.config, cut_)) {
      GroupTime& group = groups[traffic.group];
      add(group, traffic);
    }
    for (const auto& [key, group] : groups) {
      t.exposed_s += group.exposed_s;
      t.groups.push_back(group);
    }
    return t;
  }

 private:
  void add(GroupTime& to, const StepTraffic& traffic) const {
    const Axis axis = axis_of(traffic.group, step_.grid);
    const std::string name = kGridGroupNames[static_cast<std::size_t>(traffic.group)];
    const auto bandwidth = described_bandwidth(
        step_.machine, collective_of(traffic.call),
        place_of(traffic.group, step_.grid, std::max<std::int64_t>(1, step_.machine.node.gpus)));
    CHECK_USER(bandwidth, "{}: its description has no bandwidth for the {} group of {} ranks",
               step_.machine.name, name, axis.size);
    const double bytes = wire_bytes(traffic.call, static_cast<double>(traffic.bytes), axis.size);
    const double seconds = bytes / (bandwidth->gb_per_s * 1e9);
    to.group = traffic.group;
    to.ranks = axis.size;
    if (bytes > to.wire_bytes) to.bandwidth = *bandwidth;  // of the larger part, where they differ
    to.wire_bytes += bytes;
    to.seconds += seconds;
    to.exposed_s += exposed(traffic, seconds);
  }
  double exposed(const StepTraffic& traffic, double seconds) const {
    if (traffic.waits)
      return std::max(0.0, seconds - static_cast<double>(traffic.n_calls) * traffic.flops_beside /
                                         step_.flops_per_s);
    if (traffic.call != CallKind::send) return std::max(0.0, seconds - backward_s_);
    const auto n = static_cast<double>(cut_.n_micro);
    const double one = seconds / n;
    // Each way fills or empties the pipeline once; a stage at an end sends one way alone, and waits
    // for the other's.
    const bool is_end = cut_.pp_rank == 0 || cut_.pp_rank == step_.grid.pp - 1;
    const double ramps = (is_end ? 2 : 1) * (step_.grid.pp - 1);
    return ramps * one + n * std::max(0.0, one - std::min(forward_s_, backward_s_));
  }

  const StepOnMachine& step_;
  StepCut cut_;
  double forward_s_ = 0, backward_s_ = 0;
};

}  // namespace

GroupPlace place_of(GridGroup group, const GridShape& grid, std::int64_t ranks_per_node) {
  const Axis axis = axis_of(group, grid);
  std::map<std::int64_t, std::int64_t> on_node;
  for (int i = 0; i < axis.size; ++i) ++on_node[i * axis.stride / ranks_per_node];
  GroupPlace place;
  place.nodes = std::ssize(on_node);
  place.ranks_on_node = on_node.begin()->second;
  place.beside = std::max<std::int64_t>(
      1, std::min<std::int64_t>(ranks_per_node, grid.ranks()) / place.ranks_on_node);
  return place;
}

CommTime communication_time(const StepOnMachine& step) {
  CHECK(step.flops_per_s > 0, "{} FLOP/s", step.flops_per_s);
  CommTime slowest;
  double most = -1;
  for (int stage = 0; stage < step.grid.pp; ++stage) {
    const CommTime t = StageComm(step, stage).time();
    const double all = t.compute_s + t.bubble_s + t.exposed_s;
    if (all > most) most = all, slowest = t;
  }
  return slowest;
}

}  // namespace weft

#include "model/schedule.h"

#include <algorithm>
#include <map>

#include "core/check.h"

namespace weft {
namespace {

void add_forward(std::vector<Instruction>& list, int stages, int stage, int m) {
  if (stage > 0) list.push_back({Op::recv_forward, m});
  list.push_back({Op::forward, m});
  if (stage < stages - 1) list.push_back({Op::send_forward, m});
}

void add_backward(std::vector<Instruction>& list, int stages, int stage, int m) {
  if (stage < stages - 1) list.push_back({Op::recv_backward, m});
  list.push_back({Op::backward, m});
  if (stage > 0) list.push_back({Op::send_backward, m});
}

bool is_recv(Op op) { return op == Op::recv_forward || op == Op::recv_backward; }
bool is_send(Op op) { return op == Op::send_forward || op == Op::send_backward; }

// Runs all stages in simulated time; returns the end of each, or an empty vector with `stuck` set
// where no stage can go on.
struct Simulation {
  std::vector<double> end, busy;
  std::string stuck;
};

Simulation simulate(const std::vector<std::vector<Instruction>>& all,
                    std::span<const StageCost> costs) {
  const int stages = static_cast<int>(all.size());
  Simulation result;
  result.end.assign(all.size(), 0);
  result.busy.assign(all.size(), 0);
  std::vector<std::size_t> next(all.size(), 0);
  std::map<std::tuple<bool, int, int>, double>
      sent;  // (forward?, receiving stage, micro-batch) -> when
  for (bool moved = true; moved;) {
    moved = false;
    for (int s = 0; s < stages; ++s) {
      const auto i = static_cast<std::size_t>(s);
      while (next[i] < all[i].size()) {
        const Instruction in = all[i][next[i]];
        if (is_recv(in.op)) {
          const auto message = sent.find({in.op == Op::recv_forward, s, in.micro_batch});
          if (message == sent.end()) break;
          result.end[i] = std::max(result.end[i], message->second);
          sent.erase(message);
        } else if (is_send(in.op)) {
          const bool forward = in.op == Op::send_forward;
          sent[{forward, s + (forward ? 1 : -1), in.micro_batch}] = result.end[i];
        } else {
          const double cost = in.op == Op::forward ? costs[i].forward : costs[i].backward;
          result.end[i] += cost;
          result.busy[i] += cost;
        }
        ++next[i];
        moved = true;
      }
    }
  }
  for (std::size_t i = 0; i < all.size(); ++i)
    if (next[i] < all[i].size() && result.stuck.empty())
      result.stuck = fmt::format("stage {} waits for ever at instruction {} of {}", i, next[i],
                                 to_text(all[i]));
  if (result.stuck.empty() && !sent.empty())
    result.stuck = fmt::format("{} messages are sent and never received", sent.size());
  return result;
}

}  // namespace

namespace {
constexpr Word<ScheduleKind> kSchedules[] = {{"gpipe", ScheduleKind::gpipe},
                                             {"1f1b", ScheduleKind::one_f_one_b}};
}  // namespace

Words pipeline_schedules() { return Words(kSchedules, {"interleaved", "zb-h1"}); }

ScheduleKind schedule_kind(const std::string& name) {
  return value_of(kSchedules, "--pipeline-schedule", name);
}

std::vector<Instruction> schedule(ScheduleKind kind, int stages, int stage, int n_micro) {
  std::vector<Instruction> list;
  if (kind == ScheduleKind::one_f_one_b) {
    const int warmup = std::min(stages - stage - 1, n_micro);
    for (int m = 0; m < warmup; ++m) add_forward(list, stages, stage, m);
    for (int m = warmup; m < n_micro; ++m) {
      add_forward(list, stages, stage, m);
      add_backward(list, stages, stage, m - warmup);
    }
    for (int m = n_micro - warmup; m < n_micro; ++m) add_backward(list, stages, stage, m);
    return list;
  }
  for (int m = 0; m < n_micro; ++m) add_forward(list, stages, stage, m);
  if (kind == ScheduleKind::gpipe)
    for (int m = 0; m < n_micro; ++m) add_backward(list, stages, stage, m);
  return list;
}

int slots_needed(ScheduleKind kind, int stages, int stage, int n_micro) {
  if (kind == ScheduleKind::gpipe) return n_micro;
  if (kind == ScheduleKind::forward_only) return std::min(n_micro, 2);
  return std::min(stages - stage, n_micro);
}

std::string check_schedule(const std::vector<std::vector<Instruction>>& all) {
  return simulate(all, std::vector<StageCost>(all.size())).stuck;
}

double bubble_fraction(const std::vector<std::vector<Instruction>>& all,
                       std::span<const StageCost> costs) {
  CHECK(costs.size() == all.size(), "{} costs for {} stages", costs.size(), all.size());
  const Simulation run = simulate(all, costs);
  CHECK(run.stuck.empty(), "{}", run.stuck);
  const double end = *std::max_element(run.end.begin(), run.end.end());
  double busy = 0;
  for (double b : run.busy) busy += b;
  return 1 - busy / (end * static_cast<double>(all.size()));
}

std::string to_text(const std::vector<Instruction>& list) {
  static constexpr const char* kNames[] = {"rF", "F", "sF", "rB", "B", "sB"};
  std::string out;
  for (const Instruction& in : list)
    out += fmt::format("{}{}{}", out.empty() ? "" : " ", kNames[static_cast<int>(in.op)],
                       in.micro_batch);
  return out;
}

}  // namespace weft

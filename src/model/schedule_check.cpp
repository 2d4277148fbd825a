#include "model/schedule_check.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>
#include <tuple>

#include "core/check.h"

namespace weft {
namespace {

int n_chunks(std::span<const StageSchedule> all) {
  int n = 1;
  for (const StageSchedule& stage : all)
    for (const Instruction& in : stage.list) n = std::max(n, in.chunk + 1);
  return n;
}

std::string name_of(int stage, std::size_t i, const Instruction& in) {
  return fmt::format("stage {}, instruction {} ({})", stage, i, to_text(in));
}

// ---- one stage alone: the order of what happens to a slot

// Where the stage's chunks lie among all of them.
struct Ends {
  int stages, stage, chunks;
  int virtual_stage(int chunk) const { return chunk * stages + stage; }
  bool is_first(int chunk) const { return virtual_stage(chunk) == 0; }
  bool is_last(int chunk) const { return virtual_stage(chunk) == stages * chunks - 1; }
};

// What is in a slot: which micro-batch, and what has been done to it.
struct Held {
  int micro_batch = -1;
  std::set<Op> done;  // backward: as its two parts
  bool has(Op op) const { return done.contains(op); }
};

// Walks a stage's list; empty, or what is wrong with its first faulty instruction.
class SlotWalk {
 public:
  SlotWalk(const StageSchedule& schedule, Ends ends)
      : schedule_(schedule),
        ends_(ends),
        trains_(std::ranges::any_of(
            schedule.list, [](const Instruction& in) { return in.op >= Op::recv_gradient; })) {}

  std::string fault() {
    const auto& list = schedule_.list;
    for (std::size_t i = 0; i < list.size(); ++i) {
      const std::string wrong = step(list[i]);
      if (!wrong.empty()) return name_of(ends_.stage, i, list[i]) + " " + wrong;
      last_[{list[i].chunk, list[i].micro_batch}] = i;
    }
    for (const auto& [place, held] : slots_) {
      const std::string missing = unfinished(held, place.first);
      if (missing.empty()) continue;
      const std::size_t i = last_[{place.first, held.micro_batch}];
      return name_of(ends_.stage, i, list[i]) + " is the last of its micro-batch, which " + missing;
    }
    return "";
  }

 private:
  // What a slot's micro-batch still needs it for; empty: nothing.
  std::string unfinished(const Held& held, int chunk) const {
    if (held.micro_batch < 0) return "";
    if (!held.has(Op::forward)) return "has not gone forward";
    if (!ends_.is_last(chunk) && !held.has(Op::send_activation)) return "has not been sent on";
    if (!trains_) return "";
    if (!held.has(Op::backward_input)) return "has not gone backward";
    if (!held.has(Op::backward_weight)) return "has had no weight part of its backward";
    if (!ends_.is_first(chunk) && !held.has(Op::send_gradient))
      return "has not had its gradient sent";
    return "";
  }
  // A micro-batch comes into its slot.
  std::string enter(Held& held, const Instruction& in) const {
    const std::string reader = unfinished(held, in.chunk);
    if (!reader.empty())
      return fmt::format("overwrites slot {} of {}, whose micro-batch {} {}",
                         in.micro_batch % schedule_.slots, schedule_.slots, held.micro_batch,
                         reader);
    held = {in.micro_batch, {}};
    return "";
  }
  std::string step(const Instruction& in) {
    if (in.micro_batch < 0 || in.chunk < 0) return "names no micro-batch of a chunk";
    Held& held = slots_[{in.chunk, in.micro_batch % schedule_.slots}];
    const bool first = ends_.is_first(in.chunk), last = ends_.is_last(in.chunk);
    const bool enters = in.op == Op::recv_activation || (in.op == Op::forward && first);
    const bool here = held.micro_batch == in.micro_batch;
    const bool repeats = in.op == Op::backward
                             ? held.has(Op::backward_input) || held.has(Op::backward_weight)
                             : held.has(in.op);
    if (here && repeats) return "is done a second time";
    if (enters && !here) {
      if (in.op == Op::recv_activation && first) return "has no sender";
      const std::string wrong = enter(held, in);
      if (!wrong.empty()) return wrong;
    } else {
      const std::string early = too_early(in, here ? held : Held{}, first, last);
      if (!early.empty()) return early;
    }
    if (in.op == Op::backward)
      held.done.insert({Op::backward_input, Op::backward_weight});
    else
      held.done.insert(in.op);
    return "";
  }
  // What must have happened before; `held`: to the same micro-batch.
  static std::string too_early(const Instruction& in, const Held& held, bool first, bool last) {
    switch (in.op) {
      case Op::recv_activation:
        return "comes when its forward is done";
      case Op::forward:
        return held.has(Op::recv_activation) ? "" : "comes before its activation is received";
      case Op::send_activation:
        if (last) return "has no receiver";
        return held.has(Op::forward) ? "" : "comes before its forward";
      case Op::recv_gradient:
        if (last) return "has no sender";
        return held.has(Op::forward) ? "" : "has no buffer: it comes before its forward";
      case Op::backward:
      case Op::backward_input:
        if (!held.has(Op::forward)) return "comes before its forward";
        return last || held.has(Op::recv_gradient) ? "" : "comes before its gradient is received";
      case Op::backward_weight:
        return held.has(Op::backward_input) ? "" : "comes before its input part";
      case Op::send_gradient:
        if (first) return "has no receiver";
        return held.has(Op::backward_input) ? "" : "comes before its backward";
    }
    return "is unknown";
  }

  const StageSchedule& schedule_;
  Ends ends_;
  bool trains_;                                      // the list goes backward too
  std::map<std::pair<int, int>, Held> slots_;        // (chunk, slot)
  std::map<std::pair<int, int>, std::size_t> last_;  // (chunk, micro-batch) -> instruction
};

// ---- all stages together: who waits for whom

// A message, named by what receives it.
struct Message {
  Op recv;  // recv_activation or recv_gradient
  int virtual_stage, micro_batch;
  auto operator<=>(const Message&) const = default;
};

class Simulation {
 public:
  Simulation(std::span<const StageSchedule> all, std::span<const StageCost> costs)
      : all_(all), costs_(costs), chunks_(n_chunks(all)), at_(all.size()) {
    for (bool moved = true; moved;) {
      moved = false;
      for (int s = 0; s < stages(); ++s)
        while (at(s).next < list(s).size() && step(s)) moved = true;
    }
  }

  // Empty where every stage came to its end and every message arrived. What never comes is named
  // before what only comes too late.
  std::string fault() const {
    std::string found;
    for (int s = 0; s < stages(); ++s) {
      if (at(s).next == list(s).size()) continue;
      const auto [text, never] = wait_of(s);
      if (found.empty() || never)
        found = name_of(s, at(s).next, list(s)[at(s).next]) + " waits " + text;
      if (never) return found;
    }
    if (!found.empty()) return found;
    for (const auto& [message, sent] : sent_)
      if (!received_.contains(message))
        return name_of(sent.stage, sent.instruction, list(sent.stage)[sent.instruction]) +
               " is never received";
    return "";
  }

  double idle_share() const {
    double end = 0, busy = 0;
    for (const Progress& p : at_) {
      end = std::max(end, p.now);
      busy += p.busy;
    }
    return 1 - busy / (end * static_cast<double>(at_.size()));
  }

 private:
  struct Progress {
    std::size_t next = 0;  // instruction
    double now = 0, busy = 0;
  };
  struct Sent {
    double when;
    int stage;
    std::size_t instruction;
  };

  int stages() const { return static_cast<int>(all_.size()); }
  Progress& at(int s) { return at_[static_cast<std::size_t>(s)]; }
  const Progress& at(int s) const { return at_[static_cast<std::size_t>(s)]; }
  const std::vector<Instruction>& list(int s) const {
    return all_[static_cast<std::size_t>(s)].list;
  }
  int slot_of(int s, const Instruction& in) const {
    return in.micro_batch % all_[static_cast<std::size_t>(s)].slots;
  }
  Ends ends(int s) const { return {stages(), s, chunks_}; }

  Message received_by(int s, const Instruction& in) const {
    return {in.op, ends(s).virtual_stage(in.chunk), in.micro_batch};
  }
  Message sent_by(int s, const Instruction& in) const {
    const bool on = in.op == Op::send_activation;
    return {on ? Op::recv_activation : Op::recv_gradient,
            ends(s).virtual_stage(in.chunk) + (on ? 1 : -1), in.micro_batch};
  }
  // What was last sent from the buffer that the instruction writes: forward writes the stream that
  // is sent on; recv_gradient, or the last virtual stage's backward, the gradient that is sent
  // back.
  std::optional<Message> sent_from_buffer(int s, const Instruction& in) const {
    const bool backward = in.op == Op::backward || in.op == Op::backward_input;
    const bool gradient = in.op == Op::recv_gradient || (backward && ends(s).is_last(in.chunk));
    if (in.op != Op::forward && !gradient) return std::nullopt;
    const auto it = buffers_.find({s, in.chunk, slot_of(s, in), gradient});
    return it == buffers_.end() ? std::nullopt : std::optional(it->second);
  }

  // Runs the next instruction of a stage, if it need not wait.
  bool step(int s) {
    const std::size_t i = at(s).next;
    const Instruction& in = list(s)[i];
    double& now = at(s).now;
    if (const auto before = sent_from_buffer(s, in)) {
      const auto it = received_.find(*before);
      if (it == received_.end()) return false;
      now = std::max(now, it->second);
    }
    if (in.op == Op::recv_activation || in.op == Op::recv_gradient) {
      const auto it = sent_.find(received_by(s, in));
      if (it == sent_.end()) return false;
      now = std::max(now, it->second.when);
      received_[it->first] = now;
    } else if (in.op == Op::send_activation || in.op == Op::send_gradient) {
      const Message message = sent_by(s, in);
      sent_[message] = {now, s, i};
      buffers_[{s, in.chunk, slot_of(s, in), in.op == Op::send_gradient}] = message;
    } else {
      const double cost = cost_of(s, in);
      now += cost;
      at(s).busy += cost;
    }
    ++at(s).next;
    return true;
  }
  double cost_of(int s, const Instruction& in) const {
    const StageCost& c = costs_[static_cast<std::size_t>(ends(s).virtual_stage(in.chunk))];
    switch (in.op) {
      case Op::forward:
        return c.forward;
      case Op::backward_input:
        return c.recompute + c.backward_input;
      case Op::backward_weight:
        return c.recompute + c.backward_weight;
      default:
        return c.backward();
    }
  }

  // What a stage that stands still waits for, and whether that never comes.
  std::pair<std::string, bool> wait_of(int s) const {
    const Instruction& in = list(s)[at(s).next];
    const auto before = sent_from_buffer(s, in);
    const bool for_buffer = before && !received_.contains(*before);
    const Message message = for_buffer ? *before : received_by(s, in);
    const bool activation = message.recv == Op::recv_activation;
    const int other = message.virtual_stage + (for_buffer ? 0 : activation ? -1 : 1);
    const Instruction wanted = {for_buffer   ? message.recv
                                : activation ? Op::send_activation
                                             : Op::send_gradient,
                                message.micro_batch, other / stages()};
    const int stage = other % stages();
    const std::string why = for_buffer ? "until what it sent has left its buffer, for" : "for";
    const auto found = std::find(list(stage).begin(), list(stage).end(), wanted);
    if (found == list(stage).end())
      return {fmt::format("{} stage {}, which has no {}", why, stage, to_text(wanted)), true};
    const auto i = static_cast<std::size_t>(found - list(stage).begin());
    return {fmt::format("{} {}, which itself waits at instruction {}", why,
                        name_of(stage, i, wanted), at(stage).next),
            false};
  }

  std::span<const StageSchedule> all_;
  std::span<const StageCost> costs_;
  int chunks_;
  std::vector<Progress> at_;  // of each stage
  std::map<Message, Sent> sent_;
  std::map<Message, double> received_;                          // when
  std::map<std::tuple<int, int, int, bool>, Message> buffers_;  // (stage, chunk, slot, gradient?)
};

}  // namespace

std::vector<StageSchedule> pipeline_schedule(ScheduleKind kind, int stages, int n_micro,
                                             int chunks) {
  std::vector<StageSchedule> all;
  for (int s = 0; s < stages; ++s) {
    all.push_back({schedule(kind, stages, s, n_micro, chunks), 1});
    all.back().slots = slots_needed(all.back().list);
  }
  return all;
}

std::string check_schedule(std::span<const StageSchedule> all) {
  const int stages = static_cast<int>(all.size()), chunks = n_chunks(all);
  for (int s = 0; s < stages; ++s) {
    const std::string fault =
        SlotWalk(all[static_cast<std::size_t>(s)], {stages, s, chunks}).fault();
    if (!fault.empty()) return fault;
  }
  const std::vector<StageCost> costs(all.size() * static_cast<std::size_t>(chunks));
  return Simulation(all, costs).fault();
}

double bubble_fraction(std::span<const StageSchedule> all, std::span<const StageCost> costs) {
  CHECK(costs.size() == all.size() * static_cast<std::size_t>(n_chunks(all)),
        "{} costs for {} stages of {} chunks", costs.size(), all.size(), n_chunks(all));
  const Simulation run(all, costs);
  const std::string fault = run.fault();
  CHECK(fault.empty(), "{}", fault);
  return run.idle_share();
}

}  // namespace weft

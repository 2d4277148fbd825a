#include "model/schedule.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "core/check.h"

namespace weft {
namespace {

constexpr Word<ScheduleKind> kSchedules[] = {{"gpipe", ScheduleKind::gpipe},
                                             {"1f1b", ScheduleKind::one_f_one_b}};

// A stage's list as it grows: computations, each with what it must receive and what it sends on.
struct List {
  int stages, stage, chunks;
  std::vector<Instruction> all;

  bool is_first(int chunk) const { return stage == 0 && chunk == 0; }
  bool is_last(int chunk) const { return stage == stages - 1 && chunk == chunks - 1; }
  void forward(int m, int chunk = 0) {
    if (!is_first(chunk)) all.push_back({Op::recv_activation, m, chunk});
    all.push_back({Op::forward, m, chunk});
    if (!is_last(chunk)) all.push_back({Op::send_activation, m, chunk});
  }
  void backward(int m, int chunk = 0, Op op = Op::backward) {
    if (!is_last(chunk)) all.push_back({Op::recv_gradient, m, chunk});
    all.push_back({op, m, chunk});
    if (!is_first(chunk)) all.push_back({Op::send_gradient, m, chunk});
  }
};

// The order in which a stage with several chunks goes forward: as many micro-batches as there are
// stages through chunk 0, the same through chunk 1, …, then the next ones. Backward goes likewise,
// from the last chunk to the first.
struct Place {
  int micro_batch, chunk;
};
std::vector<Place> interleaved_order(int stages, int n_micro, int chunks, bool backward) {
  std::vector<Place> order;
  for (int begin = 0; begin < n_micro; begin += stages)
    for (int i = 0; i < chunks; ++i)
      for (int m = begin; m < std::min(begin + stages, n_micro); ++m)
        order.push_back({m, backward ? chunks - 1 - i : i});
  return order;
}

void add_one_f_one_b(List& list, int n_micro) {
  const int warmup = std::min(list.stages - list.stage - 1, n_micro);
  for (int m = 0; m < warmup; ++m) list.forward(m);
  for (int m = warmup; m < n_micro; ++m) {
    list.forward(m);
    list.backward(m - warmup);
  }
  for (int m = n_micro - warmup; m < n_micro; ++m) list.backward(m);
}

void add_interleaved(List& list, int n_micro) {
  const std::vector<Place> forwards = interleaved_order(list.stages, n_micro, list.chunks, false),
                           backwards = interleaved_order(list.stages, n_micro, list.chunks, true);
  const int ahead = 2 * (list.stages - list.stage - 1) + (list.chunks - 1) * list.stages;
  const std::size_t n = forwards.size(), warmup = std::min(static_cast<std::size_t>(ahead), n);
  for (std::size_t i = 0; i < n + warmup; ++i) {
    if (i < n) list.forward(forwards[i].micro_batch, forwards[i].chunk);
    if (i >= warmup) list.backward(backwards[i - warmup].micro_batch, backwards[i - warmup].chunk);
  }
}

// Stage s holds back its weight parts by s micro-batches, so that all stages hold as many at once.
void add_zb_h1(List& list, int n_micro) {
  const int warmup = std::min(list.stages - list.stage - 1, n_micro), behind = list.stage;
  for (int m = 0; m < warmup; ++m) list.forward(m);
  for (int m = 0; m < n_micro; ++m) {
    if (warmup + m < n_micro) list.forward(warmup + m);
    list.backward(m, 0, Op::backward_input);
    if (m >= behind) list.all.push_back({Op::backward_weight, m - behind});
  }
  for (int m = std::max(n_micro - behind, 0); m < n_micro; ++m)
    list.all.push_back({Op::backward_weight, m});
}

const char* name_of(Op op) {
  static constexpr const char* kNames[] = {"recv activation", "forward",      "send activation",
                                           "recv gradient",   "backward",     "backward input",
                                           "backward weight", "send gradient"};
  return kNames[static_cast<int>(op)];
}

}  // namespace

std::string to_text(const Instruction& in) {
  return fmt::format("{} of micro-batch {}, chunk {}", name_of(in.op), in.micro_batch, in.chunk);
}

std::string to_text(const std::vector<Instruction>& list) {
  static constexpr const char* kNames[] = {"rF", "F", "sF", "rB", "B", "Bi", "Bw", "sB"};
  std::string out;
  for (const Instruction& in : list) {
    out += fmt::format("{}{}{}", out.empty() ? "" : " ", kNames[static_cast<int>(in.op)],
                       in.micro_batch);
    if (in.chunk > 0) out += fmt::format(".{}", in.chunk);
  }
  return out;
}

Words pipeline_schedules() { return Words(kSchedules, {"interleaved", "zb-h1"}); }

ScheduleKind schedule_kind(const std::string& name) {
  return value_of(kSchedules, "--pipeline-schedule", name);
}

std::vector<Instruction> schedule(ScheduleKind kind, int stages, int stage, int n_micro,
                                  int chunks) {
  const bool of_chunks = kind == ScheduleKind::interleaved || kind == ScheduleKind::forward_only;
  CHECK(chunks == 1 || (of_chunks && stages > 1), "a schedule of {} chunks on {} stages", chunks,
        stages);
  CHECK(kind != ScheduleKind::interleaved || n_micro % stages == 0,
        "{} micro-batches; interleaved: a multiple of the {} stages", n_micro, stages);
  List list = {stages, stage, chunks, {}};
  switch (kind) {
    case ScheduleKind::gpipe:
      for (int m = 0; m < n_micro; ++m) list.forward(m);
      for (int m = 0; m < n_micro; ++m) list.backward(m);
      break;
    case ScheduleKind::one_f_one_b:
      add_one_f_one_b(list, n_micro);
      break;
    case ScheduleKind::interleaved:
      add_interleaved(list, n_micro);
      break;
    case ScheduleKind::zb_h1:
      add_zb_h1(list, n_micro);
      break;
    case ScheduleKind::forward_only:
      for (const Place& p : interleaved_order(stages, n_micro, chunks, false))
        list.forward(p.micro_batch, p.chunk);
      break;
  }
  return std::move(list.all);
}

bool splits_backward(const std::vector<Instruction>& list) {
  return std::ranges::any_of(list,
                             [](const Instruction& in) { return in.op == Op::backward_input; });
}

int slots_needed(const std::vector<Instruction>& list) {
  using Place = std::pair<int, int>;  // chunk, micro-batch
  std::map<Place, std::size_t> last;
  for (std::size_t i = 0; i < list.size(); ++i) last[{list[i].chunk, list[i].micro_batch}] = i;
  std::map<int, std::set<int>> held;  // micro-batches of each chunk
  int slots = 1;
  for (std::size_t i = 0; i < list.size(); ++i) {
    std::set<int>& here = held[list[i].chunk];
    here.insert(list[i].micro_batch);
    slots = std::max(slots, *here.rbegin() - *here.begin() + 1);
    if (last[{list[i].chunk, list[i].micro_batch}] == i) here.erase(list[i].micro_batch);
  }
  return slots;
}

}  // namespace weft

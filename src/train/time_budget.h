// Whether a run still has the time for what it wants to do next, by what it has measured of itself.
// Pure bookkeeping: the clock is its caller's.
#pragma once

#include <cstdint>

namespace weft {

class TimeBudget {
 public:
  // `total_s`: from the process's begin to its end. Until a save has been measured it is taken to
  // cost what the checkpoint's bytes take at a rate that a busy file system still has.
  TimeBudget(double total_s, std::int64_t checkpoint_bytes);

  void step_took(double seconds);
  void save_took(double seconds);
  void evaluation_took(double seconds);

  bool save_is_measured() const { return measured_save_s_ >= 0; }
  double save_s() const;  // the slowest so far, else the estimate
  // What must be left to begin another step: two saves, the two slowest steps and a hundredth of
  // all the time.
  double margin_s() const;
  // under_way: of steps that are to end before anything else does.
  bool is_over(double left_s, int under_way = 0) const {
    return left_s <= margin_s() + under_way * slowest_s_;
  }
  // Whether an evaluation fits before that. Before the first is measured a batch of it is taken to
  // cost a mean step, which is more.
  bool holds_evaluation(double left_s, double batches) const;

 private:
  double total_s_, estimated_save_s_;
  double measured_save_s_ = -1, evaluation_s_ = -1;
  double slowest_s_ = 0, second_s_ = 0;  // steps
  double steps_s_ = 0;
  std::int64_t n_steps_ = 0;
};

}  // namespace weft

// A run's steps between their begin and their report. On the CPU a step is over when it has been
// begun; a GPU is given the next one before the last one's result is waited for.
#pragma once

#include <deque>
#include <string>

#include "train/learning_check.h"
#include "train/progress.h"

namespace weft {

struct FinishedStep {
  StepReport report;  // but for elapsed_s, steps, tokens and speed
  std::int64_t cursor = 0;
  std::string warning;  // of the learning check; "": none
  int flags = 0;        // ranks that asked for something
};

class PendingSteps {
 public:
  // All live longer. The context's clock is this one's alone while a step is under way.
  PendingSteps(const Context& ctx, TrainStep& step, LearningCheck& check,
               const StepSettings& settings)
      : ctx_(ctx), step_(step), check_(check), settings_(settings) {}

  int count() const { return static_cast<int>(begun_.size()); }
  bool full() const { return count() == TrainStep::kMostUnderWay; }
  // Whether this step is begun and finished with no other under way.
  bool stands_alone(std::int64_t step) const {
    return ctx_.stream.device().type == DeviceType::cpu || check_.watches(step);
  }

  // Collective, as TrainStep's.
  void begin(const SampleSource& source, std::int64_t cursor, std::int64_t step);
  // The oldest, whose seconds and bytes are those since the one before it was finished, or since
  // its own begin where none was under way. An Error where it diverged, or the run cannot learn.
  // flag: RankSpan's.
  FinishedStep finish(bool flag);

 private:
  struct Begun {
    std::int64_t step = 0, cursor = 0;
  };
  void start_clock();

  const Context& ctx_;
  TrainStep& step_;
  LearningCheck& check_;
  const StepSettings& settings_;
  std::deque<Begun> begun_;
  std::int64_t sent_before_ = 0;
};

}  // namespace weft

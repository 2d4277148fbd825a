// Whether a run learns at all: its weights change, its gradients are not zero, and its loss leaves
// what guessing gives.
#pragma once

#include <limits>
#include <string>

#include "model/context.h"
#include "model/parameters.h"
#include "train/step.h"

namespace weft {

// ln of the number of classes that each label is one of: the loss of a model that has learned
// nothing. Infinite where there are no such classes (regression, several labels a text).
double guessing_loss(const ModelConfig& config);

class LearningCheck {
 public:
  LearningCheck(const Context& ctx, const Parameters& parameters, const StepSettings& settings)
      : ctx_(ctx), parameters_(parameters), settings_(settings) {}

  // Around each step, which counts from 1; collective. An Error, the same on every rank, where the
  // run cannot learn: the step had a learning rate and gradients and yet no weight changed in any
  // bit, or it was the tenth in a row without gradients. The result is a sentence to warn with,
  // once, where the loss has stayed within 1 % of guessing_loss() for a hundred steps past the
  // warm-up; else empty.
  // watches(): the step's weights are to be compared; then its after() comes before any other's
  // before().
  bool watches(std::int64_t step) const;
  void before(std::int64_t step);
  std::string after(std::int64_t step, const StepResult& result);

 private:
  void judge_change(std::int64_t step, double grad_norm);
  void judge_gradients(std::int64_t step, const StepResult& result);

  const Context& ctx_;
  const Parameters& parameters_;
  const StepSettings& settings_;
  bool judged_ = false;                                // once since the start
  bool watched_ = false;                               // this step's weights are compared
  std::uint64_t before_ = 0;                           // their checksum on this rank
  std::int64_t without_gradients_ = 0, guessing_ = 0;  // steps in a row
  bool warned_ = false;
};

}  // namespace weft

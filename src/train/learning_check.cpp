#include "train/learning_check.h"

#include <algorithm>
#include <cmath>

#include "core/check.h"
#include "train/replica_check.h"

namespace weft {
namespace {

constexpr std::int64_t kStepsWithoutGradients = 10, kStepsOfGuessing = 100;
constexpr double kNearGuessing = 0.01;

// The weights are compared by their checksum, exact but for one chance in 2^64, which a step pays
// for with two reads of them where AdamW has seven reads and writes. What keeps weights from
// changing (a rate below their last bit, gradients that vanish beside epsilon) is there from the
// first step on or comes as slowly as the schedule does: the first step after a start tells, and
// every hundredth. A flag of the optimizer's kernels would cost every step's innermost loop and a
// reduction over the ranks.
constexpr std::int64_t kCheckEvery = 100;

// A warm-up begins and a decay ends with rates that rightly change nothing: judged is what has this
// share of the peak at least. Weight decay alone changes weights too; what then never learns has no
// gradients, or is warned of by its loss.
constexpr double kLeastShareOfPeak = 1e-3;

}  // namespace

double guessing_loss(const ModelConfig& c) {
  const bool classes = c.has_label_head() && c.problem == Problem::single_label;
  const std::int64_t n = c.has_lm_head() ? c.vocab : classes ? c.n_labels : 0;
  return n > 1 ? std::log(static_cast<double>(n)) : std::numeric_limits<double>::infinity();
}

bool LearningCheck::watches(std::int64_t step) const {
  const LrSchedule& lr = settings_.optimizer.lr;
  const double rate = lr.at(step);
  return rate > 0 && rate >= kLeastShareOfPeak * lr.lr && (!judged_ || step % kCheckEvery == 0);
}

void LearningCheck::before(std::int64_t step) {
  watched_ = watches(step);
  if (!watched_) return;
  const auto timed = time_as(ctx_, TimeShare::optimizer);
  before_ = local_checksum(ctx_, parameters_, {&LocalParameter::weight});
}

std::string LearningCheck::after(std::int64_t step, const StepResult& result) {
  if (watched_ && result.grad_norm > 0) judge_change(step, result.grad_norm);
  judge_gradients(step, result);
  const double guess = guessing_loss(parameters_.config());
  const bool guesses = step > settings_.optimizer.lr.warmup_steps && std::isfinite(guess) &&
                       std::abs(result.loss - guess) <= kNearGuessing * guess;
  guessing_ = guesses ? guessing_ + 1 : 0;
  if (guessing_ < kStepsOfGuessing || warned_) return "";
  warned_ = true;
  return fmt::format(
      "step {}: for {} steps the training loss has stayed within 1 % of {:.4f}, the loss of "
      "guessing among {:.0f} classes: the run learns nothing; look at --lr, and whether the data "
      "holds anything to learn",
      step, kStepsOfGuessing, guess, std::exp(guess));
}

void LearningCheck::judge_change(std::int64_t step, double grad_norm) {
  judged_ = true;
  std::int32_t same = 0;
  {
    const auto timed = time_as(ctx_, TimeShare::optimizer);
    same = before_ == local_checksum(ctx_, parameters_, {&LocalParameter::weight});
  }
  if (ctx_.grid.world().all_reduce_value(same, ReduceOp::min, ctx_.stream) == 0) return;
  const OptimizerSettings& o = settings_.optimizer;
  const double clip = settings_.clip_grad_norm,
               clipped = clip > 0 ? std::min(clip, grad_norm) : grad_norm,
               each =
                   clipped / std::sqrt(static_cast<double>(count_parameters(parameters_.config())));
  // AdamW moves a weight by about lr · g / (g + eps).
  const std::string why =
      each < o.eps ? fmt::format(
                         "gradients of {:.1e} each vanish beside --eps {}; look at --eps, "
                         "--clip-grad-norm and --lr",
                         each, o.eps)
                   : std::string(
                         "that rate is below the last bit of fp32 weights; look at --lr and "
                         "--lr-schedule");
  machine_error(
      "step {}: the run cannot learn: no weight has changed in any bit at a learning rate of "
      "{:.3g} "
      "and a gradient norm of {:.3g}; {}",
      step, o.lr.at(step), grad_norm, why);
}

void LearningCheck::judge_gradients(std::int64_t step, const StepResult& result) {
  without_gradients_ = result.grad_norm == 0 ? without_gradients_ + 1 : 0;
  if (without_gradients_ < kStepsWithoutGradients) return;
  const char* why =
      result.loss == 0
          ? "the loss is 0, so their samples have no labels or nothing is left to learn; look at "
            "the data and, with --task mlm, at --mlm-probability"
          : "the weights pass none on; look at what the run starts from, such as a --model whose "
            "weights are 0";
  machine_error("step {}: the run cannot learn: all gradients have been 0 for {} steps, and {}",
                step, kStepsWithoutGradients, why);
}

}  // namespace weft

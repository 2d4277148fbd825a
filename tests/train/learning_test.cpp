// A run that cannot learn says so, and only such a run; texts that it writes on the way change
// nothing of it.
#include "tests/train/runs.h"
#include "train/learning_check.h"

namespace weft::test {
namespace {

StepSettings settings_of(const LrSchedule& lr) {
  StepSettings s;
  s.batch_size = 4;
  s.T = 24;
  s.optimizer.lr = lr;
  return s;
}

// What the check says of a step that `change` was the whole of; else empty.
struct Watched {
  StepSettings settings;
  Trial trial;
  LearningCheck check{trial.ctx, trial.parameters, settings};

  Watched(GridShape shape, const LrSchedule& lr)
      : settings(settings_of(lr)),
        trial(test_mpi().world(), shape, small_config(), settings_of(constant_lr(1e-3))) {}

  std::string step(std::int64_t n, const StepResult& result,
                   const std::function<void()>& change = {}) {
    const auto failure = failure_of([&] {
      check.before(n);
      if (change) change();
      said = check.after(n, result);
    });
    EXPECT_TRUE(!failure || failure->kind == FailureKind::program);
    return failure ? failure->text : "";
  }
  std::string said;
};

bool holds(const std::string& text, const std::string& words) {
  return text.find(words) != std::string::npos;
}

TEST(LearningCheck, WeightsThatNoBitOfChangesEndTheRunOnEveryGrid) {
  for (const GridShape& shape : grids_of(test_mpi().world()->size(), small_config())) {
    Watched w(shape, constant_lr(1e-20));
    const std::string text = w.step(1, {.loss = 5, .grad_norm = 2});
    EXPECT_TRUE(holds(text, "step 1: the run cannot learn: no weight has changed")) << text;
    EXPECT_TRUE(holds(text, "look at --lr")) << text;
    EXPECT_FALSE(holds(text, "--eps")) << text;
  }
}

TEST(LearningCheck, OneChangedBitOnOneRankIsAChange) {
  const int last = test_mpi().world()->size() - 1;
  for (const GridShape& shape : grids_of(last + 1, small_config())) {
    Watched w(shape, constant_lr(1e-3));
    const auto change = [&] {
      if (w.trial.grid.world().rank() != last) return;
      float* x = w.trial.parameters.list().back().weight.as<float>();
      *x = std::nextafter(*x, 100.0f);
    };
    EXPECT_EQ(w.step(1, {.loss = 5, .grad_norm = 2}, change), "");
    // Judged; from here on every hundredth step is.
    EXPECT_EQ(w.step(2, {.loss = 5, .grad_norm = 2}), "");
    EXPECT_NE(w.step(100, {.loss = 5, .grad_norm = 2}), "");
  }
}

TEST(LearningCheck, StepsThatMayChangeNothingAreNotJudged) {
  const GridShape shape = {1, 1, test_mpi().world()->size()};
  Watched frozen(shape, constant_lr(0));
  EXPECT_EQ(frozen.step(1, {.loss = 5, .grad_norm = 2}), "");
  // A warm-up that begins below a thousandth of its peak is judged as soon as it is above.
  Watched slow(shape, {.lr = 1e-3, .min_lr = 0, .warmup_steps = 4000, .steps = 5000});
  EXPECT_EQ(slow.step(3, {.loss = 5, .grad_norm = 2}), "");
  EXPECT_NE(slow.step(4, {.loss = 5, .grad_norm = 2}), "");
  // The end of a decay to 0.
  Watched end(shape, {.lr = 1e-3, .min_lr = 0, .warmup_steps = 0, .steps = 5000});
  EXPECT_EQ(end.step(4999, {.loss = 5, .grad_norm = 2}), "");
  EXPECT_EQ(end.step(5000, {.loss = 5, .grad_norm = 2}), "");
  // Without gradients the first judgement waits for some.
  Watched later(shape, constant_lr(1e-3));
  EXPECT_EQ(later.step(1, {.loss = 5, .grad_norm = 0}), "");
  EXPECT_NE(later.step(2, {.loss = 5, .grad_norm = 2}), "");
}

TEST(LearningCheck, GradientsBelowEpsilonAreNamedAsTheReason) {
  Watched w({1, 1, test_mpi().world()->size()}, constant_lr(1e-3));
  const std::string text = w.step(1, {.loss = 5, .grad_norm = 1e-9});
  EXPECT_TRUE(holds(text, "vanish beside --eps 1e-08")) << text;
}

TEST(LearningCheck, TenStepsInARowWithoutGradientsEndTheRun) {
  Watched w({1, 1, test_mpi().world()->size()}, constant_lr(0));
  for (std::int64_t i = 1; i <= 9; ++i) EXPECT_EQ(w.step(i, {.loss = 5, .grad_norm = 0}), "");
  EXPECT_EQ(w.step(10, {.loss = 5, .grad_norm = 1e-30}), "");
  for (std::int64_t i = 11; i <= 19; ++i) EXPECT_EQ(w.step(i, {.loss = 5, .grad_norm = 0}), "");
  const std::string text = w.step(20, {.loss = 5, .grad_norm = 0});
  EXPECT_TRUE(holds(text, "step 20: the run cannot learn: all gradients have been 0 for 10 steps"))
      << text;
  EXPECT_TRUE(holds(text, "--model")) << text;
  Watched empty({1, 1, test_mpi().world()->size()}, constant_lr(0));
  for (std::int64_t i = 1; i <= 9; ++i) empty.step(i, {.loss = 0, .grad_norm = 0});
  EXPECT_TRUE(holds(empty.step(10, {.loss = 0, .grad_norm = 0}), "no labels"));
}

TEST(LearningCheck, AHundredStepsAtTheLossOfGuessingAreWarnedOfOnce) {
  const double guess = std::log(211.0);
  Watched w({1, 1, test_mpi().world()->size()}, {.lr = 0, .min_lr = 0, .warmup_steps = 30});
  std::vector<std::int64_t> warned;
  const auto steps = [&](std::int64_t first, std::int64_t last, double loss) {
    for (std::int64_t i = first; i <= last; ++i) {
      w.step(i, {.loss = loss, .grad_norm = 1});
      if (!w.said.empty()) warned.push_back(i);
    }
  };
  steps(1, 129, 1.009 * guess);  // 99 past the warm-up
  steps(130, 130, 0.98 * guess);
  steps(131, 229, 0.991 * guess);
  EXPECT_TRUE(warned.empty());
  w.step(230, {.loss = guess, .grad_norm = 1});
  EXPECT_TRUE(holds(w.said, "guessing among 211 classes")) << w.said;
  steps(231, 600, guess);
  EXPECT_TRUE(warned.empty());
}

TEST(LearningCheck, GuessingHasALossWhereALabelIsOneOfSeveralClasses) {
  ModelConfig c = small_config();
  EXPECT_DOUBLE_EQ(guessing_loss(c), std::log(211.0));
  c.head = HeadKind::classify;
  c.n_labels = 3;
  EXPECT_DOUBLE_EQ(guessing_loss(c), std::log(3.0));
  c.n_labels = 1;
  EXPECT_TRUE(std::isinf(guessing_loss(c)));
  c.n_labels = 3;
  for (const Problem p : {Problem::regression, Problem::multi_label}) {
    c.problem = p;
    EXPECT_TRUE(std::isinf(guessing_loss(c)));
  }
}

TEST(Learning, ARateBelowTheWeightsLastBitEndsARunAtItsFirstStep) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.family = "llama";  // no biases: what is 0 changes at any rate
  o.lr = 1e-20;
  o.weight_decay = 0.1;
  o.warmup_steps = 0;
  if (test_mpi().world()->size() == 2) o.pp = 2;
  const auto failure = failure_of([&] { run(o); });
  ASSERT_TRUE(failure);
  EXPECT_EQ(failure->kind, FailureKind::program);
  EXPECT_TRUE(holds(failure->text, "step 1: the run cannot learn")) << failure->text;
  o.out = (folder / "frozen").string();
  o.lr = 0;  // as was asked for
  o.steps = 3;
  EXPECT_FALSE(failure_of([&] { run(o); }));
}

TEST(Learning, ALossThatStaysWhereGuessingIsStandsInTheLog) {
  const SharedFolder folder;
  TrainOptions o = small_options(folder, make_data(folder), "out");
  o.lr = 1e-9;
  o.steps = 120;
  o.dropout = 0;
  run(o);
  if (folder.rank() != 0) return;
  const std::vector<Json> warnings = log_lines(o.out, "warning");
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_EQ(warnings[0].at("step"), 103);
  EXPECT_TRUE(holds(warnings[0].at("text"), "guessing among 61 classes"));
  EXPECT_EQ(log_lines(o.out).back().at("reason"), "done");
}

}  // namespace
}  // namespace weft::test

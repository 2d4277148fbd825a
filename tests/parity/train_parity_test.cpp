// Training against the reference's golden values, on every grid of the ranks at hand, and against
// one rank.
//
// The bounds: fp32 rounds each sum of n terms by about 6e-8·sqrt(n) of its size; a gradient here
// passes some forty such sums of at most 1003 terms, in all about 40 · 6e-8 · 32 = 8e-5 at the very
// worst, typically a hundred times less. AdamW divides by sqrt(v): in its first steps it moves
// every weight by lr whatever the size of its gradient, so elements whose gradient is itself
// rounding noise move differently; that is what the wider bounds of the curves allow.
#include "tests/parity/golden.h"

namespace weft::test {
namespace {

struct Trial : HeldModel {
  TrainStep step;

  Trial(std::unique_ptr<Communicator> world, GridShape shape, const std::string& model,
        const StepSettings& settings, DType dtype = DType::f32)
      : HeldModel(std::move(world), shape, read_hf_config(data_dir(model)), ParameterUse::training,
                  dtype),
        step(ctx, config, parameters, settings) {
    if (dtype == DType::bf16) ctx.precision = Precision::bf16;
    load_hf_weights(parameters, config, data_dir(model), stream);
  }
};

StepSettings settings_of(const GoldenValues& golden, std::int64_t micro = 0) {
  StepSettings s;
  s.batch_size = golden.B;
  s.micro_batch_size = micro;
  s.T = golden.T;
  s.optimizer = {
      .lr = constant_lr(1e-3), .beta1 = 0.9, .beta2 = 0.95, .eps = 1e-8, .weight_decay = 0.1};
  return s;
}

void expect_golden_gradients(Trial& run, const GoldenValues& golden, const std::string& name) {
  const Family& row = family(run.config.family);
  for (const Parameter& p : parameters_of(run.config)) {
    if (!p.tied_to.empty()) continue;
    const std::vector<float> grad = gather_stored(p, 0, run.parameters, run.config, run.grid,
                                                  &LocalParameter::grad, run.stream);
    if (run.grid.world().rank() != 0) continue;
    const std::string stored = stored_parameter(row, run.config, p).parts[0].name;
    EXPECT_LT(relative_norm(grad, golden.values("grad." + stored.substr(row.prefix.size()))), 1e-5)
        << name << ": gradient of " << p.name;
  }
}

TEST(Golden, LossAndEveryGradientOnEveryGrid) {
  const int ranks = test_mpi().world()->size();
  for (const std::string& model : kGolden)
    for (const GridShape& shape : grids_of(ranks)) {
      const GoldenValues golden(model);
      const ModelConfig config = read_hf_config(data_dir(model));
      if (shape.tp > config.heads || shape.pp > config.layers) continue;
      for (std::int64_t micro : {0, 1, 3})
        for (ScheduleKind kind : {ScheduleKind::one_f_one_b, ScheduleKind::gpipe})
          for (Recompute recompute : {Recompute::none, Recompute::block}) {
            StepSettings settings = settings_of(golden, micro);
            settings.schedule = kind;
            settings.recompute = recompute;
            Trial run(test_mpi().world(), shape, model, settings);
            const std::string name =
                fmt::format("{} {} micro {} recompute {}", model, name_of(shape), micro,
                            recompute == Recompute::block);
            const double loss = run.step.gradients(golden.source(), 0, 1);
            EXPECT_LT(relative(loss, golden.values("loss")[0]), 1e-6) << name;
            expect_golden_gradients(run, golden, name);
            if (shape.pp == 1 && kind == ScheduleKind::gpipe) break;
          }
    }
}

TEST(Golden, EvaluationGivesTheSameLoss) {
  const int ranks = test_mpi().world()->size();
  for (const GridShape& shape : grids_of(ranks)) {
    const GoldenValues golden("gpt2_h3");
    if (shape.tp > 3 || shape.pp > 3) continue;
    Trial run(test_mpi().world(), shape, "gpt2_h3", settings_of(golden, 1));
    EXPECT_LT(
        relative(run.step.evaluate(golden.source(), 0, golden.B).loss, golden.values("loss")[0]),
        1e-6)
        << name_of(shape);
  }
}

std::vector<double> curve(Trial& run, const GoldenValues& golden,
                          std::vector<double>* norms = nullptr) {
  std::vector<double> losses;
  for (std::int64_t step = 1; step <= 20; ++step) {
    const StepResult r = run.step.train(golden.source(), (step - 1) * golden.B, step);
    losses.push_back(r.loss);
    if (norms) norms->push_back(r.grad_norm);
  }
  return losses;
}

TEST(Golden, TwentyStepsOfAdamWFollowTheReferenceAndOneRank) {
  const int ranks = test_mpi().world()->size();
  for (const std::string& model : kGolden) {
    const GoldenValues golden(model);
    const std::vector<float> expected = golden.values("adamw_losses"),
                             expected_norms = golden.values("adamw_grad_norms");
    Trial one(make_self_communicator(), {}, model, settings_of(golden));
    const std::vector<double> alone = curve(one, golden);
    for (const GridShape& shape : grids_of(ranks)) {
      if (shape.tp > one.config.heads || shape.pp > one.config.layers) continue;
      Trial run(test_mpi().world(), shape, model, settings_of(golden, 2));
      std::vector<double> norms;
      const std::vector<double> losses = curve(run, golden, &norms);
      double from_reference = 0, from_one = 0, norm_from_reference = 0;
      for (std::size_t i = 0; i < losses.size(); ++i) {
        from_reference = std::max(from_reference, relative(losses[i], expected[i]));
        norm_from_reference = std::max(norm_from_reference, relative(norms[i], expected_norms[i]));
        from_one = std::max(from_one, relative(losses[i], alone[i]));
      }
      if (run.grid.world().rank() == 0)
        std::printf(
            "%s %s: largest difference from the reference %.1e (norm %.1e), from one rank %.1e\n",
            model.c_str(), name_of(shape).c_str(), from_reference, norm_from_reference, from_one);
      EXPECT_LT(from_reference, 2e-5) << model << " " << name_of(shape);
      EXPECT_LT(norm_from_reference, 2e-4) << model << " " << name_of(shape);
      EXPECT_LT(from_one, 1e-5) << model << " " << name_of(shape);
    }
  }
}

// The next step begun before this one's result: the same bits, and a step that diverges is named
// when the one behind it is under way.
TEST(Steps, GiveTheSameResultsOneStepLate) {
  const GoldenValues golden("gpt2_h3");
  StepSettings settings = settings_of(golden, 2);
  Trial at_once(make_self_communicator(), {}, "gpt2_h3", settings),
      late(make_self_communicator(), {}, "gpt2_h3", settings);
  std::vector<double> norms, late_norms, losses;
  const std::vector<double> expected = curve(at_once, golden, &norms);
  const auto take = [&] {
    const StepResult r = late.step.result();
    losses.push_back(r.loss);
    late_norms.push_back(r.grad_norm);
  };
  for (std::int64_t step = 1; step <= 20; ++step) {
    late.step.begin(golden.source(), (step - 1) * golden.B, step);
    if (step > 1) take();
    EXPECT_EQ(late.step.under_way(), 1);
  }
  take();
  EXPECT_EQ(losses, expected);
  EXPECT_EQ(late_norms, norms);
  EXPECT_THROW(late.step.result(), Error);  // none is under way

  settings.optimizer.lr = constant_lr(1e30);
  Trial lost(make_self_communicator(), {}, "gpt2_h3", settings);
  lost.step.begin(golden.source(), 0, 1);
  lost.step.begin(golden.source(), golden.B, 2);
  EXPECT_THROW(lost.step.begin(golden.source(), 2 * golden.B, 3), Error);  // too many
  EXPECT_THROW(lost.step.evaluate(golden.source(), 0, golden.B), Error);
  lost.step.result();  // of weights that the rate has not spoiled yet
  try {
    lost.step.result();
    ADD_FAILURE() << "a step that diverged has a result";
  } catch (const Error& error) {
    EXPECT_TRUE(std::string(error.what()).find("step 2: the loss is") != std::string::npos)
        << error.what();
  }
}

TEST(Dropout, IsTheSameOnEveryGrid) {
  const int ranks = test_mpi().world()->size();
  const GoldenValues golden("gpt2_h3");
  StepSettings settings = settings_of(golden);
  settings.dropout = {.embedding = 0.1f, .attention = 0.2f, .residual = 0.15f};
  settings.seed = 11;
  Trial one(make_self_communicator(), {}, "gpt2_h3", settings);
  const std::vector<double> alone = curve(one, golden);
  for (const GridShape& shape : grids_of(ranks))
    for (Recompute recompute : {Recompute::none, Recompute::block}) {
      if (shape.tp > 3 || shape.pp > 3) continue;
      settings.micro_batch_size = recompute == Recompute::none ? 1 : 2;
      settings.recompute = recompute;
      Trial run(test_mpi().world(), shape, "gpt2_h3", settings);
      const std::vector<double> losses = curve(run, golden);
      for (std::size_t i = 0; i < losses.size(); ++i)
        EXPECT_LT(relative(losses[i], alone[i]), 1e-5) << name_of(shape) << " step " << i;
    }
}

TEST(Bf16, StaysNearFp32) {
  const int ranks = test_mpi().world()->size();
  const GoldenValues golden("gpt2_h3");
  const std::vector<float> expected = golden.values("adamw_losses");
  for (const GridShape& shape : grids_of(ranks)) {
    if (shape.tp > 3 || shape.pp > 3) continue;
    Trial run(test_mpi().world(), shape, "gpt2_h3", settings_of(golden), DType::bf16);
    const std::vector<double> losses = curve(run, golden);
    double worst = 0;
    for (std::size_t i = 0; i < losses.size(); ++i)
      worst = std::max(worst, relative(losses[i], expected[i]));
    EXPECT_LT(worst, 5e-3) << name_of(
        shape);  // bf16 keeps 8 bits: 2^-9 a product, averaged over the tokens
    EXPECT_GT(worst, 1e-6) << "bf16 was not used";
  }
}

}  // namespace
}  // namespace weft::test

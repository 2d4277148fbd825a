// The sums of a step mean the same however the batch is cut, and its edges: uneven batches, one
// layer, a vocabulary smaller than tp, sequences shorter than the context, fewer evaluation samples
// than ranks.
#include "tests/train/trial.h"

namespace weft::test {
namespace {

StepSettings settings_of(std::int64_t batch, std::int64_t micro, std::int64_t T) {
  StepSettings s;
  s.batch_size = batch;
  s.micro_batch_size = micro;
  s.T = T;
  s.seed = 3;
  return s;
}

std::vector<float> gathered(Trial& t, View LocalParameter::*of) {
  std::vector<float> all;
  for (const Parameter& p : parameters_of(t.config)) {
    if (!p.tied_to.empty()) continue;
    const std::vector<float> one =
        gather_parameter(p, t.parameters, t.config, t.grid, of, t.stream);
    all.insert(all.end(), one.begin(), one.end());
  }
  return all;
}

// Batch 7 is divided neither by 2, 3 or 4 ranks nor by micro-batches of 2 or 3.
TEST(Step, GradientsDoNotDependOnHowTheBatchIsCut) {
  const ModelConfig config = small_config();
  const SampleSource source = made_up_source(12, config.vocab);
  Trial one(make_self_communicator(), {}, config, settings_of(7, 7, 12));
  const double loss = one.step.gradients(source, 5, 1);
  const std::vector<float> expected = gathered(one, &LocalParameter::grad);
  for (const GridShape& shape : grids_of(test_mpi().world()->size())) {
    if (shape.tp > config.heads || shape.pp > config.layers) continue;
    for (std::int64_t micro : {0, 1, 2, 3, 5, 100}) {
      Trial trial(test_mpi().world(), shape, config, settings_of(7, micro, 12));
      EXPECT_LT(relative(trial.step.gradients(source, 5, 1), loss), 1e-6)
          << name_of(shape) << " micro " << micro;
      const std::vector<float> got = gathered(trial, &LocalParameter::grad);
      if (trial.grid.world().rank() == 0) {
        EXPECT_LT(relative_norm(got, expected), 1e-5) << name_of(shape) << " micro " << micro;
      }
    }
  }
}

// The context is held by reference: who watches may change after all is built.
TEST(Step, AnObserverThatIsSetLaterSeesEveryLayer) {
  const ModelConfig config = small_config();
  const SampleSource source = made_up_source(12, config.vocab);
  Trial trial(make_self_communicator(), {}, config, settings_of(4, 4, 12));
  ShareClock clock;
  std::vector<std::int64_t> seen(static_cast<std::size_t>(config.layers), 0);
  trial.ctx.clock = &clock;
  trial.ctx.observer = [&](std::int64_t layer, std::string_view name, ConstView) {
    seen[static_cast<std::size_t>(layer)] += name == "qkv";
  };
  clock.start();
  trial.step.train(source, 0, 1);
  const auto seconds = clock.stop();
  EXPECT_EQ(seen, std::vector<std::int64_t>(seen.size(), 1));
  trial.ctx.observer = nullptr;
  trial.step.train(source, 0, 2);
  EXPECT_EQ(seen, std::vector<std::int64_t>(seen.size(), 1));
  for (const TimeShare share : {TimeShare::forward, TimeShare::backward, TimeShare::optimizer,
                                TimeShare::data})  // of Pipeline and TrainStep
    EXPECT_GT(seconds[static_cast<std::size_t>(share)], 0) << static_cast<int>(share);
}

TEST(Step, EdgesOfTheModelFollowOneRank) {
  struct Edge {
    const char* what;
    ModelConfig config;
    std::int64_t batch, T;
  };
  const Edge edges[] = {
      {"one layer", small_config(1), 4, 12},
      {"a vocabulary smaller than tp", small_config(2, 4, 16, 2), 4, 8},
      {"one token of context", small_config(2, 2, 8, 17, 1), 6, 1},
      {"one head", small_config(3, 1, 8, 31), 3, 9},
      {"sequences shorter than the context", small_config(2, 4, 16, 97, 64), 5, 7}};
  for (const Edge& edge : edges) {
    const SampleSource source = made_up_source(edge.T, edge.config.vocab);
    Trial one(make_self_communicator(), {}, edge.config, settings_of(edge.batch, 0, edge.T));
    const std::vector<double> alone = one.steps(source, 1, 8, edge.batch);
    for (const GridShape& shape : grids_of(test_mpi().world()->size())) {
      if (shape.tp > edge.config.heads || shape.pp > edge.config.layers || shape.dp > edge.batch)
        continue;
      Trial trial(test_mpi().world(), shape, edge.config, settings_of(edge.batch, 1, edge.T));
      EXPECT_LT(largest_difference(trial.steps(source, 1, 8, edge.batch), alone), 1e-5)
          << edge.what << ", " << name_of(shape);
    }
  }
}

// Attention is causal: the first T positions of the golden sequences have the golden
// log-probabilities.
TEST(Step, AShorterContextIsThePrefixOfTheReference) {
  const GoldenValues golden("gpt2_h3");
  const ModelConfig config = read_hf_config(data_dir("gpt2_h3"));
  const std::vector<float> logprobs = golden.values("logprobs");  // (B, golden.T)
  constexpr std::int64_t T = 31;
  double expected = 0;
  for (std::int64_t b = 0; b < golden.B; ++b)
    for (std::int64_t t = 0; t < T; ++t)
      expected -=
          logprobs[static_cast<std::size_t>(b * golden.T + t)] / static_cast<double>(golden.B * T);
  const SampleSource source =
      next_tokens(T, [&](std::int64_t place, std::int32_t* in, std::int32_t* labels) {
        const std::int32_t* row = golden.ids.data() + place * (golden.T + 1);
        if (in) std::copy(row, row + T, in);
        if (labels) std::copy(row + 1, row + T + 1, labels);
      });
  for (const GridShape& shape : grids_of(test_mpi().world()->size())) {
    if (shape.tp > config.heads || shape.pp > config.layers) continue;
    Trial trial(test_mpi().world(), shape, config, settings_of(golden.B, 0, T));
    load_hf_weights(trial.parameters, config, data_dir("gpt2_h3"), trial.stream);
    EXPECT_LT(relative(trial.step.evaluate(source, 0, golden.B).loss, expected), 1e-6)
        << name_of(shape);
  }
}

TEST(Step, EvaluatesAnyNumberOfSamples) {
  const ModelConfig config = small_config();
  const SampleSource source = made_up_source(12, config.vocab);
  Trial one(make_self_communicator(), {}, config, settings_of(1, 1, 12));
  for (const GridShape& shape : grids_of(test_mpi().world()->size())) {
    if (shape.tp > config.heads || shape.pp > config.layers) continue;
    Trial trial(test_mpi().world(), shape, config, settings_of(8, 2, 12));
    for (std::int64_t n : {1, 2, 3, 5, 8, 33})  // fewer than the ranks, and more than a step has
      EXPECT_LT(
          relative(trial.step.evaluate(source, 0, n).loss, one.step.evaluate(source, 0, n).loss),
          1e-6)
          << name_of(shape) << " n " << n;
  }
}

// Recomputing does the same sums again. GPipe and 1F1B add micro-batches in the same order; only
// where one stage holds both ends of a tied embedding do its two parts of the gradient come in
// another order, and the last bits of the sum with it.
TEST(Step, RecomputeChangesNoBitAndTheScheduleNoSum) {
  const ModelConfig config = small_config();
  const SampleSource source = made_up_source(12, config.vocab);
  for (const GridShape& shape : grids_of(test_mpi().world()->size())) {
    if (shape.tp > config.heads || shape.pp > config.layers) continue;
    const auto train = [&](Recompute recompute, ScheduleKind kind) {
      StepSettings settings = settings_of(8, 1, 12);
      settings.recompute = recompute;
      settings.schedule = kind;
      settings.dropout = {.embedding = 0.1f, .attention = 0.1f, .residual = 0.1f};
      Trial trial(test_mpi().world(), shape, config, settings);
      std::vector<double> losses = trial.steps(source, 1, 5, 8);
      return std::pair(std::move(losses), gathered(trial, &LocalParameter::weight));
    };
    const auto plain = train(Recompute::none, ScheduleKind::one_f_one_b),
               gpipe = train(Recompute::none, ScheduleKind::gpipe);
    EXPECT_TRUE(plain == train(Recompute::block, ScheduleKind::one_f_one_b))
        << name_of(shape) << ", 1f1b";
    EXPECT_TRUE(gpipe == train(Recompute::block, ScheduleKind::gpipe))
        << name_of(shape) << ", gpipe";
    EXPECT_LT(largest_difference(gpipe.first, plain.first), 1e-6) << name_of(shape);
    EXPECT_TRUE(shape.pp == 1 || gpipe == plain) << name_of(shape);
  }
}

// The executor runs what the list says: backward in two parts, several chunks a stage. Every
// gradient is the sum of the same numbers in the same order as with 1F1B, so all are equal to the
// bit; only the sum over data-parallel ranks cuts its buckets where a rank's parameters end, and
// three ranks or more then add in another order.
void expect_the_bits_of_1f1b(const ModelConfig& config, const std::string& what) {
  const SampleSource source = made_up_source(12, config.vocab);
  int n_split = 0, n_chunked = 0;
  for (const GridShape& shape : grids_of(test_mpi().world()->size(), config)) {
    for (Recompute recompute : {Recompute::none, Recompute::block}) {
      const auto run = [&](ScheduleKind kind, int chunks) {
        StepSettings settings = settings_of(12, 1, 12);
        settings.schedule = kind;
        settings.chunks = chunks;
        settings.recompute = recompute;
        settings.dropout = {.embedding = 0.1f, .attention = 0.1f, .residual = 0.1f};
        settings.clip_grad_norm = 0;  // a norm over other ranks' shares has other last bits
        EXPECT_EQ(checked_schedule(settings, shape).size(), static_cast<std::size_t>(shape.pp));
        Trial trial(test_mpi().world(), shape, config, settings);
        const double loss = trial.step.gradients(source, 3, 1);
        std::vector<float> grads = gathered(trial, &LocalParameter::grad);
        std::vector<double> losses = trial.steps(source, 1, 3, 12);
        losses.push_back(loss);
        losses.push_back(trial.step.evaluate(source, 0, 7).loss);
        return std::tuple(std::move(losses), std::move(grads),
                          gathered(trial, &LocalParameter::weight));
      };
      const auto plain = run(ScheduleKind::one_f_one_b, 1);
      const std::string name =
          what + ", " + name_of(shape) + (recompute == Recompute::block ? ", recomputed" : "");
      EXPECT_TRUE(run(ScheduleKind::zb_h1, 1) == plain) << name << ", zb-h1";
      ++n_split;
      for (int chunks : {2, 3}) {
        if (shape.pp == 1 || shape.pp * chunks > config.layers) continue;
        const auto interleaved = run(ScheduleKind::interleaved, chunks);
        ++n_chunked;
        if (shape.dp <= 2) {
          EXPECT_TRUE(interleaved == plain) << name << ", interleaved, " << chunks << " chunks";
        } else {
          EXPECT_LT(largest_difference(std::get<0>(interleaved), std::get<0>(plain)), 1e-6)
              << name << ", interleaved, " << chunks << " chunks";
        }
      }
    }
  }
  EXPECT_GE(n_split, 2) << what;
  EXPECT_TRUE(n_chunked > 0 || test_mpi().world()->size() == 1) << what;
}

TEST(Step, EveryScheduleGivesTheBitsOf1F1B) {
  expect_the_bits_of_1f1b(small_config(9), "layer norm");
  ModelConfig c = small_config(6);
  c.norm = NormKind::rms;
  c.positions = Positions::rope;
  c.rope.dims = c.head_dim;
  c.activation = Activation::silu;
  c.gated = true;
  c.qkv_bias = c.out_bias = c.mlp_bias = false;
  c.tied_head = false;
  c.qk_norm = QkNorm::per_head;
  expect_the_bits_of_1f1b(c, "queries and keys normed by head");
  c.qk_norm = QkNorm::whole;
  c.norm_place = NormPlace::output;
  c.kv_heads = 1;
  expect_the_bits_of_1f1b(c, "normed over all heads, and behind the branches");
}

TEST(Step, ANumberThatIsNotFiniteEndsTheRunWithASentence) {
  const ModelConfig config = small_config(2, 2, 16, 50);
  const int ranks = test_mpi().world()->size();
  Trial trial(test_mpi().world(), {1, 1, ranks}, config, settings_of(4, 0, 8));
  const_cast<LocalParameter&>(trial.parameters.at("layers.1.mlp.up.bias")).weight.as<float>()[3] =
      std::numeric_limits<float>::quiet_NaN();
  try {
    trial.step.train(made_up_source(8, 50), 0, 7);
    FAIL() << "a NaN went unnoticed";
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("step 7: the loss is nan"), std::string::npos)
        << error.what();
    EXPECT_NE(std::string(error.what()).find("diverged"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace weft::test

// What a training step says to other ranks: counted at the calls, it is what model/sizes says, to
// the byte, in every group of every grid of the ranks at hand; in fp32, and on GPUs in bf16.
#include <gtest/gtest.h>

#include <map>

#include "model/sizes.h"
#include "tests/held_model.h"
#include "tests/mpi_main.h"
#include "train/step.h"

namespace weft::test {
namespace {

using Volumes = std::map<std::string, std::int64_t>;  // by group and kind of call

constexpr std::array<const char*, kCallKinds> kCalls = {"broadcast", "all_reduce", "reduce_scatter",
                                                        "all_gather", "send"};

std::string name_of(GridGroup group, CallKind call) {
  return fmt::format("{}, {}", kGridGroupNames[static_cast<std::size_t>(group)],
                     kCalls[static_cast<std::size_t>(call)]);
}

Volumes counted(const Grid& grid) {
  Volumes all;
  for (int g = 0; g < kGridGroups; ++g)
    for (int c = 0; c < kCallKinds; ++c) {
      const auto group = static_cast<GridGroup>(g);
      const auto call = static_cast<CallKind>(c);
      all[name_of(group, call)] = grid.group(group).call_bytes(call);
    }
  return all;
}

ModelConfig gpt2_like() {
  ModelConfig c;
  c.layers = 4;
  c.heads = c.kv_heads = 4;
  c.width = 24;
  c.head_dim = 6;
  c.ffn = 50;
  c.vocab = 211;
  c.context = 16;
  return c;
}

ModelConfig llama_like() {
  ModelConfig c = gpt2_like();
  c.family = "llama";
  c.kv_heads = 2;  // which 3 and 4 ranks hold more than once
  c.norm = NormKind::rms;
  c.positions = Positions::rope;
  c.rope.dims = c.head_dim;
  c.activation = Activation::silu;
  c.gated = true;
  c.qkv_bias = c.out_bias = c.mlp_bias = false;
  c.tied_head = false;
  return c;
}

// OLMo 2 and Qwen3: norms behind the branches, of all queries and of each head's.
ModelConfig normed(QkNorm norm) {
  ModelConfig c = llama_like();
  c.qk_norm = norm;
  if (norm == QkNorm::whole) c.norm_place = NormPlace::output;
  return c;
}

struct Way {
  ScheduleKind schedule = ScheduleKind::one_f_one_b;
  int chunks = 1;
  Recompute recompute = Recompute::none;
  std::int64_t T = 7;
};

struct Trial : HeldModel {
  TrainStep step;
  Trial(GridShape shape, const ModelConfig& c, const StepSettings& settings, DType dtype)
      : HeldModel(test_mpi().world(), shape, c, ParameterUse::training, dtype, settings.chunks),
        step(ctx, config, parameters, settings) {
    if (dtype == DType::bf16) ctx.precision = Precision::bf16;
    parameters.init_weights(1, stream);
    parameters.refresh_bf16(stream);
  }
};

void expect_predicted(const ModelConfig& config, const GridShape& shape, const Way& way) {
  StepSettings s;
  s.batch_size = 9;  // no dp but 3 divides it, and no micro-batch
  s.micro_batch_size = 2;
  s.T = way.T;
  s.schedule = way.schedule;
  s.chunks = way.chunks;
  s.recompute = way.recompute;
  s.optimizer.lr = constant_lr(1e-3);
  if (way.schedule == ScheduleKind::interleaved) s.batch_size = 8 * shape.dp;
  const auto world = test_mpi().world();
  const bool cuda = device_for(*world).type == DeviceType::cuda;
  Trial run(shape, config, s, cuda ? DType::bf16 : DType::f32);
  const SampleSource source =
      next_tokens(s.T, [&](std::int64_t place, std::int32_t* ids, std::int32_t* labels) {
        for (std::int64_t t = 0; t < s.T; ++t) {
          if (ids) ids[t] = static_cast<std::int32_t>((place + 3 * t) % config.vocab);
          if (labels) labels[t] = static_cast<std::int32_t>((place + 3 * t + 3) % config.vocab);
        }
      });
  const std::vector<Instruction> list =
      schedule(s.schedule, shape.pp, run.grid.pp().rank(),
               static_cast<int>(TrainStep::n_micro_batches(s, shape)), s.chunks);
  const std::vector<StepTraffic> traffic =
      step_traffic(config, {.grid = shape,
                            .tp_rank = run.grid.tp().rank(),
                            .pp_rank = run.grid.pp().rank(),
                            .B = TrainStep::micro_batch_size(s, shape),
                            .T = s.T,
                            .n_micro = TrainStep::n_micro_batches(s, shape),
                            .recompute = s.recompute,
                            .act = run.ctx.act,
                            .splits_backward = splits_backward(list),
                            .chunks = s.chunks,
                            .device = run.device});
  Volumes predicted;
  std::int64_t total = 0;
  for (const StepTraffic& t : traffic) {
    EXPECT_GT(t.bytes, 0) << t.what;
    predicted[name_of(t.group, t.call)] += t.bytes;
    total += t.bytes;
  }
  EXPECT_EQ(total > 0, shape.ranks() > 1);
  for (std::int64_t number = 1; number <= 2; ++number) {
    const Volumes before = counted(run.grid);
    run.step.train(source, 0, number);
    for (auto& [name, bytes] : counted(run.grid))
      EXPECT_EQ(bytes - before.at(name), predicted[name])
          << name << " of " << config.family << " on " << test::name_of(shape) << ", "
          << to_text(list) << ", recompute " << static_cast<int>(way.recompute) << ", rank "
          << world->rank();
  }
}

std::vector<Way> ways_of(const GridShape& shape, const ModelConfig& config) {
  std::vector<Way> ways = {{}, {.recompute = Recompute::block}};
  if (shape.pp == 1) return ways;
  ways.push_back({.schedule = ScheduleKind::gpipe});
  ways.push_back({.schedule = ScheduleKind::zb_h1});
  ways.push_back({.schedule = ScheduleKind::zb_h1, .recompute = Recompute::block});
  if (2 * shape.pp <= config.layers)
    ways.push_back({.schedule = ScheduleKind::interleaved, .chunks = 2});
  return ways;
}

void expect_predicted_on_every_grid(const ModelConfig& config) {
  for (const GridShape& shape : grids_of(test_mpi().size(), config))
    for (const Way& way : ways_of(shape, config)) expect_predicted(config, shape, way);
}

TEST(Volume, OfGpt2IsPredictedToTheByte) { expect_predicted_on_every_grid(gpt2_like()); }
TEST(Volume, OfLlamaIsPredictedToTheByte) { expect_predicted_on_every_grid(llama_like()); }
TEST(Volume, OfNormedQueriesIsPredictedToTheByte) {
  expect_predicted_on_every_grid(normed(QkNorm::whole));
  expect_predicted_on_every_grid(normed(QkNorm::per_head));
}

// The head goes by blocks of rows, as many as its part of the vocabulary lets: at 16384 rows of it
// a whole block more than at 16385. Ranks that hold either meet in every block.
TEST(Volume, RanksCutTheHeadsRowsAlike) {
  const int n = test_mpi().size();
  ModelConfig c = gpt2_like();
  c.layers = 1;
  c.width = 8;
  c.head_dim = 2;
  c.ffn = 8;
  c.vocab = 16384 * n + 1;
  c.context = 512;
  expect_predicted(c, {.tp = n, .pp = 1, .dp = 1}, {.T = 512});
}

// A count that is wrong is seen: one call more of any kind, in any group.
TEST(Volume, EveryCallCounts) {
  const int n = test_mpi().size();
  auto world = test_mpi().world();
  const Grid grid(std::move(world), {.tp = n, .pp = 1, .dp = 1});
  Stream stream;
  std::vector<float> x(static_cast<std::size_t>(12 * n)), y(x.size());
  const View whole(x.data(), Dims{12 * n}), part(y.data(), Dims{12});
  Communicator& tp = grid.tp();
  tp.broadcast(part, 0, stream);
  tp.all_reduce(part, ReduceOp::sum, stream);
  tp.start_all_reduce(part, ReduceOp::sum, stream)->wait();
  tp.reduce_scatter(part, whole, ReduceOp::sum, stream);
  tp.all_gather(whole, part, stream);
  tp.start_broadcast(part, 0, stream)->wait();
  tp.start_reduce_scatter(part, whole, ReduceOp::sum, stream)->wait();
  tp.start_all_gather(whole, part, stream)->wait();
  const std::vector<std::int64_t> counts(static_cast<std::size_t>(n), 12);
  tp.start_all_gather(whole, part, counts, stream)->wait();
  const auto sent = tp.start_send(part, (tp.rank() + 1) % n, 0, stream);
  tp.recv(whole.rows(0, 12), (tp.rank() + n - 1) % n, 0, stream);
  sent->wait();
  const std::int64_t one = n > 1 ? 48 : 0;
  const std::array<std::int64_t, kCallKinds> expected = {2 * one, 2 * one, 2 * n * one, 3 * n * one,
                                                         one};
  for (int c = 0; c < kCallKinds; ++c)
    EXPECT_EQ(tp.call_bytes(static_cast<CallKind>(c)), expected[static_cast<std::size_t>(c)])
        << kCalls[static_cast<std::size_t>(c)];
}

}  // namespace
}  // namespace weft::test

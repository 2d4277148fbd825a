// The executor runs what a list says, in whatever order a list that the check lets through has it.
// (Whole steps with all schedules: tests/train/step_test.cpp.)
#include "model/pipeline.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "model/attention_scale.h"
#include "model/schedule_check.h"
#include "tests/mpi_main.h"

namespace weft {
namespace {

constexpr Op rF = Op::recv_activation, F = Op::forward, sF = Op::send_activation,
             rB = Op::recv_gradient, B = Op::backward, Bi = Op::backward_input,
             Bw = Op::backward_weight, sB = Op::send_gradient;
constexpr std::int64_t kT = 7, kVocab = 23;

ModelConfig config() {
  ModelConfig c;
  c.layers = 2;
  c.width = 12;
  c.heads = c.kv_heads = 3;
  c.head_dim = 4;
  c.attention_scale = attention_scale_of(4);
  c.ffn = 48;
  c.vocab = kVocab;
  c.context = kT;
  return c;
}

struct Result {
  std::map<int, float> losses;  // of each micro-batch, last stage
  std::vector<float> grads;     // this rank's
  std::vector<std::int64_t> ready;
  bool operator==(const Result& o) const { return losses == o.losses && grads == o.grads; }
};

Result run(const Grid& grid, const std::vector<StageSchedule>& all) {
  EXPECT_EQ(check_schedule(all), "");
  const ModelConfig c = config();
  Stream stream;
  const Context ctx = {.grid = grid,
                       .stream = stream,
                       .precision = Precision::fp32,
                       .clock = nullptr,
                       .observer = {}};
  Parameters parameters(c, grid, DType::f32, ParameterUse::training);
  parameters.init_weights(5, stream);
  for (const LocalParameter& p : parameters.list())  // what the last step left
    fill(p.grad, std::nan(""), stream);
  parameters.begin_grads();
  const StageSchedule& mine = all[static_cast<std::size_t>(grid.pp().rank())];
  Stage stage(ctx, c, parameters,
              {.B = 1,
               .T = kT,
               .slots = mine.slots,
               .recompute = Recompute::none,
               .splits_backward = splits_backward(mine.list)},
              {}, 0);
  Result result;
  Pipeline::Hooks hooks;
  hooks.load = [](StageSlot& slot, int m) {
    for (View x : {slot.batch.ids.host, slot.batch.labels.host})
      for (std::int64_t t = 0; t < (x.empty() ? 0 : kT); ++t)
        x.as<std::int32_t>()[t] = static_cast<std::int32_t>((5 * m + 3 * t + 1) % kVocab);
    slot.batch.lengths.host.as<std::int32_t>()[0] = kT;
    slot.batch.loss_scale = 0.125f;
  };
  hooks.done = [&](StageSlot& slot, int m) {
    const View loss = slot.activations.loss;
    for (std::int64_t t = 0; t < (loss.empty() ? 0 : kT); ++t)
      result.losses[m] += loss.as<float>()[t];
  };
  hooks.ready = [&](std::int64_t flat_end) { result.ready.push_back(flat_end); };
  Pipeline(ctx, {&stage}).run(mine.list, hooks);
  const View flat = parameters.grads_flat();
  parameters.finish_grads(0, flat.elems(), stream);
  result.grads.assign(flat.as<float>(), flat.as<float>() + flat.elems());
  EXPECT_TRUE(std::ranges::is_sorted(result.ready));
  EXPECT_EQ(result.ready.empty() ? 0 : result.ready.back(), flat.elems());
  return result;
}

// Two ranks as two stages; null on the others.
std::unique_ptr<Communicator> two_ranks() {
  auto world = test_mpi().world();
  auto part = world->split(world->rank() < 2 ? 0 : 1, world->rank());
  return world->size() >= 2 && world->rank() < 2 ? std::move(part) : nullptr;
}

// Losses to the bit; gradients added up in another order, of 14 rows each rounded to 2^-24: 1e-6 of
// their norm.
void expect_same_sums(const Result& got, const Result& expected) {
  EXPECT_EQ(got.losses, expected.losses);
  ASSERT_EQ(got.grads.size(), expected.grads.size());
  double difference = 0, norm = 0;
  for (std::size_t i = 0; i < got.grads.size(); ++i) {
    difference += std::pow(static_cast<double>(got.grads[i]) - expected.grads[i], 2);
    norm += std::pow(expected.grads[i], 2);
  }
  EXPECT_LT(std::sqrt(difference / norm), 1e-6);
}

TEST(Pipeline, RunsListsInAnyOrder) {
  auto world = two_ranks();
  if (!world) return;
  const Grid grid(std::move(world), {1, 2, 1});
  const Result plain = run(grid, pipeline_schedule(ScheduleKind::gpipe, 2, 2));
  EXPECT_EQ(plain.losses.size(), grid.is_last_stage() ? 2u : 0u);
  EXPECT_TRUE(run(grid, pipeline_schedule(ScheduleKind::one_f_one_b, 2, 2)) == plain);
  EXPECT_TRUE(run(grid, pipeline_schedule(ScheduleKind::zb_h1, 2, 2)) == plain);
  // Five slots for two micro-batches.
  auto roomy = pipeline_schedule(ScheduleKind::one_f_one_b, 2, 2);
  for (StageSchedule& stage : roomy) stage.slots = 5;
  EXPECT_TRUE(run(grid, roomy) == plain);
  // Stage 1 takes micro-batch 1 first, and sends the gradient of 0 first; stage 0 wants 1 first.
  expect_same_sums(
      run(grid, {{{{F, 0}, {sF, 0}, {F, 1}, {sF, 1}, {rB, 1}, {B, 1}, {rB, 0}, {B, 0}}, 2},
                 {{{rF, 1}, {F, 1}, {rF, 0}, {F, 0}, {B, 0}, {sB, 0}, {B, 1}, {sB, 1}}, 2}}),
      plain);
  // All weight parts at the end, in the other order.
  expect_same_sums(run(grid, {{{{F, 0},
                                {sF, 0},
                                {F, 1},
                                {sF, 1},
                                {rB, 0},
                                {Bi, 0},
                                {rB, 1},
                                {Bi, 1},
                                {Bw, 1},
                                {Bw, 0}},
                               2},
                              {{{rF, 0},
                                {F, 0},
                                {Bi, 0},
                                {sB, 0},
                                {rF, 1},
                                {F, 1},
                                {Bi, 1},
                                {sB, 1},
                                {Bw, 1},
                                {Bw, 0}},
                               2}}),
                   plain);
}

}  // namespace
}  // namespace weft

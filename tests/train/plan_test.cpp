// What training plans of a GPU's memory, and of the host's for it, against what is taken.
#include <gtest/gtest.h>

#include "core/allocations.h"
#include "core/host_copy.h"
#include "formats/checkpoint.h"
#include "kernels/scratch.h"
#include "tests/io/shared_folder.h"
#include "tests/train/trial.h"
#include "train/replica_check.h"
#include "train/step.h"

namespace weft::test {
namespace {

ModelConfig gpt2_like() { return small_config(2, 2, 32, 211, 24); }

ModelConfig llama_like() {
  ModelConfig c = small_config(2, 4, 64, 300, 24);
  c.kv_heads = 2;
  c.norm = NormKind::rms;
  c.positions = Positions::rope;
  c.rope.dims = c.head_dim;
  c.gated = true;
  c.activation = Activation::silu;
  return c;
}

TEST(DevicePlan, HoldsAllThatTrainingTakesAndLittleMore) {
  auto world = test_mpi().world();
  const Device device = device_for(*world);
  if (device.type == DeviceType::cpu) GTEST_SKIP() << "the memory of a GPU";
  for (const ModelConfig& c : {gpt2_like(), llama_like()})
    for (const DType dtype : {DType::f32, DType::bf16})
      for (const Recompute recompute : {Recompute::none, Recompute::block}) {
        const std::int64_t before = gpu_free_bytes(device);
        HeldModel m(test_mpi().world(), {1, 1, 1}, c, ParameterUse::training, dtype);
        if (dtype == DType::bf16) m.ctx.precision = Precision::bf16;
        StepSettings settings;
        settings.batch_size = 4;
        settings.micro_batch_size = 2;
        settings.T = 24;
        settings.recompute = recompute;
        settings.dropout = {0.1f, 0.1f, 0.1f, 0.1f};
        settings.optimizer.lr = constant_lr(1e-3);
        const ParametersPlan held =
            Parameters::plan(c, {1, 1, 1}, 0, 0, dtype, ParameterUse::training, device);
        EXPECT_EQ(held.bytes, m.parameters.bytes());
        m.parameters.init_weights(1, m.stream);
        m.parameters.refresh_bf16(m.stream);
        TrainStep step(m.ctx, m.config, m.parameters, settings);
        const SampleSource source = made_up_source(settings.T, c.vocab);
        for (std::int64_t s = 1; s <= 2; ++s) step.train(source, (s - 1) * 4, s);
        step.evaluate(source, 8, 3);
        m.stream.synchronize();
        const auto planned = static_cast<std::int64_t>(
            held.bytes + TrainStep::plan_bytes(m.ctx, c, held, settings) - kCudaReserve);
        const std::int64_t taken = before - gpu_free_bytes(device),
                           rounding = 16 * 4096;  // of allocations to whole pages, in emulation
        const std::string name = fmt::format("{}, {}, recompute {}", c.gated ? "gated" : "GELU",
                                             dtype_name(dtype), recompute == Recompute::block);
        EXPECT_GE(planned + rounding, taken) << name;
        EXPECT_LE(planned, taken + taken / 10 + (1 << 20)) << name;
      }
}

// A tensor of 33 MB among them: what the host holds of the model is two pieces of it.
TEST(DevicePlan, SavesAndLoadsThroughPiecesOfHostMemory) {
  const Device device = device_for(*test_mpi().world());
  if (device.type == DeviceType::cpu) GTEST_SKIP() << "a GPU's tensors on the host";
  ModelConfig c = small_config(1, 8, 512, 16000, 16);
  c.ffn = 64;
  const SharedFolder folder;
  const auto file = folder / "step-00000007.h5";
  const auto kinds = {&LocalParameter::weight, &LocalParameter::m, &LocalParameter::v};
  constexpr std::int64_t kMost = 2 * kPieceBytes + 4096;
  std::uint64_t saved = 0;
  {
    HeldModel m(test_mpi().world(), {1, 1, 1}, c);
    m.parameters.init_weights(3, m.stream);
    m.parameters.zero_moments(m.stream);
    const std::int64_t before = host_bytes_allocated();
    RunState state;
    state.step = 7;
    save_checkpoint(m.ctx, file, m.parameters, m.config, state);
    EXPECT_LE(host_bytes_allocated() - before, kMost);
    saved = local_checksum(m.ctx, m.parameters, kinds);
  }
  HeldModel m(test_mpi().world(), {1, 1, 1}, c);
  const std::int64_t before = host_bytes_allocated();
  load_checkpoint(m.ctx, file, m.parameters, m.config);
  EXPECT_EQ(local_checksum(m.ctx, m.parameters, kinds), saved);
  EXPECT_LE(host_bytes_allocated() - before, kMost);
}

}  // namespace
}  // namespace weft::test

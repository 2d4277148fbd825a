// A vocabulary whose rows are padded on a GPU (padded_vocab) against the CPU's, which has no
// padding: the same losses, gradients, weights and logits; and the padding stays zero.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "model/attention_scale.h"
#include "model/inference/pass.h"
#include "model/parameter_views.h"
#include "model/stage.h"
#include "tests/held_model.h"

namespace weft::test {
namespace {

constexpr std::int64_t B = 2, T = 12;

ModelConfig small_gpt2(std::int64_t V) {
  ModelConfig c;
  c.layers = 1;
  c.width = 24;
  c.heads = c.kv_heads = 3;
  c.head_dim = 8;
  c.attention_scale = attention_scale_of(8);
  c.ffn = 40;
  c.vocab = V;
  c.context = T;
  return c;
}

// Gemma 2's cap, on a head of its own.
ModelConfig capped(std::int64_t V) {
  ModelConfig c = small_gpt2(V);
  c.tied_head = false;
  c.logit_softcap = 5;
  return c;
}

// BERT's head: a transform, and a bias for each token.
ModelConfig masked(std::int64_t V) {
  ModelConfig c = small_gpt2(V);
  c.causal = false;
  c.head_transform = c.head_bias = true;
  return c;
}

double difference(const std::vector<float>& a, const std::vector<float>& b) {
  double square = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    square += std::pow(static_cast<double>(a[i]) - b[i], 2);
    size += std::pow(b[i], 2);
  }
  return a.size() == b.size() ? std::sqrt(square / std::max(size, 1e-12)) : INFINITY;
}

struct Trained {
  Grid grid;
  Stream stream;
  Context ctx;
  ModelConfig config;
  Parameters parameters;
  Stage stage;
  HostCopy copy;

  Trained(Device device, const ModelConfig& c, DType dtype)
      : grid(make_self_communicator(), {}),
        stream(device),
        ctx{.grid = grid,
            .stream = stream,
            .precision = dtype == DType::bf16 ? Precision::bf16 : Precision::fp32,
            .act = activation_dtype(device, dtype),
            .clock = nullptr,
            .observer = {}},
        config(c),
        parameters(config, grid, dtype, ParameterUse::training, 1, device),
        stage(ctx, config, parameters, {.B = B, .T = T}, {}, 0) {
    parameters.init_weights(5, stream);
    parameters.refresh_bf16(stream);
  }

  std::vector<float> values(ConstView x) {
    const auto* first = copy.floats(x, stream).as<float>();
    return {first, first + x.elems()};
  }

  // The losses of a step's rows.
  std::vector<float> step(std::int64_t n) {
    StageSlot& slot = stage.slot(0);
    slot.staging.wait();
    const auto V = static_cast<std::int32_t>(config.vocab);
    for (std::int32_t i = 0; i < B * T; ++i) {
      slot.batch.ids.host.as<std::int32_t>()[i] = (7 * i + static_cast<std::int32_t>(n)) % V;
      slot.batch.labels.host.as<std::int32_t>()[i] = i % 5 == 0 ? kIgnoreLabel
                                                     : i == 1   ? V - 1
                                                                : (11 * i * i) % V;
    }
    std::fill_n(slot.batch.lengths.host.as<std::int32_t>(), B, static_cast<std::int32_t>(T));
    slot.batch.loss_scale = 1.0f / static_cast<float>(B * T);
    parameters.begin_grads();
    stage.forward(slot);
    stage.backward(slot, nullptr);
    parameters.finish_grads(0, parameters.grads_flat().elems(), stream);
    std::vector<AdamWTensor> tensors;
    for (const LocalParameter& p : parameters.list())
      tensors.push_back({p.weight, p.m, p.v, p.grad, p.weight_bf16, p.info.decay});
    adamw(tensors, ConstView(), {.lr = 1e-2f, .weight_decay = 0.1f, .step = n}, stream);
    return values(slot.activations.loss);
  }

  // (3, V) of three rows, then the losses of the same.
  std::vector<float> logits() {
    InferencePass pass(
        ctx, config, parameters,
        {.slots = 1, .S = T, .max_rows = T, .max_logit_rows = 4, .whole_texts = !config.causal});
    std::vector<std::int32_t> ids(T);
    for (std::size_t i = 0; i < ids.size(); ++i)
      ids[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i * i) % config.vocab);
    const std::vector<CacheSlice> slices = {
        {.first_row = 0, .n_rows = T, .n_cached = 0, .slot = 0}};
    const ConstView hidden =
        pass.hidden({.ids = ids, .types = {}, .slices = slices, .text_lengths = {}});
    const std::vector<std::int64_t> rows = {0, 5, T - 1};
    const ConstView z = pass.logits(hidden, rows);
    EXPECT_EQ(z.shape(), (Dims{3, config.vocab}));
    std::vector<float> all = values(z);
    const std::vector<std::int32_t> labels = {static_cast<std::int32_t>(config.vocab - 1), 0, 0};
    for (const float loss : values(pass.losses(hidden, labels, rows))) all.push_back(loss);
    return all;
  }

  void expect_padding_is_zero(const std::string& when) {
    for (const LocalParameter& p : parameters.list()) {
      const Dims own = p.slice.local();
      const bool pads = p.info.axis == ShardAxis::vocab && stream.device().type != DeviceType::cpu;
      ASSERT_EQ(p.held[0], pads ? (own[0] + 127) / 128 * 128 : own[0]) << p.info.name;
      for (const View& x : {p.weight, p.weight_bf16, p.grad, p.m, p.v}) {
        if (x.empty()) continue;
        EXPECT_EQ(x.shape(), own) << p.info.name;
        const std::vector<float> held = values(padded(&p, x));
        EXPECT_TRUE(
            std::all_of(held.begin() + own.elems(), held.end(), [](float e) { return e == 0; }))
            << p.info.name << " " << when;
      }
    }
  }
};

TEST(Vocabulary, PaddedOnAGpuIsAsOnTheCpu) {
  if (gpu_count() == 0) GTEST_SKIP() << "not run: no GPU (neither real nor emulated)";
  for (const ModelConfig& c :
       {small_gpt2(1), small_gpt2(83), small_gpt2(128), small_gpt2(1003), capped(129), masked(211)})
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const bool bf16 = dtype == DType::bf16;
      const std::string name = fmt::format("{} {}{}{}", c.vocab, dtype_name(dtype),
                                           c.tied_head ? "" : " capped", c.causal ? "" : " masked");
      Trained cpu({}, c, dtype), gpu({DeviceType::cuda, 0}, c, dtype);
      gpu.expect_padding_is_zero(name + " at first");
      for (std::int64_t n = 1; n <= 4; ++n) {
        const std::vector<float> expected = cpu.step(n), got = gpu.step(n);
        EXPECT_LT(difference(got, expected), bf16 ? 1e-2 : 1e-5) << name << " step " << n;
        for (std::size_t i = 0; n == 1 && i < cpu.parameters.list().size(); ++i) {
          const LocalParameter &a = gpu.parameters.list()[i], &b = cpu.parameters.list()[i];
          EXPECT_LT(difference(gpu.values(a.grad), cpu.values(b.grad)), bf16 ? 5e-2 : 1e-5)
              << name << ": gradient of " << a.info.name;
        }
      }
      gpu.expect_padding_is_zero(name + " after training");
      cpu.expect_padding_is_zero(name);
      if (bf16) continue;
      EXPECT_LT(difference(gpu.logits(), cpu.logits()), 1e-4) << name;
    }
}

}  // namespace
}  // namespace weft::test

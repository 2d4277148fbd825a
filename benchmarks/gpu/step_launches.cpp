// weft_step_launches: what one rank's GPU is given in a training step, without running it. One JSON
// line a kernel (products of matrices as "cuBLASLt"): how often, the bytes and FLOPs that its
// launches state; last one of the step itself, with the FLOPs that model/sizes counts.
//   weft_step_launches --shape gpt2-124m [--layers L] [--vocab V] [--batch B] [--context T]
// A step is linear in its layers: benchmarks/step_roofline.py asks for one and two of them.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <map>

#include "core/check.h"
#include "core/json.h"
#include "kernels/cuda/launch.cuh"
#include "model/attention_scale.h"
#include "model/parameters.h"
#include "model/sizes.h"
#include "model/stage.h"
#include "symbols.h"

namespace weft::gpu_bench {
namespace {

ModelConfig gpt2(std::int64_t layers, std::int64_t width, std::int64_t heads) {
  ModelConfig c;
  c.layers = layers;
  c.width = width;
  c.heads = c.kv_heads = heads;
  c.head_dim = width / heads;
  c.ffn = 4 * width;
  c.attention_scale = attention_scale_of(static_cast<double>(c.head_dim));
  return c;
}

ModelConfig llama_1b() {
  ModelConfig c = gpt2(16, 2048, 32);
  c.family = "llama";
  c.kv_heads = 8;
  c.ffn = 8192;
  c.vocab = 128256;
  c.context = 4096;
  c.norm = NormKind::rms;
  c.positions = Positions::rope;
  c.rope.theta = 500000;
  c.rope.dims = c.head_dim;
  c.activation = Activation::silu;
  c.gated = true;
  c.qkv_bias = c.out_bias = c.mlp_bias = false;
  return c;
}

struct Asked {
  std::string shape = "gpt2-124m";
  std::int64_t layers = 0, vocab = 0, batch = 8, context = 0;

  ModelConfig config() const {
    const std::map<std::string, ModelConfig> shapes = {{"gpt2-124m", gpt2(12, 768, 12)},
                                                       {"gpt2-1.5b", gpt2(48, 1600, 25)},
                                                       {"llama-3.2-1b", llama_1b()}};
    const auto found = shapes.find(shape);
    CHECK_USER(found != shapes.end(),
               "--shape is '{}'; allowed: gpt2-124m, gpt2-1.5b, llama-3.2-1b", shape);
    ModelConfig c = found->second;
    if (layers > 0) c.layers = layers;
    if (vocab > 0) c.vocab = vocab;
    if (context > 0) c.context = context;
    validate(c, "the options");
    return c;
  }
};

// As TrainStep does with one micro-batch: forward, backward, gradients clipped, applied.
void step(const Context& ctx, const ModelConfig& config, std::int64_t batch) {
  Stream& stream = ctx.stream;
  Parameters parameters(config, ctx.grid, DType::bf16, ParameterUse::training, 1, stream.device());
  Stage stage(ctx, config, parameters, {.B = batch, .T = config.context}, {}, 0);
  Arena scalars("scalars", 128, stream.device());
  const View square = scalars.alloc(DType::f64, {1}), scale = scalars.alloc(DType::f32, {1});
  auto& log = stream.attached<cuda::LaunchLog>();
  log.on = log.dry = true;
  parameters.begin_grads();
  StageSlot& slot = stage.slot(0);
  slot.batch.label_ends.assign(slot.batch.label_ends.size(), 1);
  std::fill_n(slot.batch.lengths.host.as<std::int32_t>(), batch,
              static_cast<std::int32_t>(config.context));
  stage.forward(slot);
  stage.backward(slot, nullptr);
  parameters.finish_grads(0, parameters.grads_flat().elems(), stream);
  std::vector<ConstView> gradients;
  std::vector<AdamWTensor> tensors;
  for (const LocalParameter& p : parameters.list()) {
    if (p.info.tied_to.empty()) gradients.push_back(p.grad);
    tensors.push_back({p.weight, p.m, p.v, p.grad, p.weight_bf16, p.info.decay});
  }
  sum_of_squares(square, gradients, stream);
  clip_scale(scale, square, 1, stream);
  adamw(tensors, scale, {.lr = 1e-4f}, stream);
  stream.synchronize();
}

void print(const nlohmann::ordered_json& line) { std::puts(json_text(line).c_str()); }

void list(const Asked& asked) {
  const ModelConfig config = asked.config();
  const Grid grid(make_self_communicator(), {});
  Stream stream({DeviceType::cuda, 0});
  const Context ctx = {.grid = grid,
                       .stream = stream,
                       .precision = Precision::bf16,
                       .act = DType::bf16,
                       .clock = nullptr,
                       .observer = {}};
  step(ctx, config, asked.batch);
  struct Sum {
    std::int64_t launches = 0;
    double bytes = 0, flops = 0;
  };
  std::map<std::string, Sum> sums;
  for (const auto& e : stream.attached<cuda::LaunchLog>().entries) {
    Sum& sum = sums[symbol_of(e.kernel)];
    ++sum.launches;
    sum.bytes += e.work.bytes;
    sum.flops += e.work.flops;
  }
  for (const auto& [kernel, sum] : sums)
    print({{"kernel", kernel},
           {"launches", sum.launches},
           {"bytes", sum.bytes},
           {"flops", sum.flops}});
  const SequenceRows rows = {.n = asked.batch, .rows = config.context};
  // Of the columns that pad the vocabulary, which model/sizes leaves out.
  ModelConfig padded = config;
  padded.vocab = padded_vocab(config.vocab, stream.device());
  const double padding = 3 * (head_flops(padded, asked.batch * config.context) -
                              head_flops(config, asked.batch * config.context));
  const double pairs = static_cast<double>(asked.batch * config.heads * config.layers) *
                       static_cast<double>(config.context) *
                       static_cast<double>(config.context + 1) / 2;
  print({{"shape", asked.shape},
         {"layers", config.layers},
         {"tokens", asked.batch * config.context},
         {"parameters", count_parameters(config)},
         {"head_dim", config.head_dim},
         {"flops", training_flops(config, rows, Recompute::none)},
         {"padding_flops", padding},
         {"attention_pairs", pairs},
         {"customary_flops", customary_flops_per_token(config, config.context) *
                                 static_cast<double>(asked.batch * config.context)}});
}

}  // namespace
}  // namespace weft::gpu_bench

int main(int argc, char** argv) {
  using weft::gpu_bench::Asked;
  CLI::App app("Lists what a training step gives a GPU, without running it");
  Asked asked;
  app.add_option("--shape", asked.shape, "gpt2-124m, gpt2-1.5b or llama-3.2-1b");
  app.add_option("--layers", asked.layers, "instead of the shape's")->check(CLI::PositiveNumber);
  app.add_option("--vocab", asked.vocab, "likewise")->check(CLI::PositiveNumber);
  app.add_option("--context", asked.context, "tokens of a sequence")->check(CLI::PositiveNumber);
  app.add_option("--batch", asked.batch, "sequences")->check(CLI::PositiveNumber);
  CLI11_PARSE(app, argc, argv);
  try {
    weft::gpu_bench::list(asked);
    return 0;
  } catch (const weft::UserError& e) {
    std::fprintf(stderr, "weft_step_launches: %s\n", e.what());
    return 2;
  } catch (const std::exception& e) {
    std::fprintf(stderr, "weft_step_launches: %s\n", e.what());
    return 1;
  }
}

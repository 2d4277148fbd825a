// One model on one grid, ready to step; and the grids that a test walks through.
#pragma once

#include "formats/checkpoint.h"
#include "model/attention_scale.h"
#include "tests/parity/golden.h"

namespace weft::test {

struct Trial : HeldModel {
  TrainStep step;

  // A fresh model, its weights drawn from the seed. Settings without a learning rate have 1e-3.
  Trial(std::unique_ptr<Communicator> world, GridShape shape, const ModelConfig& c,
        const StepSettings& settings)
      : HeldModel(std::move(world), shape, c, ParameterUse::training, DType::f32, settings.chunks),
        step(ctx, config, parameters, with_rate(settings)) {
    parameters.init_weights(settings.seed, stream);
  }
  static StepSettings with_rate(StepSettings settings) {
    if (settings.optimizer.lr.lr == 0) settings.optimizer.lr = constant_lr(1e-3);
    return settings;
  }
  // Steps [first, last] on the golden sequences, batch after batch; the losses.
  std::vector<double> steps(const SampleSource& source, std::int64_t first, std::int64_t last,
                            std::int64_t batch) {
    std::vector<double> losses;
    for (std::int64_t s = first; s <= last; ++s)
      losses.push_back(step.train(source, (s - 1) * batch, s).loss);
    return losses;
  }
};

// Every grid of at most `ranks` ranks that the model can be cut into.
inline std::vector<GridShape> grids_up_to(int ranks, const ModelConfig& config) {
  std::vector<GridShape> list;
  for (int n = 1; n <= ranks; ++n)
    for (const GridShape& shape : grids_of(n, config)) list.push_back(shape);
  return list;
}

// The first ranks of the world as a world of their own; null on the others.
inline std::unique_ptr<Communicator> first_ranks(int n) {
  auto world = test_mpi().world();
  const bool in = world->rank() < n;
  auto part = world->split(in ? 0 : 1, world->rank());
  return in ? std::move(part) : nullptr;
}

inline ModelConfig small_config(std::int64_t layers = 3, std::int64_t heads = 3,
                                std::int64_t width = 24, std::int64_t vocab = 211,
                                std::int64_t context = 24) {
  ModelConfig c;
  c.layers = layers;
  c.heads = c.kv_heads = heads;
  c.width = width;
  c.head_dim = width / heads;
  c.attention_scale = attention_scale_of(static_cast<double>(c.head_dim));
  c.ffn = 4 * width;
  c.vocab = vocab;
  c.context = context;
  return c;
}

// Place i of the run is a sequence that (i, position) decides: structured enough to be learned.
inline SampleSource made_up_source(std::int64_t T, std::int64_t vocab) {
  return next_tokens(T, [T, vocab](std::int64_t place, std::int32_t* ids, std::int32_t* labels) {
    const auto token = [&](std::int64_t t) {
      return static_cast<std::int32_t>((place * 7 + t * (1 + place % 3) + (t * t) % 5) % vocab);
    };
    for (std::int64_t t = 0; t < T; ++t) {
      if (ids) ids[t] = token(t);
      if (labels) labels[t] = token(t + 1);
    }
  });
}

inline double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double worst = a.size() == b.size() ? 0 : 1e9;
  for (std::size_t i = 0; i < a.size() && i < b.size(); ++i)
    worst = std::max(worst, relative(a[i], b[i]));
  return worst;
}

}  // namespace weft::test

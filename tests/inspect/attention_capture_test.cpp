// Maps, hidden states and logits against the reference, the same on every grid.
#include "inspect/attention_capture.h"

#include "tests/inspect/golden_text.h"

namespace weft::test {
namespace {

// What a capture gave on a replica's first rank (maps, q, k) or on ranks each their part (hidden).
struct Captured {
  std::vector<float> maps, q, k;
  std::vector<std::int64_t> layers, kv_of;
  std::vector<HeadStatistics> statistics;
  std::vector<float> hidden;  // (L + 1, T, C), where this rank has it; else NaN
};

Captured capture(GoldenModel& model, const GoldenText& text, CaptureChoice choice) {
  Captured c;
  AttentionCapture capture(model.ctx, model.config, model.parameters, choice, text.T() + 3);
  capture.run(text.ids, text.types);
  EXPECT_FALSE(model.ctx.observer);
  c.statistics = capture.collect([&](const LayerCapture& layer) {
    for (const auto& [list, view] :
         {std::pair(&c.maps, layer.maps), {&c.q, layer.q}, {&c.k, layer.k}})
      for (const float x : floats(view)) list->push_back(x);
    c.layers.push_back(layer.layer);
    c.kv_of.assign(layer.kv_of.begin(), layer.kv_of.end());
  });
  const std::int64_t C = model.config.width, T = text.T();
  c.hidden.assign(static_cast<std::size_t>((model.config.layers + 1) * T * C), NAN);
  capture.each_own_hidden([&](std::int64_t layer, std::int64_t first, ConstView rows) {
    std::copy_n(rows.as<float>(), rows.elems(), c.hidden.begin() + (layer * T + first) * C);
  });
  return c;
}

CaptureChoice everything(const ModelConfig& c) {
  return {.layers = all_of(c.layers),
          .heads = all_of(c.heads),
          .whole_layers = true,
          .hidden = true,
          .logit_rows = 0};
}

TEST(AttentionCapture, EveryFamilysMapsAndHiddenStatesAreTheReferences) {
  ASSERT_GE(GoldenText::models().size(), 32u);
  for (const std::string& name : GoldenText::models()) {
    const GoldenText text(name);
    for (const GridShape& shape : grids_of(test_mpi().world()->size(), text.config)) {
      GoldenModel model(test_mpi().world(), shape, text);
      const Captured c = capture(model, text, everything(text.config));
      const std::string where = name + " on " + name_of(shape);
      if (model.grid.replica().rank() == 0) {
        const std::vector<double> maps = text.values("attention");
        ASSERT_EQ(c.maps.size(), maps.size()) << where;
        for (std::size_t i = 0; i < maps.size(); ++i)
          ASSERT_NEAR(static_cast<double>(c.maps[i]), maps[i], 1e-5) << where << " element " << i;
        EXPECT_EQ(c.layers, all_of(text.config.layers)) << where;
      } else {
        EXPECT_TRUE(c.maps.empty()) << where;
      }
      const std::vector<double> hidden = text.values("hidden");
      ASSERT_EQ(c.hidden.size(), hidden.size()) << where;
      std::vector<float> ours;
      std::vector<double> theirs;
      for (std::size_t i = 0; i < hidden.size(); ++i)
        if (!std::isnan(c.hidden[i])) {
          ours.push_back(c.hidden[i]);
          theirs.push_back(hidden[i]);
        }
      EXPECT_LT(relative_norm(ours, theirs), 1e-5) << where;
      // Every row is kept by one rank of the replica.
      std::vector<float> kept;
      for (const float x : c.hidden) kept.push_back(std::isnan(x) ? 0.0f : 1.0f);
      model.grid.replica().all_reduce(
          View(kept.data(), Dims{static_cast<std::int64_t>(kept.size())}), ReduceOp::sum,
          model.stream);
      EXPECT_EQ(kept, std::vector<float>(kept.size(), 1.0f)) << where;
    }
  }
}

TEST(AttentionCapture, ChosenHeadsOfAnyGridAreThoseOfOneRank) {
  for (const std::string name : {"llama3", "gemma2", "bert_base", "olmo2"}) {
    const GoldenText text(name);
    GoldenModel alone(make_self_communicator(), {}, text);
    const ModelConfig& c = text.config;
    const Captured all = capture(alone, text, everything(c));
    const CaptureChoice choice = {.layers = {c.layers - 1},
                                  .heads = {0, c.heads - 2, c.heads - 1},
                                  .whole_layers = true,
                                  .hidden = false,
                                  .logit_rows = 0};
    const std::int64_t T = text.T(), D = c.head_dim, per_key = c.heads / c.kv_heads;
    for (const GridShape& shape : grids_of(test_mpi().world()->size(), c)) {
      GoldenModel model(test_mpi().world(), shape, text);
      const Captured some = capture(model, text, choice);
      const std::string where = name + " on " + name_of(shape);
      const std::size_t first = static_cast<std::size_t>((c.layers - 1) * c.heads);
      for (std::size_t s = 0; s < 3; ++s) {
        const HeadStatistics &a = some.statistics[s],
                             &b = all.statistics[first + static_cast<std::size_t>(choice.heads[s])];
        EXPECT_NEAR(a.entropy, b.entropy, 1e-6) << where;
        EXPECT_NEAR(a.first_share, b.first_share, 1e-6) << where;
        EXPECT_NEAR(a.distance, b.distance, 1e-6) << where;
      }
      if (model.grid.replica().rank() != 0) continue;
      ASSERT_EQ(some.layers, std::vector<std::int64_t>{c.layers - 1}) << where;
      ASSERT_EQ(some.kv_of.size(), 3u) << where;
      std::vector<std::int64_t> keys;  // of the model, that those heads read
      for (std::size_t s = 0; s < 3; ++s) {
        const std::int64_t h = choice.heads[s], layer = c.layers - 1;
        if (keys.empty() || keys.back() != h / per_key) keys.push_back(h / per_key);
        ASSERT_EQ(some.kv_of[s], static_cast<std::int64_t>(keys.size()) - 1) << where;
        for (std::int64_t e = 0; e < T * T; ++e)
          ASSERT_NEAR(some.maps[static_cast<std::size_t>(static_cast<std::int64_t>(s) * T * T + e)],
                      all.maps[static_cast<std::size_t>((layer * c.heads + h) * T * T + e)], 1e-6)
              << where << " head " << h;
        for (std::int64_t t = 0; t < T; ++t)
          for (std::int64_t d = 0; d < D; ++d)
            ASSERT_NEAR(
                some.q[static_cast<std::size_t>((t * 3 + static_cast<std::int64_t>(s)) * D + d)],
                all.q[static_cast<std::size_t>(((layer * T + t) * c.heads + h) * D + d)], 1e-4)
                << where << " head " << h;
      }
      const auto n_kv = static_cast<std::int64_t>(keys.size());
      ASSERT_EQ(static_cast<std::int64_t>(some.k.size()), T * n_kv * D) << where;
      for (std::int64_t t = 0; t < T; ++t)
        for (std::int64_t i = 0; i < n_kv; ++i)
          for (std::int64_t d = 0; d < D; ++d)
            ASSERT_NEAR(some.k[static_cast<std::size_t>((t * n_kv + i) * D + d)],
                        all.k[static_cast<std::size_t>((((c.layers - 1) * T + t) * c.kv_heads +
                                                        keys[static_cast<std::size_t>(i)]) *
                                                           D +
                                                       d)],
                        1e-4)
                << where;
    }
  }
}

// Queries and keys are those that the maps come from: a page computes them again from these.
TEST(AttentionCapture, MapsFollowFromQueriesKeysScaleCapAndWindow) {
  for (const std::string name : {"gemma2", "mistral", "bert_base"}) {
    const GoldenText text(name);
    GoldenModel model(make_self_communicator(), {}, text);
    AttentionCapture capture(model.ctx, model.config, model.parameters, everything(text.config),
                             text.T());
    capture.run(text.ids, text.types);
    bool windowed = false;
    const std::int64_t T = text.T(), D = text.config.head_dim;
    capture.collect([&](const LayerCapture& l) {
      windowed = windowed || l.window > 0;
      const std::int64_t S = l.maps.dim(0), n_kv = l.k.dim(1);
      for (std::int64_t s = 0; s < S; ++s)
        for (std::int64_t i = 0; i < T; ++i) {
          std::vector<double> row(static_cast<std::size_t>(T), 0.0);
          double sum = 0;
          for (std::int64_t j = 0; j < T; ++j) {
            const std::int64_t far = std::abs(i - j);
            if ((text.config.causal && j > i) || (l.window > 0 && far >= l.window)) continue;
            double score = 0;
            for (std::int64_t d = 0; d < D; ++d)
              score +=
                  static_cast<double>(l.q.as<float>()[(i * S + s) * D + d]) *
                  static_cast<double>(
                      l.k.as<float>()[(j * n_kv + l.kv_of[static_cast<std::size_t>(s)]) * D + d]);
            score *= static_cast<double>(l.scale);
            const auto cap = static_cast<double>(l.softcap);
            sum += row[static_cast<std::size_t>(j)] =
                std::exp(cap > 0 ? cap * std::tanh(score / cap) : score);
          }
          for (std::int64_t j = 0; j < T; ++j)
            ASSERT_NEAR(static_cast<double>(l.maps.as<float>()[(s * T + i) * T + j]),
                        row[static_cast<std::size_t>(j)] / sum, 1e-5)
                << name << " layer " << l.layer << " head " << s;
        }
    });
    EXPECT_EQ(windowed, text.config.window > 0) << name;
  }
}

TEST(AttentionCapture, LogitsInPiecesAreTheReferences) {
  for (const std::string name : {"llama3", "gemma2", "bert_mlm", "esm_mlm"}) {
    const GoldenText text(name);
    const std::vector<double> expected = text.values("logits");
    for (const GridShape& shape : grids_of(test_mpi().world()->size(), text.config)) {
      GoldenModel model(test_mpi().world(), shape, text);
      CaptureChoice choice = {
          .layers = {0}, .heads = {0}, .whole_layers = false, .hidden = false, .logit_rows = 3};
      AttentionCapture capture(model.ctx, model.config, model.parameters, choice, text.T());
      capture.run(text.ids, text.types);
      std::vector<float> logits;
      for (std::int64_t at = 0; at < text.T(); at += 3) {
        const ConstView piece = capture.logits({at, std::min(text.T(), at + 3)});
        ASSERT_EQ(piece.empty(), !model.grid.is_last_stage());
        if (!piece.empty())
          for (const float x : floats(piece)) logits.push_back(x);
      }
      if (model.grid.is_last_stage()) {
        EXPECT_LT(relative_norm(logits, expected), 1e-5) << name << " on " << name_of(shape);
      }
    }
  }
}

// The plan is what is allocated, and grows with what is asked for.
TEST(AttentionCapture, PlansItsMemory) {
  const GoldenText text("llama3");
  const GoldenModel model(make_self_communicator(), {}, text);
  const auto plan = [&](const CaptureChoice& choice, std::int64_t T) {
    return static_cast<double>(AttentionCapture::plan_bytes(model.ctx, model.config, choice, T));
  };
  const CaptureChoice little = {
      .layers = {0}, .heads = {0}, .whole_layers = false, .hidden = false, .logit_rows = 0};
  CaptureChoice all = everything(text.config);
  EXPECT_GT(plan(little, 4096), 4096.0 * 4096 * 4);      // a map
  EXPECT_LT(plan(little, 4096), 3 * 4096.0 * 4096 * 4);  // not many
  EXPECT_GT(plan(all, 4096), 7 * 4096.0 * 4096 * 4);     // a layer's six, and one
  EXPECT_LT(plan(all, 4096), 10 * 4096.0 * 4096 * 4);    // not those of all layers
}

}  // namespace
}  // namespace weft::test

// Bytes and FLOPs: against counts made by hand, and against what the ops of real passes count.
#include "model/sizes.h"

#include <gtest/gtest.h>

#include "formats/open_model.h"
#include "kernels/work.h"
#include "model/inference/pass.h"
#include "tests/io/shared_folder.h"
#include "tests/known_models.h"

namespace weft {
namespace {

using test::llama3_8b;

namespace fs = std::filesystem;

// ---- by hand

ModelConfig gpt2_124m() {
  ModelConfig c;  // the defaults are its
  return c;
}

ModelConfig bert_base_classifier() {
  ModelConfig c;
  c.family = "bert";
  c.vocab = 30522;
  c.context = 512;
  c.norm_place = NormPlace::post;
  c.token_types = 2;
  c.causal = false;
  c.head = HeadKind::classify;
  c.tied_head = false;
  c.pooling = Pooling::first_tanh;
  c.n_labels = 2;
  return c;
}

TEST(Sizes, PairsOfAMaskAreThoseThatALoopFinds) {
  for (std::int64_t left : {-1, 0, 3, 100})
    for (std::int64_t right : {-1, 0, 2, 100})
      for (std::int64_t first : {0, 4})
        for (std::int64_t n_keys : {0, 1, 5, 9, 12}) {
          double pairs = 0;
          for (std::int64_t p = first; p < first + 8; ++p)
            for (std::int64_t j = 0; j < n_keys; ++j)
              pairs += (left < 0 || j >= p - left) && (right < 0 || j <= p + right);
          EXPECT_EQ(attention_pairs(first, 8, n_keys, left, right), pairs)
              << left << " " << right << " " << first << " " << n_keys;
        }
}

// 12 blocks of 12·768², a head of 50257·768 that is a layer though it is tied, and no table.
TEST(Sizes, Gpt2StepTakesSixPercentLessThanTheCustomaryCount) {
  const ModelConfig c = gpt2_124m();
  EXPECT_DOUBLE_EQ(customary_flops_per_token(c, 1024), 6.0 * 124'439'808 + 12.0 * 12 * 768 * 1024);
  const double linear = 2.0 * (84'934'656 + 38'597'376), pairs = 1024 * 1025 / 2.0 * 12 * 768;
  EXPECT_DOUBLE_EQ(forward_flops(c, {.rows = 1024}, 1024), 1024 * linear + 4 * pairs);
  const double step = training_flops(c, {.n = 3, .rows = 1024}, Recompute::none);
  EXPECT_DOUBLE_EQ(step, 3 * (1024 * 3 * linear + 14 * pairs));
  EXPECT_NEAR(step / (3 * 1024 * customary_flops_per_token(c, 1024)), 0.939, 0.001);
}

// Recomputing a block does its forward again but for the last layer: work, and no progress.
TEST(Sizes, RecomputationIsExecutedAndIsNotUseful) {
  const ModelConfig c = gpt2_124m();
  const double once = training_flops(c, {.rows = 64}, Recompute::none),
               again = training_flops(c, {.rows = 64}, Recompute::block);
  EXPECT_DOUBLE_EQ(again - once, 12 * (64 * 2.0 * 8 * 768 * 768 + 4.0 * 768 * (64 * 65 / 2.0)));
}

TEST(Sizes, GroupedQueriesHaveNarrowKeysAndAsManyPairs) {
  const ModelConfig c = llama3_8b();
  const double block = (32.0 + 2 * 8) * 128 * 4096 + 4096.0 * 4096 + 3 * 14336.0 * 4096;
  const double pairs = 8192.0 * 8193 / 2;
  EXPECT_DOUBLE_EQ(block_flops(c, 0, {.rows = 8192}), 2 * 8192 * block + 4 * 4096 * pairs);
  EXPECT_DOUBLE_EQ(head_flops(c, 1), 2 * 128256.0 * 4096);
  // A token of decoding behind 1000 others sees 1001 keys.
  EXPECT_DOUBLE_EQ(forward_flops(c, {.n = 2, .rows = 1, .cached = 1000}, 2),
                   2 * (32 * (2 * block + 4 * 4096 * 1001.0) + 2 * 128256.0 * 4096));
}

TEST(Sizes, AWindowHidesPairsOfTheLayersThatHaveOne) {
  ModelConfig c = gpt2_124m();
  c.window = 4;
  c.layers = 2;
  c.windowed = {1, 0};
  const auto pairs = [&](std::int64_t layer, const SequenceRows& r) {
    ModelConfig none = c;
    none.window = 0;
    const double all = block_flops(none, layer, r), seen = block_flops(c, layer, r);
    return (all - seen) / (4 * 768);
  };
  EXPECT_DOUBLE_EQ(pairs(0, {.rows = 10}), 55 - (4 * 5 / 2.0 + 6 * 4));
  EXPECT_DOUBLE_EQ(pairs(1, {.rows = 10}), 0);
  EXPECT_DOUBLE_EQ(pairs(0, {.n = 3, .rows = 1, .cached = 20}), 3 * (21 - 4));
  EXPECT_EQ(decode_cache_bytes(c, DType::f32, 20), 2 * 4 * 768 * (4 + 20));
  EXPECT_EQ(decode_cache_bytes(c, DType::bf16, 20), 2 * 2 * 768 * (4 + 20));
}

// Nothing of the 23.4 million elements of its tables, and no LM head: a quarter of the customary
// count is not done.
TEST(Sizes, AClassifierHasNoHeadAndPaddingIsSeenByNobody) {
  const ModelConfig c = bert_base_classifier();
  const double block = 12.0 * 768 * 768, heads = 768.0 * 768 + 2 * 768;
  const SequenceRows batch = {.n = 8, .rows = 128, .tokens = 700};
  EXPECT_DOUBLE_EQ(training_flops(c, batch, Recompute::none),
                   12 * (6 * 8 * 128 * block + 14 * 768.0 * 128 * 700) + 3 * 2 * 8 * heads);
  const SequenceRows full = {.n = 8, .rows = 128};
  EXPECT_NEAR(
      training_flops(c, full, Recompute::none) / (8 * 128 * customary_flops_per_token(c, 128)),
      0.78, 0.01);
}

TEST(Sizes, DecodingReadsNoTableAndTheTiedHeadOnce) {
  const ModelConfig c = gpt2_124m();
  const std::int64_t matrices = 84'934'656 + 38'597'376,
                     vectors = 12 * (2 * 2 * 768 + 3 * 768 + 768 + 3072 + 768) + 2 * 768;
  EXPECT_EQ(decode_weight_bytes(c, DType::f32), 4 * (matrices + vectors));
  EXPECT_EQ(decode_weight_bytes(c, DType::bf16), 2 * matrices + 4 * vectors);
  ModelConfig base = c;
  base.head = HeadKind::base;
  EXPECT_EQ(decode_weight_bytes(base, DType::f32), 4 * (84'934'656 + vectors));
}

TEST(Sizes, StagesCostWhatTheirLayersAndTheHeadDo) {
  const ModelConfig c = gpt2_124m();
  for (Recompute recompute : {Recompute::none, Recompute::block}) {
    const std::vector<StageCost> costs = stage_costs(c, 3, 128, recompute);
    double sum = 0;
    for (const StageCost& s : costs) sum += s.forward + s.backward();
    EXPECT_DOUBLE_EQ(sum, training_flops(c, {.rows = 128}, recompute));
  }
  ModelConfig classifier = bert_base_classifier();
  const std::vector<StageCost> costs = stage_costs(classifier, 2, 128, Recompute::none);
  EXPECT_NEAR(costs[0].forward, costs[1].forward, 0.001 * costs[0].forward);  // no head to speak of
}

TEST(Sizes, ChunksCostWhatTheirLayersDo) {
  const ModelConfig c = llama3_8b();
  for (Recompute recompute : {Recompute::none, Recompute::block}) {
    const std::vector<StageCost> costs = stage_costs(c, 4, 128, recompute, 2);
    ASSERT_EQ(costs.size(), 8u);
    double sum = 0;
    for (const StageCost& s : costs) sum += s.forward + s.backward();
    EXPECT_NEAR(sum / training_flops(c, {.rows = 128}, recompute), 1, 1e-12);
    // A layer's products cost forward as much as each part of backward, but for attention's.
    const double pairs = 128 * 129 / 2.0 * 4096,
                 layers = static_cast<double>(stage_layers(c, 4, 0, 2)[0].size());
    const double linear = costs[0].backward_weight;
    EXPECT_DOUBLE_EQ(costs[0].forward, linear + layers * 4 * pairs);
    EXPECT_DOUBLE_EQ(costs[0].backward_input, linear + layers * 10 * pairs);
    EXPECT_EQ(costs[0].recompute > 0, recompute == Recompute::block);
  }
}

// A head's matrices are the vocabulary's, whether tied or not, and what stands before it; label
// heads have theirs, and no model without a head has any.
TEST(Sizes, EveryHeadCountsItsOwnMatrices) {
  ModelConfig c = gpt2_124m();
  const double vocabulary = 2.0 * 50257 * 768, dense = 2.0 * 768 * 768;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 3 * vocabulary);
  c.tied_head = false;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 3 * vocabulary);
  c.head = HeadKind::masked_lm;
  c.head_transform = true;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 3 * (vocabulary + dense));
  c.head = HeadKind::classify_tokens;
  c.n_labels = 9;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 3 * 2.0 * 9 * 768);
  c.head = HeadKind::classify;
  c.pooling = Pooling::last_token;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 3 * 2.0 * 9 * 768);
  c.pooling = Pooling::first_tanh;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 3 * (2.0 * 9 * 768 + dense));
  c.head = HeadKind::base;
  EXPECT_DOUBLE_EQ(head_flops(c, 3), 0);
}

// ---- by count: the ops of a real pass count their products

// Every model of tests/data, as small as they are.
std::vector<std::pair<std::string, ModelConfig>> all_models() {
  std::vector<std::pair<std::string, ModelConfig>> all;
  for (const auto& entry : fs::directory_iterator(fs::path(WEFT_TEST_DATA) / "families"))
    if (fs::exists(entry.path() / "config.json"))
      all.emplace_back(entry.path().filename().string(),
                       open_model(entry.path().string(), "the model").config());
  return all;
}

struct OneRank {
  Grid grid{make_self_communicator(), {}};
  Stream stream;
  Context ctx{.grid = grid,
              .stream = stream,
              .precision = Precision::fp32,
              .clock = nullptr,
              .observer = {}};
};

double counted_training(const ModelConfig& c, std::int64_t B, std::int64_t T, std::int32_t padding,
                        Recompute recompute) {
  OneRank one;
  Parameters parameters(c, one.grid, DType::f32, ParameterUse::training);
  parameters.init_weights(1, one.stream);
  Stage stage(one.ctx, c, parameters, {.B = B, .T = T, .slots = 1, .recompute = recompute}, {}, 0);
  MicroBatch& s = stage.slot(0).batch;
  for (std::int64_t i = 0; i < s.ids.host.elems(); ++i)
    s.ids.host.as<std::int32_t>()[i] = static_cast<std::int32_t>(i % c.vocab);
  for (View x : {s.types.host, s.labels.host})
    if (!x.empty()) std::fill_n(x.as<std::int32_t>(), x.elems(), 0);
  if (!s.targets.empty()) std::fill_n(s.targets.host.as<float>(), s.targets.host.elems(), 0.0f);
  std::fill_n(s.lengths.host.as<std::int32_t>(), B, static_cast<std::int32_t>(T));
  s.lengths.host.as<std::int32_t>()[0] -= padding;
  stage.forward(stage.slot(0));
  stage.backward(stage.slot(0), nullptr);
  return matmul_flops_done(one.stream);
}

TEST(Sizes, TrainingIsWhatTheOpsCount) {
  constexpr std::int64_t B = 2, T = 11;
  constexpr std::int32_t padding = 4;
  int n_windowed = 0, n_labelled = 0;
  for (const auto& [name, c] : all_models()) {
    if (c.head == HeadKind::base) continue;  // is not trained
    n_windowed += c.window > 0 && c.window < T;
    n_labelled += c.has_label_head();
    for (Recompute recompute : {Recompute::none, Recompute::block})
      EXPECT_DOUBLE_EQ(training_flops(c, {.n = B, .rows = T, .tokens = B * T - padding}, recompute),
                       counted_training(c, B, T, padding, recompute))
          << name << (recompute == Recompute::block ? ", recomputed" : "");
  }
  EXPECT_GE(n_windowed, 1);
  EXPECT_GE(n_labelled, 4);
}

TEST(Sizes, PrefillAndDecodingAreWhatTheOpsCount) {
  int n = 0;
  for (const auto& [name, c] : all_models()) {
    if (c.head != HeadKind::causal_lm || !c.causal) continue;
    OneRank one;
    Parameters parameters(c, one.grid, DType::f32, ParameterUse::inference);
    parameters.init_weights(1, one.stream);
    InferencePass inference(one.ctx, c, parameters,
                            {.slots = 2, .S = 64, .max_rows = 32, .max_logit_rows = 2});
    std::vector<std::int32_t> ids(26);
    for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<std::int32_t>(i) % 7;
    const CacheSlice prompts[] = {{0, 13, 0, 0}, {13, 13, 0, 1}};
    const std::int64_t last[] = {12, 25};
    DecoderRows rows = {.ids = ids, .types = {}, .slices = prompts, .text_lengths = {}};
    inference.logits(inference.hidden(rows), last);
    const double all = matmul_flops_done(one.stream);
    EXPECT_DOUBLE_EQ(forward_flops(c, {.n = 2, .rows = 13}, 2), all) << name;
    rows.wanted = last;
    inference.logits(inference.hidden(rows), last);
    const double prefill = matmul_flops_done(one.stream);
    EXPECT_DOUBLE_EQ(forward_flops(c, {.n = 2, .rows = 13}, 2, 2), prefill - all) << name;
    const CacheSlice next[] = {{0, 1, 13, 0}, {1, 1, 13, 1}};
    const std::int64_t both[] = {0, 1};
    inference.logits(
        inference.hidden(
            {.ids = std::span(ids).first(2), .types = {}, .slices = next, .text_lengths = {}}),
        both);
    EXPECT_DOUBLE_EQ(forward_flops(c, {.n = 2, .rows = 1, .cached = 13}, 2),
                     matmul_flops_done(one.stream) - prefill)
        << name;
    ++n;
  }
  EXPECT_GE(n, 8);
}

}  // namespace
}  // namespace weft

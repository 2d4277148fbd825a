// The registry: which rank holds and answers for what, where it lies, and what it starts from.
#include "model/parameters.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "model/head.h"
#include "model/parameter_views.h"
#include "tests/mpi_main.h"

namespace weft {
namespace {

// Nothing divides: heads, ffn, vocabulary and width are uneven for 2, 3 and 4 ranks, and 2 KV heads
// are shared by 3 and by 4.
ModelConfig uneven_llama() {
  ModelConfig c;
  c.family = "llama";
  c.layers = 5;
  c.width = 30;
  c.heads = 10;
  c.kv_heads = 2;
  c.head_dim = 4;
  c.ffn = 13;
  c.vocab = 17;
  c.context = 8;
  c.norm = NormKind::rms;
  c.positions = Positions::rope;
  c.rope.dims = 4;
  c.gated = true;
  c.tied_head = false;
  return c;
}

ModelConfig uneven_gpt2() {
  ModelConfig c;
  c.layers = 4;
  c.width = 21;
  c.heads = c.kv_heads = 7;
  c.head_dim = 3;
  c.ffn = 11;
  c.vocab = 19;
  c.context = 6;
  return c;
}

ModelConfig classifier() {
  ModelConfig c = uneven_gpt2();
  c.family = "bert";
  c.norm_place = NormPlace::post;
  c.token_types = 2;
  c.embedding_norm = true;
  c.causal = false;
  c.head = HeadKind::classify;
  c.pooling = Pooling::first_tanh;
  c.tied_head = false;
  c.n_labels = 3;
  c.label_bias = true;
  return c;
}

const Parameter& find(const std::vector<Parameter>& list, const std::string& name) {
  return *std::ranges::find(list, name, &Parameter::name);
}

TEST(Parameters, TheListFollowsTheKnobs) {
  const std::vector<Parameter> gpt2 = parameters_of(uneven_gpt2()),
                               llama = parameters_of(uneven_llama()),
                               bert = parameters_of(classifier());
  const auto has = [](const std::vector<Parameter>& list, const std::string& name) {
    return std::ranges::find(list, name, &Parameter::name) != list.end();
  };
  EXPECT_EQ(find(gpt2, "head.weight").tied_to, "embed.tokens.weight");
  EXPECT_EQ(find(llama, "head.weight").tied_to, "");
  EXPECT_FALSE(has(bert, "head.weight"));
  EXPECT_TRUE(has(bert, "pool.weight") && has(bert, "labels.bias") && has(bert, "embed.norm.bias"));
  EXPECT_TRUE(has(gpt2, "embed.positions.weight"));
  EXPECT_FALSE(has(llama, "embed.positions.weight"));
  EXPECT_EQ(find(llama, "layers.0.mlp.up.weight").shape, (Dims{26, 30}));
  EXPECT_EQ(find(llama, "layers.0.attn.qkv.weight").shape, (Dims{56, 30}));
  EXPECT_EQ(find(gpt2, "layers.3.attn.out.weight").init, Init::normal_residual);
  for (const std::vector<Parameter>& list : {gpt2, llama, bert})
    for (const Parameter& p : list) EXPECT_EQ(p.decay, p.shape.rank() == 2) << p.name;
}

TEST(Parameters, AreCountedOnceWhereTheyAreTied) {
  ModelConfig c = uneven_gpt2();
  const std::int64_t C = 21, F = 11, V = 19,
                     block = 2 * 2 * C + 3 * C * C + 3 * C + C * C + C + 2 * C * F + F + C;
  EXPECT_EQ(count_parameters(c), V * C + 6 * C + 4 * block + 2 * C);
  c.tied_head = false;
  EXPECT_EQ(count_parameters(c), 2 * V * C + 6 * C + 4 * block + 2 * C);
}

ModelConfig config_of(std::int64_t heads, std::int64_t kv_heads, QkNorm norm) {
  ModelConfig c;
  c.layers = 2, c.width = 10, c.heads = heads, c.kv_heads = kv_heads, c.head_dim = 3, c.ffn = 7,
  c.vocab = 11, c.context = 5;
  c.gated = true;
  c.norm = NormKind::rms;
  c.norm_place = norm == QkNorm::whole ? NormPlace::output : NormPlace::pre;
  c.qk_norm = norm;
  return c;
}

// Every element of every parameter is owned by one rank, which holds it.
TEST(Parameters, EachElementHasOneOwner) {
  int repeated = 0;
  for (const QkNorm norm : {QkNorm::none, QkNorm::per_head, QkNorm::whole})
    for (const auto& [heads, kv_heads] : {std::pair(6, 2), std::pair(5, 5), std::pair(7, 1)}) {
      const ModelConfig c = config_of(heads, kv_heads, norm);
      for (int tp = 1; tp <= heads; ++tp)
        for (const Parameter& p : parameters_of(c)) {
          std::map<std::int64_t, int> owners;
          for (int rank = 0; rank < tp; ++rank) {
            const Slice slice = slice_of(p, c, tp, rank);
            const std::vector<Range> owned = owned_ranges(p, c, tp, rank);
            const std::vector<Range> held =
                slice.whole() ? std::vector<Range>{{0, p.shape[0]}} : slice.ranges;
            for (const Range& range : owned)
              for (std::int64_t i = range.begin; i < range.end; ++i) {
                ++owners[i];
                EXPECT_TRUE(std::any_of(held.begin(), held.end(),
                                        [&](const Range& r) { return r.begin <= i && i < r.end; }))
                    << p.name << ", rank " << rank << " of " << tp << " owns " << i;
              }
            repeated += static_cast<int>(repeated_kv_heads(c, tp, rank));
          }
          const std::int64_t along = p.shape[std::max(slice_of(p, c, tp, 0).dim, 0)];
          EXPECT_EQ(static_cast<std::int64_t>(owners.size()), along) << p.name << ", tp " << tp;
          for (const auto& [i, n] : owners) EXPECT_EQ(n, 1) << p.name << " " << i << ", tp " << tp;
        }
    }
  EXPECT_GT(repeated, 0);
}

TEST(Parameters, NormsOfQueriesAndKeys) {
  const auto shapes = [](QkNorm norm) {
    std::map<std::string, Parameter> of;
    for (const Parameter& p : parameters_of(config_of(6, 2, norm))) of.emplace(p.name, p);
    return of;
  };
  const auto none = shapes(QkNorm::none), per_head = shapes(QkNorm::per_head),
             whole = shapes(QkNorm::whole);
  EXPECT_FALSE(none.contains("layers.1.attn.q_norm.weight"));
  EXPECT_EQ(per_head.at("layers.1.attn.q_norm.weight").shape, (Dims{3}));
  EXPECT_EQ(per_head.at("layers.1.attn.k_norm.weight").shape, (Dims{3}));
  EXPECT_EQ(per_head.at("layers.1.attn.k_norm.weight").axis, ShardAxis::each_head);
  EXPECT_EQ(whole.at("layers.1.attn.q_norm.weight").shape, (Dims{18}));
  EXPECT_EQ(whole.at("layers.1.attn.k_norm.weight").shape, (Dims{6}));
  EXPECT_FALSE(whole.at("layers.1.attn.k_norm.weight").decay);
  EXPECT_EQ(whole.at("layers.1.attn.k_norm.weight").init, Init::ones);
  // Norms behind the branches alone.
  EXPECT_FALSE(whole.contains("layers.0.attn_norm.weight"));
  EXPECT_FALSE(whole.contains("layers.0.mlp_norm.weight"));
  EXPECT_TRUE(whole.contains("layers.0.attn_post_norm.weight"));
  EXPECT_TRUE(whole.contains("layers.0.mlp_post_norm.weight"));
  EXPECT_TRUE(per_head.contains("layers.0.attn_norm.weight"));
  EXPECT_FALSE(per_head.contains("layers.0.attn_post_norm.weight"));
}

// Elements of a tensor that a slice holds.
void count(const Slice& slice, std::vector<int>& held) {
  for (const Run& run : runs(slice))
    for (std::int64_t i = 0; i < run.size; ++i)
      ++held[static_cast<std::size_t>(run.global_begin + i)];
}

TEST(Parameters, SlicesCoverATensorOnceButForSharedKvHeads) {
  int n_shared = 0;
  for (const ModelConfig& c : {uneven_llama(), uneven_gpt2(), classifier()})
    for (int tp = 1; tp <= 6; ++tp)
      for (const Parameter& p : parameters_of(c)) {
        const auto elems = static_cast<std::size_t>(p.shape.elems());
        std::vector<int> held(elems), owned(elems);
        for (int rank = 0; rank < tp; ++rank) {
          const Slice slice = slice_of(p, c, tp, rank);
          count(slice, held);
          const Slice mine = {p.shape, slice.whole() ? 0 : slice.dim, owned_ranges(p, c, tp, rank)};
          count(mine, owned);
          if (!slice.whole())  // what it owns it holds: else runs_within throws
            runs_within(mine, slice);
        }
        EXPECT_EQ(std::ranges::count(owned, 1), p.shape.elems()) << p.name << ", tp " << tp;
        const bool replicated = p.axis == ShardAxis::none;
        const bool shared = p.axis == ShardAxis::heads_qkv && tp > c.kv_heads;
        n_shared += shared;
        const auto once = std::ranges::count(held, replicated ? tp : 1);
        EXPECT_TRUE(shared ? std::ranges::min(held) >= 1 : once == p.shape.elems())
            << p.name << ", tp " << tp;
      }
  EXPECT_GT(n_shared, 0);
}

TEST(Parameters, StagesAndTheirChunksHoldEveryLayerOnce) {
  for (const ModelConfig& c : {uneven_llama(), uneven_gpt2()})
    for (int pp = 1; pp <= 4; ++pp)
      for (int chunks = 1; pp * chunks <= c.layers; ++chunks) {
        std::int64_t next = 0;
        for (int v = 0; v < pp * chunks; ++v) {
          const Range layers =
              stage_layers(c, pp, v % pp, chunks)[static_cast<std::size_t>(v / pp)];
          EXPECT_EQ(layers.begin, next) << "virtual stage " << v << " of " << pp * chunks;
          EXPECT_GE(layers.size(), 1);
          next = layers.end;
        }
        EXPECT_EQ(next, c.layers);
        for (const Parameter& p : parameters_of(c)) {
          int holders = 0;
          for (int s = 0; s < pp; ++s) holders += on_stage(p, c, pp, s, chunks);
          EXPECT_EQ(holders, 1) << p.name;
        }
      }
  EXPECT_THROW(stage_layers(uneven_gpt2(), 2, 0, 3), Error);
  EXPECT_THROW(stage_layers(uneven_gpt2(), 2, 2), Error);
}

// 8 blocks of 4·8² + 2·8·32 = 768 elements, and a head of so many blocks: the last stage has fewer.
TEST(Parameters, AWideVocabularyTakesLayersFromTheLastStage) {
  ModelConfig c;
  c.layers = 8;
  c.width = 8;
  c.heads = c.kv_heads = 1;
  c.head_dim = 8;
  c.ffn = 32;
  const auto sizes = [&](std::int64_t head_blocks, int pp, int chunks) {
    c.vocab = head_blocks * 768 / 8;
    std::vector<std::int64_t> list;
    for (int v = 0; v < pp * chunks; ++v)
      list.push_back(stage_layers(c, pp, v % pp, chunks)[static_cast<std::size_t>(v / pp)].size());
    return list;
  };
  using List = std::vector<std::int64_t>;
  EXPECT_EQ(sizes(2, 2, 1), (List{5, 3}));
  EXPECT_EQ(sizes(20, 2, 1), (List{7, 1}));
  EXPECT_EQ(sizes(1, 4, 1), (List{2, 2, 2, 2})) << "3 blocks at most, as with one layer fewer";
  EXPECT_EQ(sizes(3, 4, 1), (List{3, 2, 2, 1}));
  EXPECT_EQ(sizes(3, 2, 2), (List{3, 2, 2, 1}));
  c.head = HeadKind::base;
  EXPECT_EQ(sizes(20, 2, 1), (List{4, 4}));
}

// ---- as this rank holds them, on all grids of the world

std::vector<GridShape> grids() {
  std::vector<GridShape> list;
  const int n = test_mpi().size();
  for (int tp = 1; tp <= n; ++tp)
    for (int pp = 1; tp * pp <= n; ++pp)
      if (n % (tp * pp) == 0) list.push_back({tp, pp, n / (tp * pp)});
  return list;
}

// The flat arena is in the order in which backward finishes: the registry's from its end. Views lie
// there without a gap that alignment does not ask for.
TEST(Parameters, LieInTheOrderInWhichBackwardFinishes) {
  for (const GridShape& shape : grids())
    for (const ModelConfig& c : {uneven_llama(), uneven_gpt2(), classifier()})
      for (int chunks : {1, 2}) {
        if (shape.pp * chunks > c.layers || (chunks > 1 && shape.pp == 1)) continue;
        const Grid grid(test_mpi().world(), shape);
        const Parameters parameters(c, grid, DType::f32, ParameterUse::training, chunks);
        std::vector<std::string> expected, got;
        for (const Parameter& p : parameters_of(c))
          if (on_stage(p, c, shape.pp, grid.pp().rank(), chunks) &&
              (p.tied_to.empty() || shape.pp > 1))
            expected.insert(expected.begin(), p.name);
        std::int64_t next = 0;
        const float* flat = parameters.grads_flat().as<float>();
        for (const LocalParameter& p : parameters.list()) {
          got.push_back(p.info.name);
          EXPECT_EQ(p.flat_begin, next) << p.info.name;
          EXPECT_LT(p.flat_elems - p.grad.elems(), 16) << p.info.name;
          EXPECT_EQ(p.grad.as<float>(), flat + p.flat_begin) << p.info.name;
          EXPECT_EQ(p.weight.shape(), p.slice.local()) << p.info.name;
          next += p.flat_elems;
        }
        EXPECT_EQ(got, expected);
        EXPECT_EQ(parameters.grads_flat().elems(), next);
      }
}

// Of a step's gradients the first to be handed out is set, the next are added to; what nobody took
// is 0 where it is said to be over.
TEST(Parameters, GradientsBeginAnewInEveryStep) {
  const Grid grid(test_mpi().world(), {1, 1, test_mpi().world()->size()});
  Stream stream;
  Parameters parameters(uneven_gpt2(), grid, DType::f32, ParameterUse::training);
  const auto& list = parameters.list();
  const LocalParameter &taken = list[0], &later = list[2], &untaken = list[1];
  for (int step = 0; step < 2; ++step) {
    for (const LocalParameter& p : list) fill(p.grad, 7, stream);
    parameters.begin_grads();
    EXPECT_FALSE(begin_grad(&taken).accumulate);
    EXPECT_TRUE(begin_grad(&taken).accumulate);
    EXPECT_EQ(begin_grad(&taken).sum.data(), taken.grad.data());
    parameters.finish_grads(0, later.flat_begin, stream);
    EXPECT_EQ(taken.grad.as<float>()[0], 7);
    EXPECT_EQ(untaken.grad.as<float>()[0], 0);
    EXPECT_EQ(later.grad.as<float>()[0], 7);  // may still be begun
    EXPECT_FALSE(begin_grad(&later).accumulate);
    parameters.finish_grads(later.flat_begin, parameters.grads_flat().elems(), stream);
    EXPECT_EQ(later.grad.as<float>()[0], 7);
    EXPECT_EQ(list[3].grad.as<float>()[0], 0);
  }
  EXPECT_TRUE(begin_grad(nullptr).empty());
}

// A tied head is the table itself on one stage, and a second copy with the same values where the
// last stage is another.
TEST(Parameters, ATiedHeadLivesWhereItIsUsed) {
  const ModelConfig c = uneven_gpt2();
  for (const GridShape& shape : grids()) {
    if (shape.pp > c.layers) continue;
    const Grid grid(test_mpi().world(), shape);
    const Parameters parameters(c, grid, DType::f32, ParameterUse::training);
    EXPECT_EQ(parameters.find("embed.tokens.weight") != nullptr, grid.is_first_stage());
    EXPECT_EQ(parameters.find("head.weight") != nullptr, shape.pp > 1 && grid.is_last_stage());
    for (const LocalParameter& p : parameters.list())
      EXPECT_EQ(parameters.is_tied(p),
                p.info.name == "head.weight" || p.info.name == "embed.tokens.weight")
          << p.info.name;
    EXPECT_THROW(parameters.at("final_norm"), Error) << "there are its weight and bias";
  }
}

TEST(Parameters, StartFromTheSameValuesOnEveryGrid) {
  for (const ModelConfig& c : {uneven_llama(), uneven_gpt2()}) {
    const Grid alone(make_self_communicator(), {});
    Stream stream;
    Parameters whole(c, alone, DType::f32, ParameterUse::training);
    whole.init_weights(7, stream);
    for (const GridShape& shape : grids()) {
      if (shape.pp > c.layers || shape.tp > c.heads) continue;
      const Grid grid(test_mpi().world(), shape);
      Parameters parameters(c, grid, DType::f32, ParameterUse::training);
      parameters.init_weights(7, stream);
      for (const LocalParameter& p : parameters.list()) {
        const float* all =
            whole.at(p.info.tied_to.empty() ? p.info.name : p.info.tied_to).weight.as<float>();
        for (const weft::Run& run : runs(p.slice))
          EXPECT_TRUE(std::equal(all + run.global_begin, all + run.global_begin + run.size,
                                 p.weight.as<float>() + run.local_begin))
              << p.info.name;
      }
    }
    // Normal numbers of the config's deviation, and those behind a residual branch of less: within
    // five standard errors of so few.
    const auto deviation = [&](const char* name) {
      const View w = whole.at(name).weight;
      double sum = 0;
      for (std::int64_t i = 0; i < w.elems(); ++i) sum += std::pow(w.as<float>()[i], 2);
      const auto n = static_cast<double>(w.elems());
      return std::pair(std::sqrt(sum / n), 5 / std::sqrt(2 * n));
    };
    const double std = c.init_std;
    const auto [plain, plain_error] = deviation("layers.1.mlp.up.weight");
    const auto [residual, residual_error] = deviation("layers.1.attn.out.weight");
    EXPECT_NEAR(plain / std, 1, plain_error);
    EXPECT_NEAR(residual / std * std::sqrt(2.0 * static_cast<double>(c.layers)), 1, residual_error);
    EXPECT_EQ(whole.at("final_norm.weight").weight.as<float>()[3], 1);
  }
}

TEST(Parameters, TheirBytesArePlannedWithoutAllocating) {
  for (const GridShape& shape : grids())
    for (const ModelConfig& c : {uneven_llama(), uneven_gpt2()})
      for (DType dtype : {DType::f32, DType::bf16})
        for (ParameterUse use : {ParameterUse::training, ParameterUse::inference}) {
          if (shape.pp > c.layers) continue;
          const Grid grid(test_mpi().world(), shape);
          const Parameters parameters(c, grid, dtype, use);
          const std::size_t planned =
              Parameters::plan_bytes(c, shape, grid.tp().rank(), grid.pp().rank(), dtype, use);
          // Of the bf16 copies the arena's alignment is not planned: up to 64 bytes each.
          const auto slack = static_cast<double>(
              dtype == DType::bf16 ? 64 * parameters.list().size() : std::size_t{0});
          EXPECT_NEAR(static_cast<double>(parameters.bytes()), static_cast<double>(planned), slack);
        }
}

// On a GPU each rank pads its own share of every parameter with vocabulary rows: here an untied
// table and head, of 32 columns, and the head's bias.
TEST(Parameters, AVocabularysPaddingIsPlannedOnAGpu) {
  constexpr Device kGpu = {DeviceType::cuda, 0};
  ModelConfig c = uneven_gpt2();
  c.width = 32;
  c.tied_head = false;
  c.head_bias = true;
  for (const std::int64_t V : {7, 127, 128, 129, 1003, 50257, 128256})
    for (const int tp : {1, 2, 3})
      for (int rank = 0; rank < tp; ++rank) {
        c.vocab = V;
        const std::int64_t rows = V / tp + (rank < V % tp), padding = (128 - rows % 128) % 128;
        EXPECT_EQ(padded_vocab(rows, kGpu), rows + padding);
        EXPECT_EQ(padded_vocab(rows, {}), rows);
        const auto extra = [&](DType dtype, ParameterUse use) {
          const auto planned = [&](Device device) {
            return static_cast<double>(
                Parameters::plan_bytes(c, {tp, 1, 1}, rank, 0, dtype, use, device));
          };
          return planned(kGpu) - planned({});
        };
        const auto n = static_cast<double>(2 * 32 * padding), bias = static_cast<double>(padding);
        // The bias of the CPU's is aligned to 64 bytes besides.
        EXPECT_NEAR(extra(DType::f32, ParameterUse::inference), 4 * (n + bias), 64) << V;
        EXPECT_NEAR(extra(DType::bf16, ParameterUse::inference), 2 * n + 4 * bias, 64) << V;
        EXPECT_NEAR(extra(DType::f32, ParameterUse::training), 16 * (n + bias), 4 * 64) << V;
        EXPECT_NEAR(extra(DType::bf16, ParameterUse::training), 18 * n + 16 * bias, 4 * 64) << V;
      }
  c.vocab = 50257;
  EXPECT_EQ(count_parameters(c) - 2 * 32 * 50257 - 50257, [&] {
    ModelConfig none = c;
    none.vocab = 128;
    return count_parameters(none) - 2 * 32 * 128 - 128;
  }());
  EXPECT_EQ(padded_vocab(0, kGpu), 0) << "a rank without a share of a small vocabulary";
  EXPECT_EQ(padded_columns(50257, 1, kGpu), 50304);
  EXPECT_EQ(padded_columns(50257, 3, kGpu), 3 * 16768);
  EXPECT_EQ(padded_columns(50257, 3, {}), 50257);
}

TEST(Parameters, LogitsComeInBlocksForTheDevice) {
  constexpr Device kGpu = {DeviceType::cuda, 0};
  for (const std::int64_t n : {1, 100, 4096, 5000, 8192, 100'000})
    for (const std::int64_t V : {256, 50257, 128256})
      EXPECT_EQ(logits_block_rows(n, V, kGpu), std::min<std::int64_t>(n, 4096)) << n << " " << V;
  // On the CPU 64 MiB at most, in blocks of about one size.
  EXPECT_EQ(logits_block_rows(8192, 50257, {}), 316);
  EXPECT_EQ(logits_block_rows(8192, 256, {}), 1024);
  EXPECT_EQ(logits_block_rows(100, 50257, {}), 100);
  EXPECT_EQ(logits_block_rows(0, 50257, {}), 1);
  EXPECT_EQ(logits_block_rows(0, 50257, kGpu), 1);
}

}  // namespace
}  // namespace weft

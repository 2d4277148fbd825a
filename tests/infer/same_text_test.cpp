// A text depends neither on the grid, nor on what else is in its batch, nor on how its prompt is
// cut, where its pages lie, or whether it is read again: every token in plain fp32; every bit of
// its log-probabilities under --deterministic, which are then those of scoring it, too.
#include "infer/score.h"
#include "kernels/panels.h"
#include "tests/infer/golden.h"

namespace weft::test {
namespace {

// Grouped heads, a window in every second layer, sizes that no rank count divides; weights wide
// enough that its next tokens are far from uniform, and uncertain.
ModelConfig lively_config() {
  ModelConfig c = read_hf_config(data_dir() / "families" / "llama2");
  c.layers = 4;
  c.width = 44;
  c.heads = 8;
  c.kv_heads = 4;
  c.head_dim = 8;
  c.rope.dims = 8;
  c.ffn = 77;
  c.vocab = 203;
  c.context = 256;
  c.window = 40;
  c.windowed = {1, 0, 1, 0};
  c.init_std = 0.25f;
  return c;
}

// The same weights on every grid and rounded to every dtype.
struct Lively : HeldModel {
  Lively(std::unique_ptr<Communicator> world, GridShape shape, DType dtype, Precision precision,
         const ModelConfig& c = lively_config())
      : HeldModel(std::move(world), shape, c, ParameterUse::inference, dtype) {
    Parameters wide(config, grid, DType::f32, ParameterUse::inference, 1, device);
    wide.init_weights(5, stream);
    for (std::size_t i = 0; i < wide.list().size(); ++i)
      convert(parameters.list()[i].weight, wide.list()[i].weight, stream);
    ctx.precision = precision;
  }
};

// n requests of every kind, of one to 140 tokens, among them some that begin alike for two pages.
std::vector<GenerationRequest> many_requests(std::size_t n) {
  std::vector<GenerationRequest> requests;
  for (std::size_t i = 0; i < n; ++i) {
    const auto token = [&](std::size_t t) {
      return static_cast<std::int32_t>((31 * i + 17 * t + t * t * (i % 5 + 1)) % 203);
    };
    Ids ids;
    if (i % 10 == 3)  // for two pages
      for (std::int32_t t = 0; t < 128; ++t) ids.push_back((7 * t + t * t) % 203);
    const std::size_t own = 1 + i * 13 % (i % 4 == 0 ? 75 : 12);
    for (std::size_t t = 0; t < own; ++t) ids.push_back(token(t));
    Generation g;
    g.max_new_tokens = static_cast<std::int64_t>(3 + i * 7 % 5);
    g.logprobs = true;
    g.seed = 11;
    g.do_sample = i % 2 == 1;
    g.temperature = i % 3 == 0 ? 0.7 : 1.1;
    if (i % 6 == 1) g.top_p = 0.9;
    if (i % 7 == 2) g.repetition_penalty = 1.3, g.no_repeat_ngram_size = 2;
    if (i % 11 == 5) g.min_p = 0.05, g.typical_p = 0.95;
    if (i % 12 == 7) g.num_beams = 3, g.num_return_sequences = 2;
    if (i % 25 == 8) g.guidance_scale = 1.5;
    const std::size_t copies = i % 20 == 13 ? 3 : 1;  // samples of one prompt
    for (std::size_t s = 0; s < copies && requests.size() < n; ++s)
      requests.push_back({ids, g, draw_stream(ids, static_cast<std::int64_t>(s))});
    if (requests.size() == n) break;
  }
  return requests;
}

// Results of the requests, sample by sample; of other replicas' requests none.
using Results = std::vector<std::vector<Completion>>;

// Each replica continues its part of the requests.
Results complete(HeldModel& m, const std::vector<GenerationRequest>& requests,
                 const EngineLimits& limits) {
  const auto dp = static_cast<std::size_t>(m.grid.shape().dp),
             mine = static_cast<std::size_t>(m.grid.dp().rank());
  std::vector<GenerationRequest> part;
  for (std::size_t i = mine; i < requests.size(); i += dp) part.push_back(requests[i]);
  Results all(requests.size());
  Engine engine(m.ctx, m.config, m.parameters, nullptr, limits);
  engine.run(part, [&](std::size_t r, std::int64_t, const Completion& c) {
    all[mine + r * dp].push_back(c);
  });
  return all;
}

std::size_t n_differing(const Results& ours, const Results& expected, bool to_the_bit) {
  std::size_t n = 0;
  for (std::size_t r = 0; r < ours.size(); ++r) {
    bool same = ours[r].empty() || ours[r].size() == expected[r].size();
    for (std::size_t s = 0; same && s < ours[r].size(); ++s)
      same = ours[r][s].ids == expected[r][s].ids &&
             (!to_the_bit || (ours[r][s].logprobs == expected[r][s].logprobs &&
                              ours[r][s].score == expected[r][s].score));
    n += !same;
  }
  return n;
}

// log p of the new tokens of each request's first result, by scoring its text.
std::vector<std::vector<float>> scored(HeldModel& m, const std::vector<GenerationRequest>& requests,
                                       const Results& results) {
  std::vector<TokenizedText> texts;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    texts.push_back({requests[i].ids, {}});
    const Ids& more = results[i][0].ids;
    texts.back().ids.insert(texts.back().ids.end(), more.begin(), more.end());
  }
  std::vector<std::vector<float>> all(texts.size());
  score_texts(
      m.ctx, m.config, m.parameters, texts, [&](std::size_t t, std::span<const float> logprobs) {
        all[t].assign(logprobs.end() - static_cast<std::ptrdiff_t>(results[t][0].ids.size()),
                      logprobs.end());
      });
  return all;
}

// Every grid; of eight ranks all of them for one tensor, since so many take long on a few cores.
std::vector<GridShape> shapes() {
  const int ranks = test_mpi().size();
  return ranks == 8 ? std::vector<GridShape>{{8, 1, 1}} : grids_of(ranks, lively_config());
}

TEST(SameText, OfTwoHundredRequestsOnEveryGrid) {
  const std::vector<GenerationRequest> requests = many_requests(200);
  Lively one(make_self_communicator(), {}, DType::f32, Precision::fp32);
  const Results expected = complete(one, requests, {});
  for (const GridShape& shape : shapes())
    for (const EngineLimits& limits :
         {EngineLimits{}, EngineLimits{.max_batch = 12, .max_rows = 90}}) {
      Lively m(test_mpi().world(), shape, DType::f32, Precision::fp32);
      EXPECT_EQ(n_differing(complete(m, requests, limits), expected, false), 0u)
          << name_of(shape) << ", " << limits.max_batch << " at once";
    }
}

// Room for so many pages.
EngineLimits with_pages(HeldModel& m, const std::vector<GenerationRequest>& requests,
                        std::int64_t pages, EngineLimits limits) {
  InferenceShape shape = plan_inference(m.ctx, m.config, requests, limits);
  shape.pages = pages;
  limits.memory_bytes = m.grid.replica().all_reduce_value(
      static_cast<std::int64_t>(InferencePass::plan_bytes(m.config, m.grid, shape) +
                                InferencePass::kept_bytes(m.ctx, m.config, shape)),
      ReduceOp::max, m.stream);
  return limits;
}

TEST(SameText, ToTheLastBitWhereItIsDeterministic) {
  const std::vector<GenerationRequest> requests = many_requests(24);
  for (const auto& [dtype, kv] : std::vector<std::pair<DType, std::optional<DType>>>{
           {DType::f32, {}}, {DType::bf16, DType::bf16}, {DType::f16, DType::i8}}) {
    Lively one(make_self_communicator(), {}, dtype, Precision::fp32_fixed);
    const Results expected = complete(one, requests, {.kv = kv});
    const auto scores = scored(one, requests, expected);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      if (kv) break;  // scoring keeps keys and values as they are
      EXPECT_EQ(scores[i], expected[i][0].logprobs) << "request " << i;
    }
    for (const GridShape& shape : shapes()) {
      Lively m(test_mpi().world(), shape, dtype, Precision::fp32_fixed);
      m.parameters.to_panels(m.stream);  // as commands hold them; one rank's are as they are
      const std::string name = fmt::format("{} on {}", dtype_name(dtype), name_of(shape));
      const EngineLimits small = {.max_batch = 5, .max_rows = 23, .kv = kv};
      std::vector<EngineLimits> all = {with_pages(m, requests, 7, small)};
      if (!kv) all.insert(all.end(), {EngineLimits{}, small});
      for (const EngineLimits& limits : all)
        EXPECT_EQ(n_differing(complete(m, requests, limits), expected, true), 0u)
            << name << ", " << limits.max_batch << " at once, " << limits.memory_bytes << " bytes";
      const auto ours = scored(m, requests, expected);
      EXPECT_EQ(ours, scores) << name;
    }
  }
}

// As commands hold them on a CPU. Nothing that is multiplied depends on how many rows there are, or
// outputs on a rank.
TEST(SameText, OfMatricesInPanels) {
  const std::vector<GenerationRequest> requests = many_requests(60);
  for (const DType dtype : {DType::f32, DType::bf16}) {
    Lively one(make_self_communicator(), {}, dtype, Precision::fp32);
    const Results expected = complete(one, requests, {});
    const auto scores = scored(one, requests, expected);
    const auto n_in_panels = [](const Lively& m) {
      return std::ranges::count_if(m.parameters.list(),
                                   [](const LocalParameter& p) { return is_in_panels(p.weight); });
    };
    EXPECT_EQ(n_in_panels(one), 0);
    one.parameters.to_panels(one.stream);
    EXPECT_EQ(n_in_panels(one), 4 * one.config.layers + 1);
    for (const GridShape& shape : grids_of(test_mpi().size(), one.config)) {
      Lively m(test_mpi().world(), shape, dtype, Precision::fp32);
      m.parameters.to_panels(m.stream);
      EXPECT_EQ(n_differing(complete(m, requests, {}), expected, false), 0u) << name_of(shape);
      const auto ours = scored(m, requests, expected);
      for (std::size_t i = 0; i < ours.size(); ++i)
        for (std::size_t t = 0; t < ours[i].size(); ++t)
          EXPECT_NEAR(ours[i][t], scores[i][t], 1e-4) << name_of(shape) << " request " << i;
    }
  }
}

// Half and about a quarter of the memory, and nearly the same model: a bf16 cache is off by up to
// 2^-8 of each key and value, an int8 one by 1/254 of a head's largest. Scores and logits of this
// model are of size 10, through four layers that each widen what comes in: a log-probability may
// move by 10 · 2^-8 · 4 · 1.7 = 0.26, by about twice that in int8 (measured: 0.11 and 0.13).
TEST(SameText, OfNarrowCachesIsNear) {
  if (test_mpi().size() > 1) GTEST_SKIP() << "each rank would do the same by itself";
  Lively m(make_self_communicator(), {}, DType::f32, Precision::fp32);
  const std::size_t wide = InferencePass::page_bytes(m.config, DType::f32, m.grid);
  EXPECT_EQ(2 * InferencePass::page_bytes(m.config, DType::bf16, m.grid), wide);
  EXPECT_EQ(InferencePass::page_bytes(m.config, DType::i8, m.grid),
            wide / 4 + wide / static_cast<std::size_t>(m.config.head_dim));  // scales of 4 bytes
  std::vector<GenerationRequest> requests = many_requests(60);
  for (GenerationRequest& r : requests) r.options = greedy_options(8), r.options.logprobs = true;
  const Results expected = complete(m, requests, {});
  for (const auto& [kv, bound] : {std::pair{DType::bf16, 0.25f}, std::pair{DType::i8, 0.5f}}) {
    const Results ours = complete(m, requests, {.kv = kv});
    float worst = 0;
    std::size_t same = 0, all = 0;
    for (std::size_t r = 0; r < requests.size(); ++r) {
      const std::size_t n = expected[r][0].ids.size();
      all += n;
      for (std::size_t t = 0; t < n; ++t) {
        if (ours[r][0].ids[t] != expected[r][0].ids[t]) break;  // another text from here on
        ++same;
        worst = std::max(worst, std::abs(ours[r][0].logprobs[t] - expected[r][0].logprobs[t]));
      }
    }
    std::printf("%s: largest difference of a log-probability %.1e, %zu of %zu tokens the same\n",
                std::string(dtype_name(kv)).c_str(), static_cast<double>(worst), same, all);
    EXPECT_LT(worst, bound) << dtype_name(kv);
    EXPECT_GT(worst, 1e-6f) << dtype_name(kv) << ": was it used?";
    EXPECT_GT(same, all * 3 / 4) << dtype_name(kv);
  }
}

}  // namespace
}  // namespace weft::test

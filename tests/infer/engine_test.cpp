// Continuations on every grid of the ranks at hand, against the reference and against one rank.
//
// fp32 sums of n terms round by about 6e-8·sqrt(n) of their size; a log-probability passes some
// fifteen of at most 1003 terms on values of size 10: 15 · 6e-8 · 32 · 10 = 3e-4 at the very worst.
// Its bound is 2e-4, and a hundredth of that is typical.
#include "tests/infer/golden.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {
namespace {

std::vector<GenerationRequest> requests_of(const std::vector<Ids>& prompts, const Generation& g) {
  std::vector<GenerationRequest> list;
  for (const Ids& p : prompts)
    list.push_back({.ids = p, .options = g, .stream = draw_stream(p, 0)});
  return list;
}

TEST(Engine, GreedyTextEqualsTheReferenceOnEveryGrid) {
  for (const std::string& model : kModels)
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      const std::vector<Ids> prompts = prompts_of(model), expected = greedy_of(model);
      Generation g = greedy_options(30);
      g.logprobs = true;
      for (const EngineLimits& limits : {EngineLimits{}, EngineLimits{.max_batch = 1},
                                         EngineLimits{.max_batch = 4, .max_rows = 5}}) {
        const auto all = m.complete(requests_of(prompts, g), limits);
        for (std::size_t i = 0; i < prompts.size(); ++i) {
          ASSERT_EQ(all[i].size(), 1u);
          EXPECT_EQ(all[i][0].ids, expected[i]) << name << " prompt " << i;
          EXPECT_EQ(all[i][0].finish, "length");
          const auto logprobs = golden()[model]["logprobs"][i]
                                    .get<std::vector<float>>();  // of prompt and continuation
          for (std::size_t t = 0; t < expected[i].size(); ++t)
            EXPECT_NEAR(all[i][0].logprobs[t], logprobs[prompts[i].size() - 1 + t], 2e-4)
                << name << " prompt " << i << " token " << t;
        }
      }
    });
}

TEST(Engine, ProcessorsActOnGreedyTextAsInTheReference) {
  for (const std::string& model : kModels)
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      const Json& processed = golden()[model]["processed"];
      Generation g = options_of(processed["options"]);
      g.max_new_tokens = 30;
      const std::vector<Ids> prompts = prompts_of(model),
                             expected = processed["greedy"].get<std::vector<Ids>>();
      const auto all = m.complete(requests_of(prompts, g));
      for (std::size_t i = 0; i < prompts.size(); ++i)
        EXPECT_EQ(all[i][0].ids, expected[i]) << name << " prompt " << i;
    });
}

TEST(Engine, ADrawDependsOnSeedAndPromptAlone) {
  for (const std::string& model : kModels) {
    const std::vector<Ids> prompts = prompts_of(model);
    Generation g = greedy_options(20);
    g.do_sample = true;
    g.seed = 3;
    g.temperature = 1.2;
    // One rank, one prompt at a time.
    Loaded one(make_self_communicator(), {}, model);
    std::vector<Ids> expected;
    for (const Ids& p : prompts) expected.push_back(one.complete(requests_of({p}, g))[0][0].ids);
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      for (const EngineLimits& limits : {EngineLimits{}, EngineLimits{.max_batch = 1},
                                         EngineLimits{.max_batch = 3, .max_rows = 4}}) {
        const auto together = m.complete(requests_of(prompts, g), limits);
        const auto reversed =
            m.complete(requests_of({prompts.rbegin(), prompts.rend()}, g), limits);
        for (std::size_t i = 0; i < prompts.size(); ++i) {
          EXPECT_EQ(together[i][0].ids, expected[i]) << name << " prompt " << i;
          EXPECT_EQ(reversed[prompts.size() - 1 - i][0].ids, expected[i])
              << name << " prompt " << i;
        }
      }
    });
    g.seed = 4;
    EXPECT_NE(one.complete(requests_of({prompts[1]}, g))[0][0].ids, expected[1]);
    g.seed = 3;
    EXPECT_NE(
        one.complete(
               {{.ids = prompts[1], .options = g, .stream = draw_stream(prompts[1], 1)}})[0][0]
            .ids,
        expected[1])
        << "a second copy of the prompt";
  }
}

TEST(Engine, EndsWhereItShould) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  const std::string model = "gpt2_h5";
  const Ids prompt = prompts_of(model)[1], greedy = greedy_of(model)[1];
  const auto first = [&](std::int32_t id) {
    return std::find(greedy.begin(), greedy.end(), id) - greedy.begin() + 1;
  };
  // The first two tokens that have text, one right behind the other.
  std::size_t at = 0;
  while (at + 1 < greedy.size() && (tokenizer.token_bytes(greedy[at]).empty() ||
                                    tokenizer.token_bytes(greedy[at + 1]).empty()))
    ++at;
  on_every_grid(model, [&](Loaded& m, const std::string& name) {
    const auto end_of = [&](const Generation& g) {
      return m.complete({{.ids = prompt, .options = g, .stream = 0}}, {}, &tokenizer)[0][0];
    };
    Generation g = greedy_options(30);
    g.eos = {greedy[20], 999};
    EXPECT_EQ(end_of(g).finish, "eos") << name;
    EXPECT_EQ(static_cast<std::ptrdiff_t>(end_of(g).ids.size()), first(greedy[20])) << name;
    EXPECT_EQ(end_of(g).ids.back(), greedy[20]) << name;
    g.min_new_tokens = first(greedy[20]) + 1;
    EXPECT_GT(static_cast<std::ptrdiff_t>(end_of(g).ids.size()), first(greedy[20])) << name;

    g = greedy_options(7);
    EXPECT_EQ(end_of(g).finish, "length") << name;
    EXPECT_EQ(end_of(g).ids.size(), 7u) << name;

    g = greedy_options(30);
    if (at + 1 < greedy.size()) {
      g.stop = {"never written", tokenizer.token_bytes(greedy[at]).back() +
                                     tokenizer.token_bytes(greedy[at + 1]).substr(0, 1)};
      EXPECT_EQ(end_of(g).finish, "stop") << name;
      EXPECT_LE(end_of(g).ids.size(), at + 2) << name;
    }

    g = greedy_options(30);
    g.max_time = 0;
    EXPECT_EQ(end_of(g).finish, "time") << name;
    EXPECT_EQ(end_of(g).ids.size(), 1u) << name;
  });
}

TEST(Engine, RequestsOfOneRunKeepTheirOwnOptions) {
  const std::string model = "gpt2_h3";
  const std::vector<Ids> prompts = prompts_of(model), greedy = greedy_of(model);
  on_every_grid(model, [&](Loaded& m, const std::string& name) {
    Generation sampled = greedy_options(12), beams = greedy_options(6);
    sampled.do_sample = true;
    beams.num_beams = 3;
    beams.num_return_sequences = 2;
    const auto all = m.complete({{.ids = prompts[2], .options = greedy_options(5), .stream = 0},
                                 {.ids = prompts[3], .options = beams, .stream = 0},
                                 {.ids = prompts[2], .options = sampled, .stream = 1},
                                 {.ids = prompts[4], .options = greedy_options(9), .stream = 0}},
                                {.max_batch = 2, .max_rows = 6});
    EXPECT_EQ(all[0][0].ids, Ids(greedy[2].begin(), greedy[2].begin() + 5)) << name;
    EXPECT_EQ(all[1].size(), 2u) << name;
    EXPECT_EQ(all[2][0].ids.size(), 12u) << name;
    EXPECT_EQ(all[3][0].ids, Ids(greedy[4].begin(), greedy[4].begin() + 9)) << name;
  });
}

TEST(Engine, MemoryBoundsTheBatchAndNotTheText) {
  const std::string model = "gpt2_h5";
  const std::vector<Ids> prompts = prompts_of(model), greedy = greedy_of(model);
  on_every_grid(model, [&](Loaded& m, const std::string& name) {
    const auto requests = requests_of(prompts, greedy_options(30));
    InferenceShape shape = plan_inference(m.ctx, m.config, requests, {});
    EXPECT_EQ(shape.slots, 6);
    EXPECT_EQ(shape.S, 90);
    EngineLimits limits;
    shape.slots = shape.max_logit_rows = 2;
    shape.pages = 2;
    limits.memory_bytes =
        static_cast<std::int64_t>(InferencePass::plan_bytes(m.config, m.grid, shape) +
                                  InferencePass::kept_bytes(m.ctx, m.config, shape));
    limits.memory_bytes =
        m.grid.replica().all_reduce_value(limits.memory_bytes, ReduceOp::max, m.stream);
    EXPECT_LE(plan_inference(m.ctx, m.config, requests, limits).slots, 3);
    const auto all = m.complete(requests, limits);
    for (std::size_t i = 0; i < prompts.size(); ++i) EXPECT_EQ(all[i][0].ids, greedy[i]) << name;
    limits.memory_bytes = 1000;
    EXPECT_THROW(plan_inference(m.ctx, m.config, requests, limits), UserError) << name;
  });
}

}  // namespace
}  // namespace weft::test

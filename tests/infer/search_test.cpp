// Searches that end early or change their angles, against the reference (tests/data/search.json, by
// make_search.py), on every grid of the ranks at hand.
//
// Bounds as in engine_test.cpp: 2e-4 a log-probability, and as many of them as a sum has terms.
#include <set>

#include "tests/infer/golden.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {
namespace {

const Json& search() {
  static const Json json = read_json_object(data_dir() / "search.json");
  return json;
}

void expect_results(const std::vector<Completion>& ours, const Json& golden, double length_penalty,
                    const std::string& name) {
  const auto expected = golden["sequences"].get<std::vector<Ids>>();
  const auto scores = golden["scores"].get<std::vector<double>>();
  ASSERT_EQ(ours.size(), expected.size()) << name;
  for (std::size_t s = 0; s < expected.size(); ++s) {
    EXPECT_EQ(ours[s].error, "") << name;
    EXPECT_EQ(ours[s].ids, expected[s]) << name << ", result " << s;
    const double n = static_cast<double>(expected[s].size());
    EXPECT_NEAR(ours[s].score, scores[s], 2e-4 * n / std::pow(n, length_penalty)) << name;
  }
}

TEST(Search, BeamsUnderStopStringsBansAndSeveralEnds) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  const Json& golden = search()["beams"];
  const auto prompts = golden["prompts"].get<std::vector<Ids>>();
  std::vector<GenerationRequest> requests;
  for (const Json& c : golden["cases"]) {
    Generation g = options_of(c["options"]);
    g.max_new_tokens = c["options"]["max_new_tokens"].get<std::int64_t>();
    g.min_new_tokens = std::min(g.min_new_tokens, g.max_new_tokens);
    g.stop = c["stop"].get<std::vector<std::string>>();
    requests.push_back({.ids = prompts[c["prompt"].get<std::size_t>()], .options = g, .stream = 0});
  }
  on_every_grid("gpt2_h5", [&](Loaded& m, const std::string& name) {
    const auto all = m.complete(requests, {.max_batch = 7, .max_rows = 9}, &tokenizer);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      const Json& c = golden["cases"][i];
      expect_results(
          all[i], c, requests[i].options.length_penalty,
          fmt::format("{}, case {} {} {}", name, i, json_text(c["options"]), json_text(c["stop"])));
    }
  });
}

// Texts that stay below the original context, cross it, or begin above it.
struct LongTexts {
  std::vector<GenerationRequest> requests;  // greedy, then the case's beams, case by case
  LongTexts() {
    for (const Json& c : search()["longrope"]["cases"]) {
      Generation g = greedy_options(static_cast<std::int64_t>(c["greedy"].size()));
      g.logprobs = true;
      requests.push_back({.ids = c["prompt"].get<Ids>(), .options = g, .stream = 0});
      for (const Json& beams : c["beams"]) {
        g = options_of(beams["options"]);
        g.max_new_tokens = requests.back().options.max_new_tokens;
        requests.push_back({.ids = c["prompt"].get<Ids>(), .options = g, .stream = 0});
      }
    }
  }
  void check(const std::vector<std::vector<Completion>>& all, const std::string& name) const {
    std::size_t at = 0;
    for (const Json& c : search()["longrope"]["cases"]) {
      const std::string what = fmt::format("{}, prompt of {}", name, c["prompt"].size());
      const Completion& greedy = all[at++][0];
      EXPECT_EQ(greedy.ids, c["greedy"].get<Ids>()) << what;
      const auto logprobs = c["logprobs"].get<std::vector<float>>();
      ASSERT_EQ(greedy.logprobs.size(), logprobs.size()) << what;
      for (std::size_t t = 0; t < logprobs.size(); ++t)
        EXPECT_NEAR(greedy.logprobs[t], logprobs[t], 2e-4) << what << ", token " << t;
      for (const Json& beams : c["beams"]) {
        expect_results(all[at], beams, requests[at].options.length_penalty,
                       what + " " + json_text(beams["options"]));
        ++at;
      }
    }
  }
};

TEST(LongRope, TextsTogetherEqualTheReference) {
  const LongTexts texts;
  on_every_grid("families/phi3_longrope", [&](Loaded& m, const std::string& name) {
    for (const EngineLimits& limits : {EngineLimits{}, EngineLimits{.max_batch = 6, .max_rows = 7},
                                       EngineLimits{.max_batch = 4, .max_rows = 4},
                                       EngineLimits{.max_batch = 32, .max_rows = 1}})
      texts.check(m.complete(texts.requests, limits),
                  fmt::format("{}, at most {} rows", name, limits.max_rows));
  });
}

TEST(LongRope, TextsAloneEqualTheReference) {
  const LongTexts texts;
  Loaded m(make_self_communicator(), {}, "families/phi3_longrope");
  for (const std::int64_t max_rows : {512, 5, 1}) {
    std::vector<std::vector<Completion>> all;
    for (const GenerationRequest& r : texts.requests)
      all.push_back(m.complete({r}, {.max_batch = 32, .max_rows = max_rows})[0]);
    texts.check(all, fmt::format("alone, at most {} rows", max_rows));
  }
}

// What other families read before the crossing keeps its angles.
TEST(LongRope, OtherFamiliesKeepWhatWasRead) {
  const Json& golden = search()["longrope_kept"];
  std::vector<GenerationRequest> requests;
  for (const Json& c : golden["cases"]) {
    Generation g = greedy_options(20);
    g.logprobs = true;
    requests.push_back({.ids = c["prompt"].get<Ids>(), .options = g, .stream = 0});
  }
  on_every_grid("families/llama_linear", [&](Loaded& m, const std::string& name) {
    m.config.rope.scaling = RopeScaling::longrope;
    m.config.rope.theta = golden["rope"]["rope_theta"].get<double>();
    m.config.rope.original_context =
        golden["rope"]["original_max_position_embeddings"].get<std::int64_t>();
    m.config.rope.attention_factor = golden["rope"]["attention_factor"].get<double>();
    m.config.rope.short_factors = golden["rope"]["short_factor"].get<std::vector<double>>();
    m.config.rope.long_factors = golden["rope"]["long_factor"].get<std::vector<double>>();
    for (const std::int64_t max_rows : {512, 6}) {
      const auto all = m.complete(requests, {.max_batch = 4, .max_rows = max_rows});
      for (std::size_t i = 0; i < requests.size(); ++i) {
        const Json& c = golden["cases"][i];
        EXPECT_EQ(all[i][0].ids, c["greedy"].get<Ids>()) << name << ", case " << i;
        const auto logprobs = c["logprobs"].get<std::vector<float>>();
        for (std::size_t t = 0; t < logprobs.size(); ++t)
          EXPECT_NEAR(all[i][0].logprobs[t], logprobs[t], 2e-4) << name << ", case " << i;
      }
    }
  });
}

// A draw's text does not depend on who else is in the passes, nor on how they are cut.
TEST(LongRope, DrawsAloneAndTogether) {
  std::vector<GenerationRequest> requests;
  for (GenerationRequest r : LongTexts().requests) {
    r.options.do_sample = true;
    r.options.seed = 4;
    r.stream = draw_stream(r.ids, static_cast<std::int64_t>(requests.size()));
    requests.push_back(r);
  }
  Loaded one(make_self_communicator(), {}, "families/phi3_longrope");
  std::vector<std::vector<Completion>> alone;
  for (const GenerationRequest& r : requests) alone.push_back(one.complete({r})[0]);
  on_every_grid("families/phi3_longrope", [&](Loaded& m, const std::string& name) {
    const auto all = m.complete(requests, {.max_batch = 9, .max_rows = 11});
    for (std::size_t i = 0; i < requests.size(); ++i)
      for (std::size_t s = 0; s < alone[i].size(); ++s)
        EXPECT_EQ(all[i][s].ids, alone[i][s].ids) << name << ", request " << i;
  });
}

// A pass for each new token, the prompt's and the crossing's among them; a text that is read in
// pieces takes as many passes more.
TEST(LongRope, PassesAreAsManyAsTheyMustBe) {
  Loaded m(make_self_communicator(), {}, "families/phi3_longrope");
  const Ids prompt = search()["longrope"]["cases"][2]["prompt"].get<Ids>();
  ASSERT_EQ(prompt.size(), 5u);
  const auto passes = [&](const Generation& g, std::int64_t max_rows) {
    Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = 32, .max_rows = max_rows});
    engine.run(std::vector<GenerationRequest>{{.ids = prompt, .options = g, .stream = 0}},
               [](std::size_t, std::int64_t, const Completion&) {});
    return engine.passes();
  };
  EXPECT_EQ(passes(greedy_options(11), 512), 11);  // 16 tokens, all within the original context
  EXPECT_EQ(passes(greedy_options(30), 512), 30);
  EXPECT_EQ(passes(greedy_options(30), 4), 30 + 1 + 4);  // 5 tokens in 2 passes, 17 in 5
  Generation beams = greedy_options(30);
  beams.num_beams = 3;
  EXPECT_EQ(passes(beams, 512), 30);
  EXPECT_EQ(passes(beams, 9), 30 + 5);  // three texts of 17 tokens in 6 passes
}

// Sets a row of the token embedding, which is the head too, on the ranks that hold it.
void poke_token(Loaded& m, std::int32_t id, float value) {
  for (LocalParameter& p : m.parameters.list()) {
    if (p.info.name != "embed.tokens.weight" && p.info.tied_to != "embed.tokens.weight") continue;
    const std::int64_t row = id - (p.slice.whole() ? 0 : p.slice.ranges[0].begin);
    if (row < 0 || row >= p.weight.dim(0)) continue;
    float* at = p.weight.as<float>() + row * p.weight.dim(1);
    std::fill(at, at + p.weight.dim(1), value);
  }
}

TEST(Search, LogitsThatAreNotFiniteEndEveryRankWithTheRequestsName) {
  const std::vector<Ids> prompts = prompts_of("gpt2_h3");
  for (const auto& [beams, sample] : {std::pair{1, false}, {1, true}, {3, false}, {3, true}})
    on_every_grid(
        "gpt2_h3", [&, beams = beams, sample = sample](Loaded& m, const std::string& name) {
          poke_token(m, 150, std::nanf(""));  // a token that the prompt does not hold
          Generation g = greedy_options(6);
          g.num_beams = beams;
          g.do_sample = sample;
          ASSERT_EQ(std::count(prompts[1].begin(), prompts[1].end(), 150), 0);
          Engine engine(m.ctx, m.config, m.parameters, nullptr);
          const std::vector<GenerationRequest> requests = {
              {.ids = prompts[1], .options = g, .stream = 0, .name = "line 7"}};
          const auto failure =
              engine.try_run(requests, [&](std::size_t, std::int64_t, const Completion&) {
                ADD_FAILURE() << name << ": a result of numbers that are none";
              });
          ASSERT_TRUE(failure) << name;
          EXPECT_EQ(failure->kind, FailureKind::program) << name;
          EXPECT_EQ(failure->text,
                    "line 7, new token 1: the model's logits are not finite (NaN or "
                    "infinity)")
              << name;
          EXPECT_THROW(engine.run(requests, [](std::size_t, std::int64_t, const Completion&) {}),
                       Error);
        });
}

// One NaN is a score of zero; log softmax, with beams, makes all scores so.
TEST(Search, LogitsThatAreNotFiniteAreGoneOnWithWhereInvalidValuesAreRemoved) {
  const std::vector<Ids> prompts = prompts_of("gpt2_h3");
  for (const std::int64_t beams : {1, 2}) {
    Loaded m(make_self_communicator(), {}, "gpt2_h3");
    Generation g = greedy_options(6);
    g.suppress_tokens = {150};
    const Ids expected = m.complete({{.ids = prompts[1], .options = g, .stream = 0}})[0][0].ids;
    poke_token(m, 150, std::nanf(""));
    g.remove_invalid_values = true;
    g.num_beams = beams;
    const Completion c = m.complete({{.ids = prompts[1], .options = g, .stream = 0}})[0][0];
    EXPECT_EQ(c.error, "");
    EXPECT_EQ(c.ids, beams == 1 ? expected : Ids(6, 0));
  }
}

TEST(Search, ARequestWithNoTokenLeftIsTheOnlyOneWithoutAResult) {
  const std::vector<Ids> prompts = prompts_of("gpt2_h3"), greedy = greedy_of("gpt2_h3");
  on_every_grid("gpt2_h3", [&](Loaded& m, const std::string& name) {
    Generation none = greedy_options(5), drawn, beams, later;
    for (std::int32_t id = 0; id < m.config.vocab; ++id) none.bad_words.push_back({id});
    drawn = beams = later = none;
    drawn.do_sample = true;
    drawn.top_p = drawn.typical_p = 0.5;
    drawn.min_p = 0.1;
    beams.num_beams = beams.num_return_sequences = 3;
    later.bad_words.pop_back();  // one token, once
    later.no_repeat_ngram_size = 1;
    Generation later_beams = later;
    later_beams.num_beams = 2;
    const Ids prompt = {1, 2, 3};
    std::vector<GenerationRequest> requests = {
        {.ids = prompts[2], .options = greedy_options(5), .stream = 0}};
    for (const Generation& g : {none, drawn, beams, later, later_beams})
      requests.push_back({.ids = prompt, .options = g, .stream = 0, .name = "line 3"});
    requests.push_back({.ids = prompts[4], .options = greedy_options(5), .stream = 0});
    const auto all = m.complete(requests, {.max_batch = 4, .max_rows = 8});
    EXPECT_EQ(all.front()[0].ids, Ids(greedy[2].begin(), greedy[2].begin() + 5)) << name;
    EXPECT_EQ(all.back()[0].ids, Ids(greedy[4].begin(), greedy[4].begin() + 5)) << name;
    for (std::size_t i = 1; i + 1 < requests.size(); ++i) {
      ASSERT_EQ(all[i].size(), 1u) << name;
      EXPECT_EQ(all[i][0].error.find("line 3: no token is left"), 0u) << name << all[i][0].error;
      EXPECT_TRUE(all[i][0].ids.empty()) << name;
    }
  });
}

// One token is allowed first, then it and another: there are only so many texts of three tokens.
TEST(Search, BeamsGiveNoCopies) {
  Loaded m(make_self_communicator(), {}, "gpt2_h3");
  Generation g = greedy_options(2);
  for (std::int32_t id = 0; id < m.config.vocab; ++id)
    if (id != 7 && id != 9) g.bad_words.push_back({id});
  g.num_beams = g.num_return_sequences = 6;
  const auto all = m.complete({{.ids = {1, 2}, .options = g, .stream = 0, .name = "prompt 0"}})[0];
  ASSERT_EQ(all.size(), 6u);
  std::set<Ids> texts;
  for (std::size_t s = 0; s < 4; ++s) texts.insert(all[s].ids);
  EXPECT_EQ(texts, (std::set<Ids>{{7, 7}, {7, 9}, {9, 7}, {9, 9}}));
  for (std::size_t s = 4; s < 6; ++s)
    EXPECT_EQ(all[s].error.find("prompt 0: 4 of 6 results exist"), 0u) << all[s].error;
}

}  // namespace
}  // namespace weft::test

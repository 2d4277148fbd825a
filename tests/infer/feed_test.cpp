// An engine that is fed while it runs, on every grid of the ranks at hand; and the likeliest tokens
// beside each.
#include "infer/likely.h"

#include <chrono>
#include <thread>

#include "infer/score.h"
#include "tests/infer/golden.h"

namespace weft::test {
namespace {

const std::string kModel = "gpt2_h5";

std::vector<GenerationRequest> some_requests() {
  std::vector<GenerationRequest> list;
  for (const Ids& p : prompts_of(kModel)) {
    GenerationRequest& r = list.emplace_back();
    r.ids = p;
    r.options = greedy_options(9);
    r.options.logprobs = true;
    r.options.do_sample = list.size() % 2 == 0;
    r.stream = draw_stream(p, 0);
    r.n_likely = static_cast<std::int64_t>(list.size()) % 3;
  }
  return list;
}

TEST(Feed, TextsDoNotDependOnWhenTheirRequestsCome) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    const std::vector<GenerationRequest> requests = some_requests();
    const auto expected = m.complete(requests);
    for (const std::int64_t max_batch : {1, 3}) {
      Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = max_batch});
      std::vector<Ids> texts(requests.size()), told(requests.size());
      std::size_t given = 0, done = 0;
      const auto feed = [&](bool idle) {
        EXPECT_EQ(idle, given == done) << name;
        EngineOrders orders;
        orders.end = done == requests.size();
        if (given < requests.size() && (idle || given % 2 == 1))
          orders.begin.push_back(requests[given++]);
        return orders;
      };
      const auto failure = engine.serve(
          engine.serving_shape(), feed,
          [&](std::size_t r, std::int64_t sample, const Completion& c) {
            EXPECT_EQ(sample, 0);
            texts[r] = c.ids;
            ASSERT_EQ(c.logprobs.size(), expected[r][0].logprobs.size()) << name;
            for (std::size_t i = 0; i < c.logprobs.size(); ++i)
              EXPECT_NEAR(c.logprobs[i], expected[r][0].logprobs[i], 1e-5) << name;
            ++done;
          },
          [&](std::size_t r, const ChosenToken& token) {
            told[r].push_back(token.id);
            ASSERT_EQ(static_cast<std::int64_t>(token.likely.size()), requests[r].n_likely);
            if (token.likely.empty()) return;
            EXPECT_GE(token.likely[0].logprob, token.logprob);
            if (!requests[r].options.do_sample) {
              EXPECT_EQ(token.likely[0].id, token.id) << name;
            }
          });
      EXPECT_FALSE(failure) << name;
      for (std::size_t r = 0; r < requests.size(); ++r) {
        EXPECT_EQ(texts[r], expected[r][0].ids) << name << " request " << r;
        EXPECT_EQ(told[r], texts[r]) << name << " request " << r;
      }
    }
  });
}

// What reserves its pages, too: beams, and what guidance leads away from.
TEST(Feed, BeamsAndGuidanceCome) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    std::vector<GenerationRequest> requests = some_requests();
    requests.resize(3);
    requests[0].options = requests[1].options = greedy_options(9);
    requests[0].options.num_beams = 3;
    requests[0].options.num_return_sequences = 2;
    requests[1].options.guidance_scale = 1.5;
    for (GenerationRequest& r : requests) r.n_likely = 0;
    const auto expected = m.complete(requests);
    Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = 4});
    const InferenceShape shape = engine.serving_shape();
    std::size_t given = 0, done = 0;
    const auto failure = engine.serve(
        shape,
        [&](bool idle) {
          EngineOrders orders;
          EXPECT_TRUE(given == requests.size() || fits(m.config, shape, requests[given])) << name;
          orders.end = idle && given == requests.size();
          if (given < requests.size()) orders.begin.push_back(requests[given++]);
          return orders;
        },
        [&](std::size_t r, std::int64_t sample, const Completion& c) {
          EXPECT_EQ(c.ids, expected[r][static_cast<std::size_t>(sample)].ids) << name << " " << r;
          ++done;
        });
    EXPECT_FALSE(failure) << name;
    EXPECT_EQ(done, 4u) << name;
    GenerationRequest wide = requests[0];
    wide.options.num_beams = 5;
    EXPECT_FALSE(fits(m.config, shape, wide));
    wide = requests[2];
    wide.options.max_new_tokens = m.config.context;
    EXPECT_FALSE(fits(m.config, shape, wide));
  });
}

// One under way and one that waits; others get the same, and the place of both.
TEST(Feed, DroppedRequestsAreNoMore) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    const std::vector<GenerationRequest> requests = some_requests();
    const auto expected = m.complete(requests);
    Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = 2});
    std::vector<std::size_t> done;
    int asked = 0;
    const auto failure = engine.serve(
        engine.serving_shape(),
        [&](bool) {
          EngineOrders orders;
          if (asked == 0) orders.begin.assign(requests.begin(), requests.begin() + 4);
          if (asked == 2) orders.drop = {0, 3};
          ++asked;
          orders.end = done.size() == 2;
          return orders;
        },
        [&](std::size_t r, std::int64_t, const Completion& c) {
          done.push_back(r);
          EXPECT_EQ(c.ids, expected[r][0].ids) << name;
        },
        {});
    EXPECT_FALSE(failure);
    std::sort(done.begin(), done.end());
    EXPECT_EQ(done, (std::vector<std::size_t>{1, 2})) << name;
  });
}

TEST(Feed, EndsWithWhatIsUnderWay) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    Engine engine(m.ctx, m.config, m.parameters, nullptr, {.max_batch = 2});
    int asked = 0, done = 0;
    engine.serve(
        engine.serving_shape(),
        [&](bool) {
          EngineOrders orders;
          if (asked == 0) orders.begin = some_requests();
          orders.end = ++asked == 3;
          return orders;
        },
        [&](std::size_t, std::int64_t, const Completion&) { ++done; }, {});
    EXPECT_EQ(done, 0) << name;
    EXPECT_EQ(engine.passes(), 2) << name;
  });
}

// The second question finds the first one's full page, however long nobody asked anything.
TEST(Feed, AConversationReadsWhatIsNew) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    GenerationRequest question;
    for (std::int32_t i = 0; i < 70; ++i) question.ids.push_back(i * 7 % 1000);
    question.options = greedy_options(5);
    GenerationRequest next = question;
    const Ids answer = m.complete({question})[0][0].ids;
    next.ids.insert(next.ids.end(), answer.begin(), answer.end());
    next.ids.push_back(3);
    const Ids expected = m.complete({next})[0][0].ids;
    EngineStatistics statistics;
    double elapsed_s = 0;  // by the engine's clock
    Engine engine(m.ctx, m.config, m.parameters, nullptr, {},
                  {.statistics = &statistics, .after_pass = [&](double s) { elapsed_s = s; }});
    const auto begin = std::chrono::steady_clock::now();
    std::vector<Ids> answers;
    const auto failure = engine.serve(
        engine.growing_shape(question),
        [&](bool idle) {
          EngineOrders orders;
          if (!idle) return orders;
          if (answers.size() == 1) std::this_thread::sleep_for(std::chrono::milliseconds(200));
          if (answers.size() < 2) orders.begin.push_back(answers.empty() ? question : next);
          orders.end = answers.size() == 2;
          return orders;
        },
        [&](std::size_t, std::int64_t, const Completion& c) { answers.push_back(c.ids); }, {});
    EXPECT_FALSE(failure) << name;
    EXPECT_EQ(answers, (std::vector<Ids>{answer, expected})) << name;
    EXPECT_EQ(statistics.counts.shared_tokens, 64) << name;
    EXPECT_EQ(statistics.queue.count(), 2) << name;
    const std::chrono::duration<double> all = std::chrono::steady_clock::now() - begin;
    EXPECT_LT(elapsed_s, all.count() - 0.1) << name;
  });
}

// Twice the tokens, as far as the context goes; where memory ends no more than the request.
TEST(Feed, PlansForAConversationThatGrows) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    const GenerationRequest small = {.ids = {1, 2, 3}, .options = greedy_options(5)};
    EngineLimits limits;
    const auto plan = [&] {
      return Engine(m.ctx, m.config, m.parameters, nullptr, limits).growing_shape(small);
    };
    const InferenceShape shape = plan();
    EXPECT_EQ(shape.S, 96) << name;
    EXPECT_EQ(shape.pages, 2) << name;
    EXPECT_EQ(shape.slots, 1) << name;
    InferenceShape least = plan_inference(m.ctx, m.config, {&small, 1}, limits);
    limits.memory_bytes = m.grid.replica().all_reduce_value(
        static_cast<std::int64_t>(InferencePass::plan_bytes(m.config, m.grid, least) +
                                  InferencePass::kept_bytes(m.ctx, m.config, least)),
        ReduceOp::max, m.stream);
    EXPECT_EQ(plan().S, 8) << name;
    limits.memory_bytes = 1000;
    EXPECT_THROW(plan(), UserError) << name;
  });
}

// Room for the whole context of each, for fewer pages where memory ends, never for less than one.
TEST(Feed, PlansForRequestsThatNobodyKnows) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    EngineLimits limits = {.max_batch = 5};
    InferenceShape shape = plan_serving(m.ctx, m.config, limits);
    EXPECT_EQ(shape.slots, 5) << name;
    EXPECT_EQ(shape.S, 96) << name;
    EXPECT_EQ(shape.pages, 5 * 2) << name;
    shape.pages = 3;
    limits.memory_bytes = m.grid.replica().all_reduce_value(
        static_cast<std::int64_t>(InferencePass::plan_bytes(m.config, m.grid, shape) +
                                  InferencePass::kept_bytes(m.ctx, m.config, shape)),
        ReduceOp::max, m.stream);
    const std::int64_t pages = plan_serving(m.ctx, m.config, limits).pages;
    EXPECT_GE(pages, 3) << name;
    EXPECT_LT(pages, 10) << name;
    limits.memory_bytes = 1000;
    EXPECT_THROW(plan_serving(m.ctx, m.config, limits), UserError) << name;
  });
}

TEST(Likely, AreTheBestOfTheLogits) {
  const std::vector<float> logits = {0, 2, 1, 2, -1};
  const double sum = log_sum_exp(logits);
  const std::vector<LikelyToken> best = likely_tokens(logits, sum, 3);
  ASSERT_EQ(best.size(), 3u);
  EXPECT_EQ(best[0].id, 1);
  EXPECT_EQ(best[1].id, 3);
  EXPECT_EQ(best[2].id, 2);
  EXPECT_EQ(best[0].logprob, log_probability(logits, 1));
  EXPECT_EQ(likely_tokens(logits, sum, 9).size(), 5u);
  EXPECT_TRUE(likely_tokens(logits, sum, 0).empty());
}

TEST(Likely, ScoresAreThoseOfScore) {
  on_every_grid(kModel, [](Loaded& m, const std::string& name) {
    std::vector<TokenizedText> texts;
    for (const Ids& p : prompts_of(kModel)) texts.emplace_back().ids = p;
    texts.emplace_back().ids = {7};
    Ids longest;
    for (std::int32_t i = 0; i < 96; ++i) longest.push_back(i * 7 % 1000);
    texts.emplace_back().ids = longest;
    std::vector<std::vector<float>> expected(texts.size());
    score_texts(m.ctx, m.config, m.parameters, texts, [&](std::size_t t, std::span<const float> x) {
      expected[t].assign(x.begin(), x.end());
    });
    for (const std::int64_t k : {0, 2}) {
      std::size_t n = 0;
      score_with_likely(
          m.ctx, m.config, m.parameters, texts, k,
          [&](std::size_t t, std::span<const float> logprobs, std::span<const LikelyToken> likely) {
            ++n;
            ASSERT_EQ(logprobs.size(), texts[t].ids.size()) << name;
            ASSERT_EQ(likely.size(), texts[t].ids.size() * static_cast<std::size_t>(k));
            EXPECT_TRUE(std::isnan(logprobs[0]));
            for (std::size_t i = 1; i < logprobs.size(); ++i) {
              EXPECT_NEAR(logprobs[i], expected[t][i], 2e-5) << name;
              if (k == 0) continue;
              const LikelyToken best = likely[i * 2], second = likely[i * 2 + 1];
              EXPECT_GE(best.logprob, second.logprob);
              EXPECT_GE(best.logprob, logprobs[i]);
              if (best.id == texts[t].ids[i]) {
                EXPECT_EQ(best.logprob, logprobs[i]);
              }
            }
          });
      EXPECT_EQ(n, texts.size());
    }
  });
}

}  // namespace
}  // namespace weft::test

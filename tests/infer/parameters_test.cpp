// Each parameter of generate() against the reference: greedy and beam search on every grid, and
// what sampling with beams draws from.
#include "infer/beam.h"
#include "tests/infer/golden.h"

namespace weft::test {
namespace {

TEST(Parameters, GiveWhatTheReferenceGives) {
  for (const std::string& model : kModels)
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      const std::vector<Ids> prompts = prompts_of(model);
      const Json& cases = golden()[model]["parameters"];
      std::vector<GenerationRequest> requests;
      for (const Json& c : cases) {
        const Ids& prompt = prompts[c["prompt"].get<std::size_t>()];
        Json options = c["options"];
        options["max_new_tokens"] = 12;
        requests.push_back(
            {.ids = prompt,
             .options = options_of(options, static_cast<std::int64_t>(prompt.size())),
             .stream = 0});
      }
      const auto all = m.complete(requests, {.max_batch = 7, .max_rows = 9});
      for (std::size_t i = 0; i < requests.size(); ++i) {
        const Json& c = cases[i];
        const std::string what = name + " " + json_text(c["options"]);
        const auto expected = c["sequences"].get<std::vector<Ids>>();
        ASSERT_EQ(all[i].size(), expected.size()) << what;
        for (std::size_t s = 0; s < expected.size(); ++s) {
          EXPECT_EQ(all[i][s].ids, expected[s]) << what << " result " << s;
          if (!c.contains("scores")) continue;
          // Each of 12 terms within 2e-4.
          EXPECT_NEAR(all[i][s].score, c["scores"][s].get<double>(), 2.4e-3) << what;
        }
      }
    });
}

// Guided continuations among others, whatever is read beside them.
TEST(Parameters, GuidanceDoesNotDependOnBatchMates) {
  const std::string model = "gpt2_h5";
  const std::vector<Ids> prompts = prompts_of(model);
  Loaded m(make_self_communicator(), {}, model);
  std::vector<GenerationRequest> requests;
  std::vector<std::vector<Completion>> alone;
  for (std::size_t p = 1; p < prompts.size(); ++p)
    for (const bool negative : {false, true}) {
      Generation g = greedy_options(9);
      g.guidance_scale = 2;
      g.logprobs = true;
      if (negative) g.negative_prompt = prompts[p - 1];
      requests.push_back({.ids = prompts[p], .options = g, .stream = 0});
      requests.push_back({.ids = prompts[p], .options = greedy_options(9), .stream = 0});
    }
  for (const GenerationRequest& r : requests) alone.push_back(m.complete({r})[0]);
  for (const EngineLimits& limits :
       {EngineLimits{.max_batch = 3, .max_rows = 5}, {.max_batch = 64, .max_rows = 512}}) {
    const auto together = m.complete(requests, limits);
    for (std::size_t i = 0; i < requests.size(); ++i) {
      EXPECT_EQ(together[i][0].ids, alone[i][0].ids) << i;
      ASSERT_EQ(together[i][0].logprobs.size(), alone[i][0].logprobs.size());
      for (std::size_t t = 0; t < alone[i][0].logprobs.size(); ++t)
        EXPECT_NEAR(together[i][0].logprobs[t], alone[i][0].logprobs[t], 1e-4) << i;
    }
  }
}

// Candidates are drawn without replacement from the softmax of all beams' sums together.
TEST(Parameters, BeamSamplingDrawsFromTheSoftmaxOfAllBeams) {
  Generation g;
  g.do_sample = true;
  g.num_beams = 2;
  g.top_k = 0;
  g.temperature = 0.7;
  g.suppress_tokens = {3};
  constexpr std::int64_t kV = 4;
  const std::vector<float> first = {0.0f, 1.0f, -1.0f, 5.0f}, second = {1.5f, -0.5f, 0.3f, 2.0f};
  BeamSearch search({.ids = {1}, .logprobs = {}, .tail = ""}, g, kV);
  // Two beams of different sums.
  const std::vector<BeamCandidate> begun = {{.score = -0.5, .beam = 0, .id = 1},
                                            {.score = -1.4, .beam = 0, .id = 2}};
  search.advance(begun, [](Continuation& c, const BeamCandidate& b) {
    c.ids.push_back(b.id);
    return std::string();
  });
  ASSERT_EQ(search.running().size(), 2u);
  const std::vector<std::span<const float>> rows = {first, second};
  std::vector<double> weights;  // of (beam, token), by the definition
  for (std::size_t b = 0; b < 2; ++b) {
    double sum = 0;
    for (const float l : rows[b]) sum += std::exp(static_cast<double>(l));
    for (std::int64_t id = 0; id < kV; ++id)
      weights.push_back(
          id == 3 ? 0
                  : std::exp(begun[b].score +
                             (rows[b][static_cast<std::size_t>(id)] - std::log(sum)) / 0.7));
  }
  // P(a candidate is among four of the six drawn one after the other).
  std::vector<double> expected(weights.size(), 0);
  const std::function<void(std::vector<bool>&, int, double)> draw_rest =
      [&](std::vector<bool>& taken, int n, double p) {
        if (n == 4) {
          for (std::size_t i = 0; i < weights.size(); ++i) expected[i] += taken[i] ? p : 0;
          return;
        }
        double left = 0;
        for (std::size_t i = 0; i < weights.size(); ++i) left += taken[i] ? 0 : weights[i];
        for (std::size_t i = 0; i < weights.size(); ++i) {
          if (taken[i] || weights[i] == 0) continue;
          taken[i] = true;
          draw_rest(taken, n + 1, p * weights[i] / left);
          taken[i] = false;
        }
      };
  std::vector<bool> taken(weights.size(), false);
  draw_rest(taken, 0, 1);
  Stream stream;
  Sampler sampler(stream);
  constexpr int kDraws = 20'000;
  std::vector<int> counts(weights.size(), 0);
  for (int i = 0; i < kDraws; ++i) {
    const auto drawn = search.choose(sampler, rows, static_cast<std::uint64_t>(i));
    ASSERT_EQ(drawn.size(), 4u);
    for (const BeamCandidate& c : drawn) {
      const auto at = static_cast<std::size_t>(c.beam * kV + c.id);
      EXPECT_NEAR(c.score, std::log(weights[at]), 1e-5);
      ++counts[at];
    }
  }
  for (std::size_t i = 0; i < weights.size(); ++i)
    EXPECT_NEAR(counts[i], kDraws * expected[i],
                5 * std::sqrt(kDraws * expected[i] * (1 - expected[i])) + 1e-9)
        << "candidate " << i;
}

}  // namespace
}  // namespace weft::test

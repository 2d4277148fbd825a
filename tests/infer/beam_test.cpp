// Beam search against the reference on every grid.
#include "infer/beam.h"
#include "tests/infer/golden.h"

namespace weft::test {
namespace {

TEST(Beams, FindWhatTheReferenceFinds) {
  for (const std::string& model : kModels)
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      const std::vector<Ids> prompts = prompts_of(model);
      std::vector<GenerationRequest> requests;
      for (const Json& c : golden()[model]["beams"]) {
        Generation g = options_of(c["options"]);
        g.max_new_tokens = 12;
        requests.push_back(
            {.ids = prompts[c["prompt"].get<std::size_t>()], .options = g, .stream = 0});
      }
      const auto all = m.complete(requests, {.max_batch = 7, .max_rows = 9});
      for (std::size_t i = 0; i < requests.size(); ++i) {
        const Json& c = golden()[model]["beams"][i];
        const auto expected = c["sequences"].get<std::vector<Ids>>();
        const auto scores = c["scores"].get<std::vector<double>>();
        ASSERT_EQ(all[i].size(), expected.size()) << name;
        for (std::size_t s = 0; s < expected.size(); ++s) {
          EXPECT_EQ(all[i][s].ids, expected[s]) << name << " " << json_text(c["options"])
                                                << " prompt " << c["prompt"] << " result " << s;
          // Up to 12 sums, each within 2e-4, times at most 12 for a length penalty of -1 and over
          // 12² for one of 2.
          EXPECT_NEAR(
              all[i][s].score, scores[s],
              12 * 2e-4 * std::max(1.0, std::pow(12.0, -requests[i].options.length_penalty)))
              << name << " " << json_text(c["options"]);
        }
      }
    });
}

TEST(Beams, LogprobsAreThoseOfTheirOwnTokens) {
  Loaded m(make_self_communicator(), {}, "gpt2_h3");
  Generation g = greedy_options(10);
  g.num_beams = 4;
  g.num_return_sequences = 4;
  g.logprobs = true;
  const auto all = m.complete({{.ids = prompts_of("gpt2_h3")[2], .options = g, .stream = 0}});
  for (const Completion& c : all[0]) {
    double sum = 0;
    for (float l : c.logprobs) sum += l;
    EXPECT_EQ(c.logprobs.size(), c.ids.size());
    EXPECT_NEAR(sum / 10, c.score, 1e-5);
  }
}

TEST(Beams, SamplingIsTheSameOnEveryGridAndDrawsWithoutReplacement) {
  const std::string model = "gpt2_h5";
  const Ids prompt = prompts_of(model)[2];
  Generation g = greedy_options(8);
  g.num_beams = 3;
  g.num_return_sequences = 3;
  g.do_sample = true;
  g.seed = 1;
  Loaded one(make_self_communicator(), {}, model);
  const auto expected = one.complete({{.ids = prompt, .options = g, .stream = 9}})[0];
  EXPECT_NE(expected[0].ids, expected[1].ids);
  on_every_grid(model, [&](Loaded& m, const std::string& name) {
    const auto found = m.complete({{.ids = prompt, .options = g, .stream = 9}})[0];
    for (std::size_t s = 0; s < 3; ++s) EXPECT_EQ(found[s].ids, expected[s].ids) << name;
  });
  g.seed = 2;
  EXPECT_NE(one.complete({{.ids = prompt, .options = g, .stream = 9}})[0][0].ids, expected[0].ids);
}

// The first candidate of a draw without replacement is distributed as a plain draw.
TEST(Beams, CandidatesAreDrawnByTheirProbability) {
  Generation g;
  g.do_sample = true;
  g.num_beams = 2;
  g.top_k = 0;
  const std::vector<float> logits = {0.0f, 1.0f, -1.0f, 0.5f, 2.0f};
  const BeamSearch search({.ids = {1}, .logprobs = {}, .tail = ""}, g, 5);
  Stream stream;
  Sampler sampler(stream);
  sampler.process(logits, g, Ids{1}, 1);
  const std::vector<double> p(sampler.probabilities().begin(), sampler.probabilities().end());
  // P(i is among the 4 of 5 drawn) = 1 - P(i is last).
  std::vector<double> last(5, 0);
  std::vector<int> order = {0, 1, 2, 3, 4};
  do {
    double q = 1, left = 1;
    for (int i : order) {
      q *= p[static_cast<std::size_t>(i)] / left;
      left -= p[static_cast<std::size_t>(i)];
    }
    last[static_cast<std::size_t>(order[4])] += q;
  } while (std::next_permutation(order.begin(), order.end()));
  constexpr int kDraws = 20'000;
  std::vector<int> missing(5, kDraws);
  const std::vector<std::span<const float>> rows = {logits};
  for (int i = 0; i < kDraws; ++i)
    for (const BeamCandidate& c : search.choose(sampler, rows, static_cast<std::uint64_t>(i)))
      --missing[static_cast<std::size_t>(c.id)];
  for (std::size_t i = 0; i < 5; ++i)
    EXPECT_NEAR(missing[i], kDraws * last[i], 5 * std::sqrt(kDraws * last[i] * (1 - last[i])))
        << "token " << i;
}

}  // namespace
}  // namespace weft::test

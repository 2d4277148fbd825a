// Processors, warpers and draws against the reference.
//
// The reference rounds scores to fp32 (6e-8 of their size, at most 60 here): probabilities may
// differ by some 1e-6 at the very worst.
#include <limits>

#include "infer/continuation.h"
#include "tests/infer/golden.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {
namespace {

// Numbers, "nan", "inf" and "-inf".
std::vector<double> numbers_of(const Json& row) {
  std::vector<double> numbers;
  for (const Json& x : row)
    numbers.push_back(x.is_string() ? std::stod(x.get<std::string>()) : x.get<double>());
  return numbers;
}

// Probabilities, and scores where there are beams: those are summed.
TEST(Sampler, ProbabilitiesAndScoresEqualTheReference) {
  const Json& g = golden()["sampler"];
  const Ids all = g["seen"].get<Ids>();
  Stream stream;
  Sampler sampler(stream);
  for (const Json& c : g["cases"]) {
    const auto row = [&](const std::string& name) {
      const std::vector<double> numbers = numbers_of(g["logits"][name]);
      return std::vector<float>(numbers.begin(), numbers.end());
    };
    const std::string name = c["logits"];
    const std::vector<float> logits = row(name), other = row("other");
    const Ids seen(all.begin(), all.begin() + c["n_seen"].get<std::ptrdiff_t>());
    const Generation options = options_of(c["options"], c["n_prompt"]);
    const NextLogits next = {logits, options.guided() ? other : std::span<const float>()};
    const auto scores = sampler.process(next, options, seen, c["n_prompt"]);
    const bool beams = c.contains("scores");
    std::vector<double> expected = numbers_of(beams ? c["scores"] : c["probabilities"]), found;
    if (beams)
      found.assign(scores.begin(), scores.end());
    else
      found.assign(sampler.probabilities().begin(), sampler.probabilities().end());
    if (name == "ties") {
      // Which of equal tokens go first is left open by the reference's sort; how many stay is not.
      std::sort(found.begin(), found.end());
      std::sort(expected.begin(), expected.end());
    }
    ASSERT_EQ(found.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::string what = name + " " + json_text(c["options"]) + fmt::format(" token {}", i);
      if (std::isfinite(expected[i])) {
        // Scores are fp32 differences of numbers of up to 32.
        EXPECT_NEAR(found[i], expected[i],
                    std::max(beams ? 4e-6 : 1e-6, 4e-7 * std::abs(expected[i])))
            << what;
      } else {
        EXPECT_EQ(found[i], expected[i]) << what;
      }
    }
  }
}

TEST(Sampler, AllOfTheEntropyIsAllOfTheHundredLikeliest) {
  Stream stream;
  Sampler sampler(stream);
  std::vector<float> logits;
  for (int i = 0; i < 150; ++i) logits.push_back(static_cast<float>(i) * 0.01f);
  Generation g;
  g.do_sample = true;
  g.top_k = 0;
  g.top_h = 1;
  const auto scores = sampler.process(logits, g, Ids{0}, 1);
  for (std::size_t i = 0; i < 150; ++i) EXPECT_EQ(std::isfinite(scores[i]), i >= 50) << i;
}

// The reference makes an infinity of it, which then ends the text.
TEST(Sampler, AForbiddenEndStaysForbiddenWhereInvalidValuesGo) {
  Stream stream;
  Sampler sampler(stream);
  Generation g;
  g.eos = {1};
  g.min_new_tokens = 9;
  g.remove_invalid_values = true;
  g.length_decay = LengthDecay{.start = 0, .factor = 3};
  EXPECT_EQ(sampler.choose(std::vector<float>{1, 5, 2}, g, Ids{0, 0, 0}, 1, 0)->id, 2);
}

TEST(Sampler, AGuidedRowOfNoNumbersIsAnError) {
  Stream stream;
  Sampler sampler(stream);
  Generation g;
  g.guidance_scale = 2;
  const std::vector<float> row = {1, 2, 0}, broken = {NAN, 2, 0};
  EXPECT_EQ(sampler.choose({row, row}, g, Ids{0}, 1, 0)->id, 1);
  EXPECT_THROW(sampler.choose({row, broken}, g, Ids{0}, 1, 0), Error);
  EXPECT_THROW(sampler.choose(row, g, Ids{0}, 1, 0), Error);
}

TEST(Sampler, ADrawFollowsTheProbabilities) {
  const auto logits = golden()["sampler"]["logits"]["plain"].get<std::vector<float>>();
  const Ids seen = {1, 2, 3};
  Generation g;
  g.do_sample = true;
  g.temperature = 1.7;
  g.top_k = 30;
  Stream stream;
  Sampler sampler(stream);
  sampler.process(logits, g, seen, 3);
  const std::vector<double> p(sampler.probabilities().begin(), sampler.probabilities().end());
  constexpr int kDraws = 40'000;
  // Over prompts, over copies of one, over positions and over seeds: all four must be as good as
  // independent.
  for (int kind = 0; kind < 4; ++kind) {
    std::vector<int> counts(p.size(), 0);
    for (int i = 0; i < kDraws; ++i) {
      const Ids prompt = kind == 0 ? Ids{i} : Ids{5};
      Ids so_far = seen;
      if (kind == 2) so_far.resize(static_cast<std::size_t>(i % 200) + 1, 7);
      g.seed = kind == 3 ? i : kind == 2 ? i / 200 : 0;
      const std::uint64_t draws = draw_stream(prompt, kind == 1 ? i : 0);
      ++counts[static_cast<std::size_t>(sampler.choose(logits, g, so_far, 3, draws)->id)];
    }
    double chi = 0;
    int bins = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      if (p[i] == 0) {
        EXPECT_EQ(counts[i], 0);
        continue;
      }
      chi += std::pow(counts[i] - kDraws * p[i], 2) / (kDraws * p[i]);
      ++bins;
    }
    EXPECT_EQ(bins, 30);
    EXPECT_LT(chi, (bins - 1) + 5 * std::sqrt(2.0 * (bins - 1))) << "kind " << kind;
    EXPECT_GT(chi, (bins - 1) - 5 * std::sqrt(2.0 * (bins - 1)) / 1.5)
        << "kind " << kind << ": too even to be random";
  }
}

TEST(Sampler, GreedyIgnoresWarpersAndTakesTheFirstOfTies) {
  Generation g;
  g.temperature = 100;
  g.top_p = 0.1;
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {0, 3, 1, 3};
  const Ids seen = {0};
  EXPECT_EQ(sampler.choose(logits, g, seen, 1, 0)->id, 1);
}

TEST(Sampler, ChoosesNothingWhenEveryTokenIsForbidden) {
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {1, 2};
  const Ids seen = {0, 1};
  Generation g;
  g.no_repeat_ngram_size = 1;
  EXPECT_FALSE(sampler.choose(logits, g, seen, 1, 0));
  g.do_sample = true;
  g.top_p = g.typical_p = 0.5;
  g.min_p = 0.2;
  EXPECT_FALSE(sampler.choose(logits, g, seen, 1, 0));
}

TEST(Sampler, ARowWithNaNOrInfinityAnywhereIsAnError) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity(), kNaN = NAN;
  Stream stream;
  Sampler sampler(stream);
  const Ids seen = {0};
  for (const bool sample : {false, true})
    for (const std::int64_t beams : {1, 2}) {
      Generation g;
      g.do_sample = sample;
      g.num_beams = beams;
      for (const std::vector<float>& row : {std::vector<float>{kNaN, 1, 2},
                                            {1, kNaN, 2},
                                            {1, 2, kNaN},
                                            {1, kInfinity, 2},
                                            {kNaN, kNaN, kNaN},
                                            {-kInfinity, -kInfinity, -kInfinity}}) {
        EXPECT_FALSE(are_logits(row));
        EXPECT_THROW(sampler.process(row, g, seen, 1), Error);
      }
    }
  const std::vector<float> row = {-kInfinity, 1, 2};  // a token that the model never writes
  EXPECT_TRUE(are_logits(row));
  EXPECT_EQ(sampler.choose(row, {}, seen, 1, 0)->id, 2);
}

// transformers 5.24 looks for a bad word's beginning in all of the text, its first token included.
TEST(Sampler, ABadWordMayBeginWhereTheTextDoes) {
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {0, 1, 2, 3};
  Generation g;
  g.bad_words = {{1, 2, 3}};
  EXPECT_EQ(sampler.choose(logits, g, Ids{1, 2}, 2, 0)->id, 2);
  EXPECT_EQ(sampler.choose(logits, g, Ids{2}, 1, 0)->id, 3);
  EXPECT_EQ(sampler.choose(logits, g, Ids{0, 1, 2}, 1, 0)->id, 2);
}

TEST(Sampler, ATemperatureNearZeroIsNearlyGreedy) {
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {-7, 3, 9, 9, -std::numeric_limits<float>::infinity(), 0};
  for (const double temperature : {1e-3, 1e-30, 1e-38, 1e-44, 1e-60, 1e-300})
    for (const std::int64_t beams : {1, 2}) {
      Generation g;
      g.do_sample = true;
      g.temperature = temperature;
      g.num_beams = beams;
      g.top_k = 0;
      sampler.process(logits, g, Ids{0}, 1);
      const auto p = sampler.probabilities();
      EXPECT_NEAR(p[2], 0.5, 1e-9) << temperature;
      EXPECT_NEAR(p[3], 0.5, 1e-9) << temperature;
      EXPECT_EQ(p[4], 0) << temperature;
    }
}

TEST(Sampler, APenaltyThatLeavesNoNumbersIsNamed) {
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {0, 3, -4};
  for (const double penalty : {1e-300, 1e-44, 1e-39}) {
    Generation g;
    g.repetition_penalty = penalty;
    EXPECT_THROW(sampler.choose(logits, g, Ids{0, 1}, 1, 0), UserError) << penalty;
  }
}

// score - presence - frequency · times, of what is new: token 1 twice, token 4 once; the prompt's
// token 2 and a token without a score are left alone.
TEST(Sampler, PenaltiesOfTheOpenAiProtocolCountWhatIsNew) {
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {0, 1, 2, 3, 4};
  Generation g;
  g.do_sample = true;
  g.top_k = 0;
  g.presence_penalty = 0.5;
  g.frequency_penalty = -0.25;
  sampler.process(logits, g, Ids{2, 2, 1, 4, 1, 50256}, 2);
  const std::vector<double> expected = {0, 1 - 0.5 + 0.5, 2, 3, 4 - 0.5 + 0.25};
  double sum = 0;
  for (const double score : expected) sum += std::exp(score);
  const auto p = sampler.probabilities();
  for (std::size_t i = 0; i < expected.size(); ++i)
    EXPECT_NEAR(p[i], std::exp(expected[i]) / sum, 1e-6) << i;
}

// A prompt's token that the vocabulary does not hold has no score that could be changed.
TEST(Sampler, TokensBeyondTheVocabularyTouchNothing) {
  Stream stream;
  Sampler sampler(stream);
  const std::vector<float> logits = {0, 1, 2, 3};
  Generation g;
  g.repetition_penalty = 1.3;
  g.no_repeat_ngram_size = 2;
  g.eos = {50256};
  g.min_new_tokens = 3;
  g.bad_words = {{50256}, {50256, 3}, {}};
  g.sequence_bias = {{{50256}, 3}, {{50256, 60000}, 3}};
  g.suppress_tokens = {50256, -1};
  g.begin_suppress_tokens = {50256};
  g.length_decay = LengthDecay{.start = 0, .factor = 2};
  g.encoder_repetition_penalty = 1.2;
  EXPECT_EQ(sampler.choose(logits, g, Ids{50256, -1, 50256}, 1, 0)->id, 2);
}

TEST(StopStrings, EndWhereTheReferenceEnds) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  int stopped = 0, within_a_token = 0;
  for (const Json& c : golden()["stop"]) {
    Generation g;
    g.stop = c["stop"].get<std::vector<std::string>>();
    const Ids prompt = c["prompt"].get<Ids>(), ids = c["ids"].get<Ids>();
    g.max_new_tokens = 1000;
    Continuation text = begin_continuation(prompt, g, &tokenizer);
    std::int64_t n_new = 0;
    for (std::size_t i = 0; i < ids.size() && n_new == 0; ++i)
      if (append_token(text, ids[i], 0, g, static_cast<std::int64_t>(prompt.size()), &tokenizer,
                       0) == "stop")
        n_new = static_cast<std::int64_t>(i) + 1;
    EXPECT_EQ(n_new, c["n_new"].get<std::int64_t>())
        << json_text(c["stop"]) << " in " << tokenizer.decode(prompt) << "|"
        << tokenizer.decode(ids);
    stopped += n_new > 0;
    const std::string written = tokenizer.decode(text.ids);
    within_a_token +=
        n_new > 0 && !std::any_of(g.stop.begin(), g.stop.end(),
                                  [&](const std::string& s) { return written.ends_with(s); });
  }
  EXPECT_GT(stopped, 15);
  EXPECT_GT(within_a_token, 2);
}

}  // namespace
}  // namespace weft::test

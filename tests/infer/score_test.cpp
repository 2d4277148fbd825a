// Log-probabilities of texts, on every grid and in every dtype.
#include "infer/score.h"

#include "tests/infer/golden.h"

namespace weft::test {
namespace {

std::vector<std::vector<float>> scores_of(Loaded& m, const std::vector<Ids>& texts) {
  std::vector<std::vector<float>> all(texts.size(), {42.0f});
  std::size_t next = 0;
  std::vector<TokenizedText> tokenized;
  for (const Ids& ids : texts) tokenized.push_back({ids, {}});
  score_texts(m.ctx, m.config, m.parameters, tokenized,
              [&](std::size_t t, std::span<const float> logprobs) {
                EXPECT_EQ(t, next++);
                EXPECT_EQ(logprobs.size(), texts[t].size());
                if (!logprobs.empty()) {
                  EXPECT_TRUE(std::isnan(logprobs[0])) << "nothing predicts the first token";
                }
                all[t].assign(logprobs.begin() + !logprobs.empty(), logprobs.end());
              });
  EXPECT_EQ(next, texts.size());
  return all;
}

// Prompt and continuation of each golden case, with an empty text and one of a single token among
// them.
std::vector<Ids> golden_texts(const std::string& model) {
  std::vector<Ids> texts = prompts_of(model);
  const std::vector<Ids> greedy = greedy_of(model);
  for (std::size_t i = 0; i < texts.size(); ++i)
    texts[i].insert(texts[i].end(), greedy[i].begin(), greedy[i].end());
  texts.insert(texts.begin() + 2, Ids{});
  texts.insert(texts.begin() + 4, Ids{7});
  return texts;
}

std::vector<std::vector<float>> golden_scores(const std::string& model) {
  auto scores = golden()[model]["logprobs"].get<std::vector<std::vector<float>>>();
  scores.insert(scores.begin() + 2, std::vector<float>{});
  scores.insert(scores.begin() + 4, std::vector<float>{});
  return scores;
}

double worst_difference(const std::vector<std::vector<float>>& a,
                        const std::vector<std::vector<float>>& b) {
  double worst = 0;
  EXPECT_EQ(a.size(), b.size());
  for (std::size_t i = 0; i < a.size(); ++i) {
    EXPECT_EQ(a[i].size(), b[i].size()) << "text " << i;
    for (std::size_t t = 0; t < std::min(a[i].size(), b[i].size()); ++t)
      worst = std::max(worst, std::abs(static_cast<double>(a[i][t]) - b[i][t]));
  }
  return worst;
}

TEST(Score, EqualsTheReferenceOnEveryGrid) {
  for (const std::string& model : kModels)
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      const double worst =
          worst_difference(scores_of(m, golden_texts(model)), golden_scores(model));
      if (m.grid.world().rank() == 0)
        std::printf("%s: largest difference of a log-probability %.1e\n", name.c_str(), worst);
      EXPECT_LT(worst, 2e-4) << name;
    });
}

TEST(Score, HundredsOfTextsOfManyLengthsAsOneByOne) {
  const std::string model = "gpt2_h3";
  std::vector<Ids> texts;
  for (std::int32_t i = 0; i < 300; ++i) {
    Ids ids;
    for (std::int32_t t = 0; t < i * 37 % 97; ++t) ids.push_back((i * 31 + t * t * 7 + t) % 211);
    texts.push_back(std::move(ids));
  }
  Loaded one(make_self_communicator(), {}, model);
  std::vector<std::vector<float>> alone;
  for (const Ids& ids : texts) alone.push_back(scores_of(one, {ids})[0]);
  on_every_grid(model, [&](Loaded& m, const std::string& name) {
    EXPECT_LT(worst_difference(scores_of(m, texts), alone), 2e-5) << name;
  });
}

// Rounding a weight to bf16 (8 bits) moves it by up to 2^-9 of itself, 2^-9/sqrt(3) on average. A
// logit of these models (size about 1) passes some fourteen matmuls of such weights, whose errors
// add like random ones: sqrt(14) · 2^-9 / sqrt(3) = 4e-3 is one standard deviation; the bound is
// five. fp16 has 11 bits: an eighth of it. Sums stay fp32, so grids differ by as little as in fp32.
TEST(Score, HalfPrecisionWeightsStayNear) {
  for (const auto& [dtype, bound] : {std::pair{DType::bf16, 2e-2}, std::pair{DType::f16, 2.5e-3}})
    for (const std::string& model : kModels) {
      Loaded one(make_self_communicator(), {}, model, dtype);
      const auto alone = scores_of(one, golden_texts(model));
      const double from_fp32 = worst_difference(alone, golden_scores(model));
      if (test_mpi().world()->rank() == 0)
        std::printf("%s %s: largest difference from fp32 %.1e\n", model.c_str(),
                    std::string(dtype_name(dtype)).c_str(), from_fp32);
      EXPECT_LT(from_fp32, bound) << model;
      EXPECT_GT(from_fp32, bound / 200) << model << ": was the dtype used?";
      on_every_grid(
          model,
          [&](Loaded& m, const std::string& name) {
            EXPECT_LT(worst_difference(scores_of(m, golden_texts(model)), alone), 2e-5) << name;
          },
          dtype);
    }
}

// tests/data/make_windows.py: the loss of the reference's guide, of texts that fit, that fill the
// context, that pass it by one token, and that are some times as long.
TEST(Score, WindowsAsInTheReferencesGuide) {
  const Json cases = read_json_object(data_dir() / "windows.json")["cases"];
  for (const std::string& model : kModels)
    on_every_grid(model, [&](Loaded& m, const std::string& name) {
      int n_cases = 0;
      for (const Json& c : cases) {
        if (c["model"] != model) continue;
        ++n_cases;
        TokenizedText text;
        for (std::int64_t i = 0; i < c["n"].get<std::int64_t>(); ++i)
          text.ids.push_back(static_cast<std::int32_t>((i * 7919 + i * i * 31) % m.config.vocab));
        const TokenizedText texts[] = {{{3}, {}}, text, {}};
        int seen = 0;
        score_in_windows(m.ctx, m.config, m.parameters, texts, c["stride"].get<std::int64_t>(),
                         [&](std::size_t t, std::span<const float> logprobs, double loss) {
                           ++seen;
                           EXPECT_EQ(logprobs.size(), texts[t].ids.size());
                           if (t != 1) {
                             EXPECT_TRUE(std::isnan(loss));
                           } else {
                             EXPECT_NEAR(loss, c["loss"].get<double>(), 1e-4)
                                 << name << ": " << json_text(c);
                           }
                         });
        EXPECT_EQ(seen, 3);
      }
      EXPECT_GT(n_cases, 0);
    });
}

}  // namespace
}  // namespace weft::test

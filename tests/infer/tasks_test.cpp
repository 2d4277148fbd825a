// Classifying, filling masks, embedding and scoring under masked models, against the reference
// (tests/data/tasks.json, by make_tasks.py), on every grid of the ranks at hand.
#include <cmath>

#include "comm/agreement.h"
#include "infer/classify.h"
#include "infer/embed_texts.h"
#include "infer/score.h"
#include "tests/infer/golden.h"

namespace weft::test {
namespace {

const Json& tasks() {
  static const Json json = read_json_object(data_dir() / "tasks.json");
  return json;
}

std::vector<TokenizedText> texts_of(const Json& lists) {
  std::vector<TokenizedText> texts;
  for (const Json& ids : lists) texts.push_back({ids.get<Ids>(), {}});
  return texts;
}

// A model of tests/data/families with the head that a task wants, on a grid.
struct Opened : ModelOnGrid {
  Opened(GridShape shape, const std::string& model, HeadKind head)
      : ModelOnGrid(test_mpi().world(), shape, config_of(model, head),
                    data_dir() / "families" / model) {}
  static ModelConfig config_of(const std::string& model, HeadKind head) {
    ModelConfig c = read_hf_config(data_dir() / "families" / model);
    set_head(c, head);
    c.pooler = false;
    return c;
  }
};

template <class F>
void on_grids(const std::string& model, HeadKind head, const F& f) {
  for (const GridShape& shape :
       grids_of(test_mpi().world()->size(), Opened::config_of(model, head))) {
    Opened opened(shape, model, head);
    f(opened, model + " on " + name_of(shape));
  }
}

template <class Values>
void expect_near(const Values& ours, const std::vector<double>& golden, double bound,
                 const std::string& name) {
  ASSERT_EQ(ours.size(), golden.size()) << name;
  for (std::size_t i = 0; i < golden.size(); ++i)
    EXPECT_NEAR(static_cast<double>(ours[i]), golden[i], bound * std::max(1.0, std::abs(golden[i])))
        << name << ", number " << i;
}

TEST(Tasks, LogitsAndProbabilitiesOfLabels) {
  for (const auto& [model, golden] : tasks()["classify"].items())
    on_grids(
        model, model.ends_with("tokens") ? HeadKind::classify_tokens : HeadKind::classify,
        [&, &golden = golden](Opened& m, const std::string& name) {
          std::size_t next = 0;
          classify_texts(
              m.ctx, m.config, m.parameters, texts_of(tasks()["texts"]),
              [&](std::size_t t, std::span<const float> logits) {
                EXPECT_EQ(t, next++);
                expect_near(logits, golden[t]["logits"].get<std::vector<double>>(), 2e-5, name);
                std::vector<double> p;
                const auto n = static_cast<std::size_t>(m.config.n_labels);
                for (std::size_t at = 0; at < logits.size(); at += n)
                  for (double x : label_probabilities(m.config, logits.subspan(at, n)))
                    p.push_back(x);
                expect_near(p, golden[t]["probabilities"].get<std::vector<double>>(), 2e-5, name);
              });
          EXPECT_EQ(next, golden.size()) << name;
        });
}

TEST(Tasks, CandidatesForMasks) {
  for (const auto& [model, golden] : tasks()["fill"].items())
    on_grids(model, HeadKind::masked_lm, [&, &golden = golden](Opened& m, const std::string& name) {
      Json lists = Json::array();
      for (const Json& text : golden) lists.push_back(text["ids"]);
      std::size_t next = 0;
      fill_texts(
          m.ctx, m.config, m.parameters, texts_of(lists),
          m.config.mask_id >= 0 ? m.config.mask_id : 4, 5, [&](std::size_t t, const auto& masks) {
            EXPECT_EQ(t, next++);
            const Json& expected = golden[t]["candidates"];
            ASSERT_EQ(masks.size(), expected.size()) << name;
            for (std::size_t k = 0; k < masks.size(); ++k) {
              Ids ids;
              std::vector<double> scores;
              for (const Candidate& c : masks[k]) {
                ids.push_back(c.id);
                scores.push_back(c.probability);
              }
              EXPECT_EQ(ids, expected[k]["ids"].get<Ids>()) << name;
              expect_near(scores, expected[k]["scores"].get<std::vector<double>>(), 2e-6, name);
            }
          });
      EXPECT_EQ(next, golden.size()) << name;
    });
}

TEST(Tasks, PseudoLogLikelihoodOfMaskedModels) {
  for (const auto& [model, golden] : tasks()["pseudo"].items())
    on_grids(model, HeadKind::masked_lm, [&, &golden = golden](Opened& m, const std::string& name) {
      const std::vector<TokenizedText> texts =
          texts_of(tasks()[model == "esm_mlm" ? "esm_texts" : "texts"]);
      std::vector<std::vector<std::uint8_t>> skipped;
      for (const TokenizedText& t : texts) {
        std::vector<std::uint8_t>& skip = skipped.emplace_back(t.ids.size(), std::uint8_t{0});
        skip.front() = skip.back() = 1;
      }
      std::size_t next = 0;
      score_masked_texts(
          m.ctx, m.config, m.parameters, texts, skipped,
          m.config.mask_id >= 0 ? m.config.mask_id : 4,
          [&](std::size_t t, std::span<const float> logprobs) {
            EXPECT_EQ(t, next++);
            ASSERT_EQ(logprobs.size(), golden[t].size()) << name;
            for (std::size_t i = 0; i < logprobs.size(); ++i) {
              EXPECT_EQ(std::isnan(logprobs[i]), golden[t][i].is_null()) << name;
              if (golden[t][i].is_null()) continue;
              EXPECT_NEAR(static_cast<double>(logprobs[i]), golden[t][i].get<double>(), 5e-5)
                  << name;
            }
          });
      EXPECT_EQ(next, golden.size()) << name;
    });
}

// Texts share passes: more variants than a pass holds, none of an empty text or of one that is
// skipped whole, in the order of the texts.
TEST(Tasks, PseudoLogLikelihoodsOfManyTextsAsOneByOne) {
  on_grids("bert_mlm", HeadKind::masked_lm, [](Opened& m, const std::string& name) {
    std::vector<TokenizedText> texts;
    std::vector<std::vector<std::uint8_t>> skipped;
    for (std::int32_t i = 0; i < 40; ++i) {
      TokenizedText text;
      for (std::int32_t t = 0; t < i * 7 % 12; ++t)
        text.ids.push_back((i * 31 + t * t * 7 + t) % 83);
      text.types.assign(text.ids.size(), i % 2);
      skipped.emplace_back(text.ids.size(), i % 5 == 1);
      if (!skipped.back().empty()) skipped.back()[0] = 1;
      texts.push_back(std::move(text));
    }
    const auto scores_of = [&](std::size_t first, std::size_t n) {
      std::vector<std::vector<float>> all;
      score_masked_texts(m.ctx, m.config, m.parameters, std::span(texts).subspan(first, n),
                         std::span(skipped).subspan(first, n), 4,
                         [&](std::size_t t, std::span<const float> logprobs) {
                           EXPECT_EQ(t, all.size());
                           all.emplace_back(logprobs.begin(), logprobs.end());
                         });
      EXPECT_EQ(all.size(), n);
      return all;
    };
    const std::vector<std::vector<float>> together = scores_of(0, texts.size());
    std::size_t numbers = 0;
    for (std::size_t t = 0; t < texts.size(); ++t) {
      const std::vector<float> alone = scores_of(t, 1)[0];
      ASSERT_EQ(alone.size(), texts[t].ids.size());
      ASSERT_EQ(together[t].size(), alone.size());
      for (std::size_t i = 0; i < alone.size(); ++i) {
        EXPECT_EQ(std::isnan(alone[i]), skipped[t][i] != 0);
        EXPECT_EQ(std::isnan(together[t][i]), std::isnan(alone[i]));
        if (skipped[t][i] != 0) continue;
        EXPECT_NEAR(together[t][i], alone[i], 2e-6 * std::max(1.0f, std::abs(alone[i])))
            << name << ", text " << t << ", token " << i;
        ++numbers;
      }
    }
    EXPECT_GT(numbers, 100u);
  });
}

TEST(Tasks, VectorsOfEveryLayerAndPooling) {
  for (const auto& [model, golden] : tasks()["embed"].items())
    on_grids(model, HeadKind::base, [&, &golden = golden](Opened& m, const std::string& name) {
      std::vector<TokenizedText> texts = texts_of(tasks()["texts"]);
      texts.resize(golden.size());
      for (std::int64_t layer = 0; layer <= m.config.layers; ++layer)
        for (const std::string pooling : {"mean", "max", "cls", "last"})
          for (const bool normalize : {false, true})
            embed_texts(m.ctx, m.config, m.parameters, texts,
                        {value_of(kTextPoolings, "--pooling", pooling), layer, normalize},
                        [&](std::size_t t, std::span<const float> x) {
                          auto expected = golden[t][static_cast<std::size_t>(layer)][pooling]
                                              .get<std::vector<double>>();
                          double length = 0;
                          for (double v : expected) length += v * v;
                          if (normalize)
                            for (double& v : expected) v /= std::sqrt(length);
                          expect_near(x, expected, 2e-5,
                                      fmt::format("{} layer {} {}", name, layer, pooling));
                        });
    });
}

// Mostly empty texts: fewer rows than texts.
TEST(Tasks, EmptyTextsAmongTexts) {
  for (const char* model : {"gpt2_classify", "bert_classify", "bert_tokens"}) {
    const bool tokens = std::string(model).ends_with("tokens");
    on_grids(model, tokens ? HeadKind::classify_tokens : HeadKind::classify,
             [&](Opened& m, const std::string& name) {
               const auto logits_of = [&](const std::vector<TokenizedText>& texts) {
                 std::vector<std::vector<float>> all;
                 classify_texts(m.ctx, m.config, m.parameters, texts,
                                [&](std::size_t, std::span<const float> logits) {
                                  all.emplace_back(logits.begin(), logits.end());
                                });
                 return all;
               };
               const auto alone = logits_of({{{7}, {}}});
               for (const std::size_t place : {0, 1, 4}) {
                 std::vector<TokenizedText> texts(5);
                 texts[place].ids = {7};
                 const auto together = logits_of(texts);
                 ASSERT_EQ(together.size(), 5u) << name;
                 expect_near(together[place], {alone[0].begin(), alone[0].end()}, 1e-6, name);
               }
               EXPECT_EQ(logits_of(std::vector<TokenizedText>(3)).size(), 3u) << name;
             });
  }
}

// A NaN in the token's row of the embedding, on the ranks that hold it.
void spoil_token(Opened& m, std::int32_t id) {
  for (LocalParameter& p : m.parameters.list()) {
    if (p.info.name != "embed.tokens.weight" && p.info.tied_to != "embed.tokens.weight") continue;
    const std::int64_t row = id - (p.slice.whole() ? 0 : p.slice.ranges[0].begin);
    if (row >= 0 && row < p.weight.dim(0))
      p.weight.as<float>()[row * p.weight.dim(1)] = std::numeric_limits<float>::quiet_NaN();
  }
}

TEST(Tasks, NumbersThatAreNotFiniteAreAnErrorWithTheTextsName) {
  const std::vector<TokenizedText> texts = {{{5, 6}, {}, "text a"}, {{7, 4, 8}, {}, "text b"}};
  const auto fails = [&](Opened& m, const std::string& name, const std::function<void()>& body) {
    spoil_token(m, 8);
    const auto failure = failure_of(body);
    ASSERT_TRUE(failure) << name;
    EXPECT_EQ(failure->kind, FailureKind::program) << name;
    EXPECT_NE(failure->text.find("the model's results are not finite"), std::string::npos)
        << name << failure->text;
    EXPECT_EQ(failure->text.find("text b"), 0u) << name << failure->text;
  };
  on_grids("bert_classify", HeadKind::classify, [&](Opened& m, const std::string& name) {
    fails(m, name,
          [&] { classify_texts(m.ctx, m.config, m.parameters, texts, [](auto, auto) {}); });
  });
  for (const char* pooling : {"mean", "max", "last", "none"})
    on_grids("bert_mlm", HeadKind::base, [&](Opened& m, const std::string& name) {
      fails(m, name, [&] {
        embed_texts(m.ctx, m.config, m.parameters, texts,
                    {value_of(kTextPoolings, "--pooling", pooling), m.config.layers, false},
                    [](auto, auto) {});
      });
    });
  on_grids("bert_mlm", HeadKind::masked_lm, [&](Opened& m, const std::string& name) {
    fails(m, name, [&] {
      fill_texts(m.ctx, m.config, m.parameters, std::span(texts).last(1), 4, 5, [](auto, auto) {});
    });
  });
  on_grids("gpt2_classify", HeadKind::causal_lm, [&](Opened& m, const std::string& name) {
    fails(m, name, [&] {
      score_texts(m.ctx, m.config, m.parameters, std::span(texts).last(1), [](auto, auto) {});
    });
  });
}

// One replica's text is bad: the others end with its sentence after theirs are done.
TEST(Tasks, WhatOneReplicaMeetsAllRanksThrow) {
  on_grids("gpt2_classify", HeadKind::causal_lm, [&](Opened& m, const std::string& name) {
    spoil_token(m, 8);
    const bool bad = m.grid.dp().rank() == m.grid.shape().dp - 1;
    const std::vector<TokenizedText> texts = {{{5, 6}, {}, "text a"},
                                              {bad ? Ids{7, 8} : Ids{7, 9}, {}, "text b"}};
    std::size_t done = 0;
    const auto ended = caught_together([&] {
      embed_texts(m.ctx, m.config, m.parameters, texts,
                  {value_of(kTextPoolings, "--pooling", "mean"), m.config.layers, false},
                  [&](auto, auto) { ++done; });
    });
    EXPECT_EQ(ended.has_value(), bad) << name;
    const auto failure = failure_of([&] { throw_together(m.grid.world(), ended, m.stream); });
    ASSERT_TRUE(failure) << name;
    EXPECT_EQ(failure->text, "text b: the model's results are not finite (NaN or infinity)")
        << name;
    EXPECT_EQ(done, bad ? 0u : 2u) << name;
  });
}

TEST(Tasks, AMaskedModelOpenedForGeneration) {
  on_grids("bert_mlm", HeadKind::causal_lm, [&](Opened& m, const std::string& name) {
    std::vector<GenerationRequest> requests;
    for (const Json& ids : tasks()["texts"])
      requests.push_back({.ids = ids.get<Ids>(), .options = greedy_options(20), .stream = 0});
    Engine engine(m.ctx, m.config, m.parameters, nullptr,
                  {.max_batch = 3, .max_rows = 12, .memory_bytes = 0});
    engine.run(requests, [&](std::size_t r, std::int64_t, const Completion& c) {
      EXPECT_EQ(c.ids, tasks()["bert_as_causal"][r].get<Ids>()) << name << ", text " << r;
    });
  });
}

}  // namespace
}  // namespace weft::test

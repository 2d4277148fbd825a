// Families' rows: a fresh model of each is what its config.json says, and what a row leaves out is
// refused by name.
#include "formats/families/families.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

ModelConfig small(const std::string& family, std::int64_t head_dim = 8) {
  ModelConfig c = fresh_config(family);
  c.layers = 3, c.width = 4 * head_dim, c.heads = c.kv_heads = 4, c.head_dim = head_dim, c.ffn = 48,
  c.vocab = 50, c.context = 32;
  c.bos_id = c.eos_id = 1, c.pad_id = 2, c.mask_id = 3;
  return c;
}

TEST(Families, AFreshModelOfEachIsWhatItsFileSays) {
  for (const Family& row : families()) {
    ModelConfig c = small(row.name);
    finish_fresh(c);
    set_head(c, c.causal ? HeadKind::causal_lm : HeadKind::masked_lm);
    EXPECT_EQ(first_difference(config_from_json(write_hf_config(c), row.name), c), "") << row.name;
  }
}

TEST(Families, WhatAFreshModelHasBeyondTheDefaults) {
  const auto fresh = [](const std::string& family) {
    ModelConfig c = small(family);
    finish_fresh(c);
    return c;
  };
  EXPECT_EQ(fresh("llama").rope.dims, 8);
  EXPECT_EQ(fresh("gpt_neox").rope.dims, 2);  // a quarter of the head
  EXPECT_EQ(fresh("mistral").window, 0);      // no text outgrows it
  EXPECT_EQ(fresh("gemma2").window, 4096);
  EXPECT_EQ(fresh("gemma2").windowed, (std::vector<std::uint8_t>{1, 0, 1}));
  EXPECT_EQ(fresh("gemma").embedding_scale, std::sqrt(32.0f));
  EXPECT_EQ(fresh("esm").positions, Positions::rope);
  EXPECT_TRUE(fresh("esm").token_dropout);
  for (const char* family : {"roberta", "xlm-roberta"}) {
    EXPECT_EQ(fresh(family).first_position, 3) << family;
    EXPECT_TRUE(fresh(family).pad_keeps_position) << family;
  }
  EXPECT_FALSE(fresh("bert").pad_keeps_position);
}

void expect_refused(ModelConfig c, const std::string& why) {
  try {
    finish_fresh(c);
    ADD_FAILURE() << c.family << " should be refused: " << why;
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find(why), std::string::npos) << error.what();
  }
}

TEST(Families, AFreshModelThatCannotBe) {
  expect_refused(small("llama", 7),
                 "--width is 28 and --heads 4; family llama turns pairs of a head's dims");
  ModelConfig c = small("roberta");
  c.pad_id = -1;
  expect_refused(c, "--family roberta counts positions from the pad token's id");
  c = small("gpt2", 7);
  finish_fresh(c);  // learned positions: any width
  EXPECT_THROW(family("gpt3"), UserError);
}

TEST(Families, WhatTheFamilyHasNoHeadFor) {
  ModelConfig c = small("olmo2");
  set_head(c, HeadKind::classify);
  try {
    set_head(c, HeadKind::classify_tokens);
    ADD_FAILURE() << "there is no Olmo2ForTokenClassification";
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what())
                  .find("family olmo2 has no token classifier; its heads: "
                        "causal language model, text classifier"),
              std::string::npos)
        << error.what();
  }
}

TEST(Families, Phi3sYarnIsLongrope) {
  Json json = {
      {"model_type", "phi3"},
      {"hidden_size", 16},
      {"num_attention_heads", 4},
      {"rope_scaling", {{"type", "yarn"}, {"short_factor", {1, 2}}, {"long_factor", {3, 4}}}}};
  const ModelConfig c = config_from_json(json, "here");
  EXPECT_EQ(c.rope.scaling, RopeScaling::longrope);
  EXPECT_TRUE(c.rope.rereads);
  json["model_type"] = "llama";
  json["rope_scaling"]["factor"] = 2;
  const ModelConfig llama = config_from_json(json, "here");
  EXPECT_EQ(llama.rope.scaling, RopeScaling::yarn);
  EXPECT_FALSE(llama.rope.rereads);
}

}  // namespace
}  // namespace weft

// YaRN as model cards spell it, against the reference (tests/data/yarn.json, by make_yarn.py).
#include "model/rope.h"

#include <gtest/gtest.h>

#include "core/check.h"
#include "formats/families.h"

namespace weft {
namespace {

TEST(Rope, YarnAsConfigsSpellIt) {
  const Json golden = read_json_object(std::filesystem::path(WEFT_TEST_DATA) / "yarn.json");
  int n = 0;
  for (const auto& [name, g] : golden["cases"].items()) {
    const ModelConfig c = config_from_json(g["config"], name);
    ASSERT_EQ(c.rope.scaling, RopeScaling::yarn) << name;
    const std::vector<float> ours = rope_frequencies(c.rope, 100);
    const auto theirs = g["frequencies"].get<std::vector<float>>();
    ASSERT_EQ(ours.size(), theirs.size()) << name;
    // A power in float32 may differ by its last bit, as torch's and ours are computed.
    for (std::size_t i = 0; i < ours.size(); ++i)
      EXPECT_NEAR(ours[i] / theirs[i], 1, 4e-7) << name << ", pair " << i;
    EXPECT_DOUBLE_EQ(c.rope.attention_factor, g["attention_factor"].get<double>()) << name;
    ++n;
  }
  EXPECT_GE(n, 20);
}

TEST(Rope, AStretchedContextIsTheModels) {
  Json config = Json::parse(R"({"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4,
      "num_key_value_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 32768,
      "rope_scaling":
        {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}})");
  EXPECT_EQ(config_from_json(config, "c").context, 131072);
  config["max_position_embeddings"] = 262144;
  EXPECT_EQ(config_from_json(config, "c").context, 262144);
  EXPECT_EQ(write_hf_config(config_from_json(config, "c"))["max_position_embeddings"], 262144);
}

TEST(Rope, ParametersByKindOfLayerMustBeTheSame) {
  Json config = Json::parse(R"({"model_type": "gemma2", "num_hidden_layers": 2,
      "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 500.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}})");
  EXPECT_EQ(config_from_json(config, "c").rope.theta, 500);
  config["rope_parameters"]["sliding_attention"]["rope_theta"] = 700.0;
  EXPECT_THROW(config_from_json(config, "c"), UserError);
}

}  // namespace
}  // namespace weft

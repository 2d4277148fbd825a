// YaRN as model cards spell it, against the reference (tests/data/yarn.json, by make_yarn.py).
#include "model/rope.h"

#include <gtest/gtest.h>

#include <cmath>

#include "core/check.h"
#include "formats/families/families.h"

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
  Json config = parse_json(R"({"model_type": "qwen2", "hidden_size": 64, "num_attention_heads": 4,
      "num_key_value_heads": 2, "num_hidden_layers": 1, "max_position_embeddings": 32768,
      "rope_scaling":
        {"type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}})");
  EXPECT_EQ(config_from_json(config, "c").context, 131072);
  config["max_position_embeddings"] = 262144;
  EXPECT_EQ(config_from_json(config, "c").context, 262144);
  EXPECT_EQ(write_hf_config(config_from_json(config, "c"))["max_position_embeddings"], 262144);
}

TEST(Rope, ParametersByKindOfLayerMustBeTheSame) {
  Json config = parse_json(R"({"model_type": "gemma2", "num_hidden_layers": 2,
      "rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 500.0},
                          "sliding_attention": {"rope_type": "default", "rope_theta": 500.0}}})");
  EXPECT_EQ(config_from_json(config, "c").rope.theta, 500);
  config["rope_parameters"]["sliding_attention"]["rope_theta"] = 700.0;
  EXPECT_THROW(config_from_json(config, "c"), UserError);
}

// ---- the other scalings, against their papers' formulas in float64 (whole models with them are
// compared with the reference in parity and infer)

constexpr double kTheta = 10000;
constexpr std::int64_t kDims = 16;

Rope rope_of(RopeScaling scaling, double factor = 4, std::int64_t original = 32) {
  Rope r;
  r.scaling = scaling;
  r.theta = kTheta;
  r.dims = kDims;
  r.factor = factor;
  r.original_context = original;
  return r;
}

double plain(std::size_t i, double theta = kTheta) {
  return std::pow(theta, -2.0 * static_cast<double>(i) / static_cast<double>(kDims));
}

// float32 keeps 24 bits; a power, a division and a blend lose a few of the last.
template <class Expected>
void expect_frequencies(const Rope& rope, std::int64_t length, const Expected& expected) {
  const std::vector<float> got = rope_frequencies(rope, length);
  ASSERT_EQ(got.size(), static_cast<std::size_t>(kDims / 2));
  for (std::size_t i = 0; i < got.size(); ++i)
    EXPECT_NEAR(got[i] / expected(i), 1, 4e-7) << "pair " << i << ", length " << length;
}

TEST(Rope, PlainAndLinear) {
  expect_frequencies(rope_of(RopeScaling::none), 1000, [](std::size_t i) { return plain(i); });
  expect_frequencies(rope_of(RopeScaling::linear, 3), 8,
                     [](std::size_t i) { return plain(i) / 3; });
}

// NTK-aware: theta grows with the text once it is longer than the original context.
TEST(Rope, DynamicDependsOnTheTextsLength) {
  for (std::int64_t length : {1, 32, 33, 80}) {
    const double grown = 4 * std::max(length / 32.0, 1.0) - 3;
    expect_frequencies(rope_of(RopeScaling::dynamic), length, [&](std::size_t i) {
      return plain(i, kTheta * std::pow(grown, 16.0 / 14));
    });
  }
}

// Wavelengths of at most original / high stay, those of at least original / low are stretched, and
// between them the share goes from one to the other. Original 32, low 1, high 4: pair 0 (6.3
// tokens) stays, pair 1 (20) is blended, the others (63 and more) are stretched.
TEST(Rope, Llama3StretchesByWavelength) {
  const auto share_kept = [](double wavelength) {
    return std::clamp((32 / wavelength - 1) / (4 - 1), 0.0, 1.0);
  };
  EXPECT_EQ(share_kept(2 * M_PI / plain(0)), 1);
  EXPECT_NEAR(share_kept(2 * M_PI / plain(1)), 0.2035, 1e-3);
  EXPECT_EQ(share_kept(2 * M_PI / plain(2)), 0);
  expect_frequencies(rope_of(RopeScaling::llama3), 1000, [&](std::size_t i) {
    const double kept = share_kept(2 * M_PI / plain(i));
    return plain(i) * (kept + (1 - kept) / 4);
  });
}

TEST(Rope, LongropeAndGgufsFactorsAreByPair) {
  Rope r = rope_of(RopeScaling::longrope);
  for (int i = 0; i < 8; ++i) {
    r.short_factors.push_back(1 + 0.1 * i);
    r.long_factors.push_back(2 + 0.5 * i);
  }
  const auto by = [](const std::vector<double>& factors) {
    return [&factors](std::size_t i) { return plain(i) / factors[i]; };
  };
  expect_frequencies(r, 32, by(r.short_factors));
  expect_frequencies(r, 33, by(r.long_factors));
  r.scaling = RopeScaling::factors;
  expect_frequencies(r, 33, by(r.short_factors));
}

TEST(Rope, ARowHoldsCosinesThenSinesOfOnePosition) {
  const std::vector<float> frequencies = {1, 0.5f, 0.125f};
  float row[6];
  fill_rope_row(row, 7, frequencies, 1.25);
  for (std::size_t i = 0; i < 3; ++i) {
    EXPECT_FLOAT_EQ(row[i], static_cast<float>(1.25 * std::cos(7 * frequencies[i])));
    EXPECT_FLOAT_EQ(row[3 + i], static_cast<float>(1.25 * std::sin(7 * frequencies[i])));
  }
}

TEST(Rope, OnlyWhoRereadsChangesRegime) {
  ModelConfig c;
  c.positions = Positions::rope;
  c.rope = rope_of(RopeScaling::longrope);
  EXPECT_EQ(rope_regime(c, 33), 0);
  c.rope.rereads = true;
  EXPECT_EQ(rope_regime(c, 32), 0);
  EXPECT_EQ(rope_regime(c, 33), 1);
  c.rope.scaling = RopeScaling::dynamic;
  EXPECT_EQ(rope_regime(c, 33), 0) << "keeps what was read, as transformers does";
}

}  // namespace
}  // namespace weft

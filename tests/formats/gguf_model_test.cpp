// GGUF files as Hugging Face directories: against transformers' state_dicts and configs
// (tests/data/make_gguf.py).
#include "formats/gguf/gguf_model.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>

#include "core/check.h"
#include "io/weights/safetensors.h"
#include "tests/io/gguf_file.h"
#include "tests/io/shared_folder.h"

namespace weft {
namespace {

using namespace test;
namespace fs = std::filesystem;

const fs::path kData = fs::path(WEFT_TEST_DATA) / "gguf";

std::vector<float> read(const StoredTensor& t) {
  std::vector<float> out(static_cast<std::size_t>(t.shape.elems()));
  read_elements(t, 0, t.shape.elems(), out.data());
  return out;
}

// The same names, shapes and bits.
void expect_tensors(const GgufModel& model, const fs::path& golden_file) {
  const SafetensorsReader golden(golden_file);
  const std::vector<std::string> names = model.names();
  EXPECT_EQ(names.size(), golden.tensors().size());
  for (const std::string& name : names) EXPECT_TRUE(golden.find(name)) << name;
  for (const auto& [name, expected] : golden.tensors()) {
    const auto t = model.find(name);
    ASSERT_TRUE(t) << name;
    ASSERT_EQ(t->shape, expected.shape) << name;
    const std::vector<float> got = read(*t), want = read(expected);
    for (std::size_t i = 0; i < got.size(); ++i)
      ASSERT_EQ(std::bit_cast<std::uint32_t>(got[i]), std::bit_cast<std::uint32_t>(want[i]))
          << name << " element " << i;
  }
}

// Those that make_gguf.py wrote: a file with its config beside it.
std::vector<std::string> golden_architectures() {
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(kData))
    if (entry.path().extension() == ".gguf" &&
        fs::exists(fs::path(entry.path()).replace_extension(".json")))
      names.push_back(entry.path().stem().string());
  std::sort(names.begin(), names.end());
  return names;
}

class GgufArchitectures : public testing::TestWithParam<std::string> {};

TEST_P(GgufArchitectures, TensorsAndConfigAreTransformers) {
  const std::string& name = GetParam();
  const GgufModel model(kData / (name + ".gguf"));
  expect_tensors(model, kData / (name + ".safetensors"));
  const Json golden = read_json_object(kData / (name + ".json"));
  EXPECT_EQ(model.config()["architectures"], Json::array({golden["architecture"]}));
  for (const auto& [key, value] : golden["config"].items()) {
    ASSERT_TRUE(model.config().contains(key)) << key;
    if (value.is_number_float())
      EXPECT_FLOAT_EQ(model.config()[key].get<float>(), value.get<float>()) << key;
    else
      EXPECT_EQ(model.config()[key], value) << key;
  }
  EXPECT_FALSE(model.find("model.layers.0.self_attn.rotary_emb.inv_freq"));
  EXPECT_FALSE(model.find("model.layers.9.mlp.up_proj.weight"));
  EXPECT_FALSE(model.find(""));
}

INSTANTIATE_TEST_SUITE_P(All, GgufArchitectures, testing::ValuesIn(golden_architectures()),
                         [](const auto& of) { return of.param; });

TEST(GgufModel, GoldenFilesAreThere) { EXPECT_GE(golden_architectures().size(), 11u); }

TEST(GgufModel, QuantisedRowsAreReordered) {
  const GgufModel model(kData / "llama_quantised.gguf");
  expect_tensors(model, kData / "llama_quantised.safetensors");
  EXPECT_EQ(model.config()["attention_bias"], true);
  EXPECT_EQ(model.config()["tie_word_embeddings"], false);
}

TEST(GgufModel, BertNamesMayHaveTheirPrefix) {
  const GgufModel model(kData / "bert.gguf");
  EXPECT_TRUE(model.find("bert.encoder.layer.1.output.dense.bias"));
  EXPECT_TRUE(model.find("encoder.layer.1.output.dense.bias"));
}

GgufFile llama() {
  GgufFile f;
  f.text_key("general.architecture", "llama")
      .int_key("llama.block_count", 1)
      .int_key("llama.context_length", 64)
      .int_key("llama.embedding_length", 8);
  f.int_key("llama.feed_forward_length", 8)
      .int_key("llama.attention.head_count", 2)
      .float_key("llama.attention.layer_norm_rms_epsilon", 1e-5f);
  f.floats("token_embd.weight", {8, 3}, std::vector<float>(24));
  return f;
}

GgufModel open(const SharedFolder& folder, const GgufFile& f) {
  put(folder.mine() / "m.gguf", f.bytes());
  return GgufModel(folder.mine() / "m.gguf");
}

TEST(GgufModel, ConfigFromTheLeast) {
  const SharedFolder folder;
  const GgufModel model = open(folder, llama());
  EXPECT_EQ(
      model.config(),
      parse_json(R"({"model_type":"llama","architectures":["LlamaForCausalLM"])"
                 R"(,"vocab_size":3,"hidden_size":8,"intermediate_size":8,
      "num_hidden_layers":1,"num_attention_heads":2,"num_key_value_heads":2,"head_dim":4,)"
                 R"("max_position_embeddings":64,"rope_theta":10000.0,"tie_word_embeddings":true,
      "hidden_act":"silu","rms_norm_eps":0.00001,"attention_bias":false,"mlp_bias":false})"));
  EXPECT_FALSE(model.find("lm_head.weight"));
}

// Families share an architecture: a key that one of them alone has tells it.
TEST(GgufModel, ALlamaWithAWindowIsAMistral) {
  const SharedFolder folder;
  GgufFile f = llama();
  f.int_key("llama.attention.sliding_window", 16);
  const Json config = open(folder, f).config();
  EXPECT_EQ(config["model_type"], "mistral");
  EXPECT_EQ(config["architectures"], Json::array({"MistralForCausalLM"}));
  EXPECT_EQ(config["sliding_window"], 16);
  EXPECT_EQ(config["mlp_bias"], false);
  EXPECT_FALSE(open(folder, llama()).config().contains("sliding_window"));
}

TEST(GgufModel, RopeScalings) {
  const SharedFolder folder;
  const auto scaling = [&](const std::function<void(GgufFile&)>& change) {
    GgufFile f = llama();
    change(f);
    return open(folder, f).config().value("rope_scaling", Json());
  };
  EXPECT_EQ(scaling([](GgufFile& f) { f.text_key("llama.rope.scaling.type", "none"); }), Json());
  EXPECT_EQ(
      scaling([](GgufFile& f) {
        f.text_key("llama.rope.scaling.type", "linear").float_key("llama.rope.scaling.factor", 4);
      }),
      parse_json(R"({"rope_type":"linear","factor":4.0})"));
  EXPECT_EQ(scaling([](GgufFile& f) { f.float_key("llama.rope.scale_linear", 2.5f); }),
            parse_json(R"({"rope_type":"linear","factor":2.5})"));
  EXPECT_EQ(scaling([](GgufFile& f) {
              f.text_key("llama.rope.scaling.type", "yarn")
                  .float_key("llama.rope.scaling.factor", 8)
                  .int_key("llama.rope.scaling.original_context_length", 32);
              f.float_key("llama.rope.scaling.yarn_beta_fast", 16)
                  .float_key("llama.rope.scaling.yarn_attn_factor", 1.5f);
            }),
            parse_json(R"({"rope_type":"yarn","factor":8.0,"original_max_position_embeddings":32,)"
                       R"("beta_fast":16.0,"attention_factor":1.5})"));
  EXPECT_EQ(
      scaling([](GgufFile& f) {
        f.floats("rope_factors_long.weight", {2}, {1, 4.5f})
            .floats("rope_factors_short.weight", {2}, {1, 1.1f});
      }),
      parse_json(R"({"rope_type":"longrope","long_factor":[1.0,4.5],"short_factor":[1.0,1.1]})"));
  EXPECT_THROW(scaling([](GgufFile& f) {
                 f.floats("rope_factors_long.weight", {2}, {1, 4.5f});
               }),
               UserError);
  EXPECT_THROW(scaling([](GgufFile& f) { f.text_key("llama.rope.scaling.type", "dynamic"); }),
               UserError);
  EXPECT_THROW(scaling([](GgufFile& f) {
                 f.floats("rope_freqs.weight", {3}, {1, 1, 8});
               }),
               UserError);  // a head has two frequencies
  EXPECT_THROW(scaling([](GgufFile& f) { f.floats("rope_freqs.weight", {2}, {1, 0}); }), UserError);
}

// Llama 3.1's and 3.2's factors, and others, as the converter computes them.
TEST(GgufModel, Llama3ScalingIsFoundAgain) {
  const SharedFolder folder;
  struct Case {
    double factor, low, high;
    int original;
    std::uint32_t head_dim;
    float theta;
  };
  for (const Case& c : {Case{8, 1, 4, 8192, 128, 500000}, Case{32, 1, 4, 8192, 64, 500000},
                        Case{16, 1, 8, 2048, 128, 10000}}) {
    std::vector<float> factors;
    for (std::uint32_t i = 0; i < c.head_dim / 2; ++i) {
      const double wavelength =
          2 * std::numbers::pi * std::pow(static_cast<double>(c.theta), 2.0 * i / c.head_dim);
      const double smooth = (c.original / wavelength - c.low) / (c.high - c.low);
      factors.push_back(static_cast<float>(wavelength < c.original / c.high ? 1
                                           : wavelength > c.original / c.low
                                               ? c.factor
                                               : 1 / ((1 - smooth) / c.factor + smooth)));
    }
    const auto config = [&](const std::vector<float>& values) {
      GgufFile f = llama();
      f.int_key("llama.attention.key_length", c.head_dim)
          .float_key("llama.rope.freq_base", c.theta)
          .floats("rope_freqs.weight", {values.size()}, values);
      return open(folder, f).config();
    };
    EXPECT_EQ(config(factors)["rope_scaling"],
              (Json{{"rope_type", "llama3"},
                    {"factor", c.factor},
                    {"low_freq_factor", c.low},
                    {"high_freq_factor", c.high},
                    {"original_max_position_embeddings", c.original}}));
    EXPECT_FALSE(config(factors).contains("rope_factors"));
    factors[3] = 1.25f;  // no formula gives this
    const Json other = config(factors);
    EXPECT_FALSE(other.contains("rope_scaling"));
    ASSERT_EQ(other["rope_factors"].size(), factors.size());
    for (std::size_t i = 0; i < factors.size(); ++i)
      EXPECT_EQ(other["rope_factors"][i].get<float>(), factors[i]);
  }
}

TEST(GgufModel, ErrorsNameTheKey) {
  const SharedFolder folder;
  const auto expect = [&](const std::function<void(GgufFile&)>& change, const std::string& part) {
    GgufFile f = llama();
    change(f);
    try {
      open(folder, f);
      ADD_FAILURE() << "opened; expected " << part;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
      EXPECT_EQ(std::string(error.what()).find((folder.mine() / "m.gguf").string()), 0u)
          << error.what();
    }
  };
  expect([](GgufFile& f) { f = GgufFile(); }, "general.architecture is missing");
  expect([](GgufFile& f) { f = GgufFile().text_key("general.architecture", "mamba"); },
         "general.architecture is 'mamba'; allowed: gpt2, gptneox, llama, qwen2");
  expect([](GgufFile& f) { f = GgufFile().text_key("general.architecture", "llama"); },
         "llama.attention.head_count");
  expect([](GgufFile& f) { f.floats("blk.0.ffn_gate_exps.weight", {1}, {0}); },
         "tensor blk.0.ffn_gate_exps.weight is not known of a llama model");
  expect([](GgufFile& f) { f.int_key("llama.expert_count", 8); }, "llama.expert_count is 8");
  expect([](GgufFile& f) { f.int_key("llama.attention.head_count_kv", 3); },
         "llama.attention.head_count_kv is 3");
  expect(
      [](GgufFile& f) {
        f.int_key("llama.attention.key_length", 4).int_key("llama.attention.value_length", 8);
      },
      "llama.attention.value_length is not");
  expect([](GgufFile& f) { f.int_key("llama.rope.dimension_count", 3); },
         "llama.rope.dimension_count is 3");
  expect(
      [](GgufFile& f) {
        f.key("llama.attention.head_count_kv", 9,
              GgufFile::number<std::uint32_t>(4) + GgufFile::number<std::uint64_t>(2) +
                  GgufFile::number<std::uint32_t>(1) + GgufFile::number<std::uint32_t>(2));
      },
      "llama.attention.head_count_kv differs between layers");
  GgufFile odd = llama();
  odd.floats("blk.0.attn_q.weight", {8, 6}, std::vector<float>(48));
  const GgufModel model = open(folder, odd);
  EXPECT_THROW(model.find("model.layers.0.self_attn.q_proj.weight"),
               UserError);  // six rows are not pairs of two heads
}

}  // namespace
}  // namespace weft

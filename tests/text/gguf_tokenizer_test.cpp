// tokenizer.json from GGUF metadata: equal, as an object, to what Hugging Face tokenizers writes
// for the same tokenizer (tests/data/make_gguf.py).
#include "text/files/gguf_tokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/check.h"

namespace weft {
namespace {

const std::filesystem::path kData = std::filesystem::path(WEFT_TEST_DATA) / "gguf";

Json golden(const std::string& name) {
  return read_json_object(kData / ("tokenizer_" + name + ".json"));
}

Json made(const Json& metadata) {
  return parse_json(json_text(tokenizer_json_of_gguf(metadata, "m.gguf")));
}

// tokenizers writes a merge as two texts.
void expect_equal(Json got, const Json& want) {
  if (got["model"].contains("merges"))
    for (Json& merge : got["model"]["merges"]) {
      const auto text = merge.get<std::string>();
      const std::size_t space = text.find(' ');
      merge = {text.substr(0, space), text.substr(space + 1)};
    }
  for (const auto& [key, value] : want.items()) {
    if (key != "model")
      EXPECT_EQ(got[key], value) << key;
    else
      for (const auto& [part, inner] : value.items()) EXPECT_EQ(got["model"][part], inner) << part;
  }
  EXPECT_EQ(got.size(), want.size());
}

class GgufTokenizers : public testing::TestWithParam<const char*> {};

TEST_P(GgufTokenizers, EqualTheReference) {
  const Json file = golden(GetParam());
  expect_equal(made(file["metadata"]), file["expected"]);
}

INSTANTIATE_TEST_SUITE_P(All, GgufTokenizers,
                         testing::Values("gpt2", "smollm", "llama3", "qwen2", "llama", "phi3",
                                         "gemma", "bert_uncased", "bert_cased"),
                         [](const auto& of) { return std::string(of.param); });

TEST(GgufTokenizer, ConfigNamesTheRoles) {
  Json metadata = golden("bert_cased")["metadata"];
  metadata["tokenizer.chat_template"] = "{{ messages }}";
  metadata["tokenizer.ggml.add_bos_token"] = true;
  const Json config = tokenizer_config_of_gguf(metadata, "m.gguf");
  EXPECT_EQ(config["unk_token"], "[UNK]");
  EXPECT_EQ(config["sep_token"], "[SEP]");
  EXPECT_EQ(config["pad_token"], "[PAD]");
  EXPECT_EQ(config["cls_token"], "[CLS]");
  EXPECT_EQ(config["mask_token"], "[MASK]");
  EXPECT_EQ(config["chat_template"], "{{ messages }}");
  EXPECT_EQ(config["add_bos_token"], true);
  EXPECT_FALSE(config.contains("eos_token"));
}

TEST(GgufTokenizer, ATextHasOneId) {
  Json metadata = golden("gpt2")["metadata"];
  metadata["tokenizer.ggml.tokens"].push_back("the");
  metadata["tokenizer.ggml.tokens"].push_back("the");
  metadata["tokenizer.ggml.token_type"].push_back(1);
  metadata["tokenizer.ggml.token_type"].push_back(1);
  EXPECT_EQ(made(metadata)["model"]["vocab"]["the"], metadata["tokenizer.ggml.tokens"].size() - 1);
}

// smaug-bpe cuts words as llama-bpe does; a file that does not say how is GPT-2's, with a warning.
TEST(GgufTokenizer, WordsAreCutAsTheFileSays) {
  Json metadata = golden("llama3")["metadata"];
  const Json llama = made(metadata);
  metadata["tokenizer.ggml.pre"] = "smaug-bpe";
  EXPECT_EQ(made(metadata)["pre_tokenizer"], llama["pre_tokenizer"]);
  EXPECT_TRUE(made(metadata)["post_processor"].is_null());
  metadata.erase("tokenizer.ggml.pre");
  testing::internal::CaptureStderr();
  const Json guessed = made(metadata);
  const std::string said = testing::internal::GetCapturedStderr();
  EXPECT_NE(said.find("warning: m.gguf: tokenizer.ggml.pre is missing"), std::string::npos) << said;
  metadata["tokenizer.ggml.pre"] = "gpt-2";
  testing::internal::CaptureStderr();
  EXPECT_EQ(made(metadata), guessed);
  EXPECT_EQ(testing::internal::GetCapturedStderr(), "");
}

TEST(GgufTokenizer, ErrorsNameTheKey) {
  const auto expect = [](const char* name, const std::function<void(Json&)>& change,
                         const std::string& part) {
    Json metadata = golden(name)["metadata"];
    change(metadata);
    try {
      tokenizer_json_of_gguf(metadata, "m.gguf");
      ADD_FAILURE() << "made; expected " << part;
    } catch (const UserError& error) {
      EXPECT_EQ(std::string(error.what()).find("m.gguf: "), 0u) << error.what();
      EXPECT_NE(std::string(error.what()).find(part), std::string::npos) << error.what();
    }
  };
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.pre"] = "glorp"; },
      "tokenizer.ggml.pre is 'glorp'; allowed: default, gpt-2");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.model"] = "t5"; },
      "tokenizer.ggml.model is 't5'; allowed: gpt2, llama, bert");
  expect(
      "gpt2", [](Json& m) { m.erase("tokenizer.ggml.model"); }, "tokenizer.ggml.model is missing");
  expect(
      "gpt2", [](Json& m) { m.erase("tokenizer.ggml.merges"); },
      "tokenizer.ggml.merges is missing");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.merges"][0] = 3; }, "tokenizer.ggml.merges holds 3");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.tokens"] = "a"; },
      "tokenizer.ggml.tokens is missing or no list");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.tokens"] = Json::array(); },
      "tokenizer.ggml.tokens holds 0 tokens");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.tokens"][5] = 1; },
      "tokenizer.ggml.tokens of id 5 is 1");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.tokens"][5] = "\xC3"; },
      "tokenizer.ggml.tokens of id 5 is not UTF-8");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.tokens"][5] = std::string(5000, 'a'); },
      "tokenizer.ggml.tokens of id 5 has 5000 bytes");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.token_type"].erase(0); },
      "tokenizer.ggml.token_type holds 265 types for 266 tokens");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.token_type"][2] = 9; },
      "tokenizer.ggml.token_type of token 2 is 9");
  expect(
      "gpt2", [](Json& m) { m["tokenizer.ggml.bos_token_id"] = 266; },
      "tokenizer.ggml.bos_token_id is 266; allowed: 0 to 265");
  expect(
      "gpt2",
      [](Json& m) {
        m["tokenizer.ggml.add_bos_token"] = true;
        m.erase("tokenizer.ggml.bos_token_id");
      },
      "tokenizer.ggml.bos_token_id is missing");
  expect(
      "llama", [](Json& m) { m.erase("tokenizer.ggml.scores"); },
      "tokenizer.ggml.scores is missing");
  expect(
      "llama", [](Json& m) { m["tokenizer.ggml.scores"].erase(0); }, "scores for");
  expect(
      "llama", [](Json& m) { m["tokenizer.ggml.scores"][0] = "x"; },
      "tokenizer.ggml.scores of token 0");
  expect(
      "bert_cased", [](Json& m) { m.erase("tokenizer.ggml.seperator_token_id"); }, "seperator");
  expect(
      "bert_cased", [](Json& m) { m["tokenizer.ggml.tokens"][7] = "\u2581##b"; },
      "two of tokenizer.ggml.tokens");
}

}  // namespace
}  // namespace weft

// Bodies of requests into what the engine takes, and what is refused by which name.
#include "serve/request.h"

#include <gtest/gtest.h>

#include "tests/serve/served.h"

namespace weft {
namespace {

using test::Served;

// The refusal of a body, or one without a message.
HttpError refusal(const Served& s, const std::string& body,
                  ServedRoute route = ServedRoute::completions) {
  try {
    s.read(body, route);
  } catch (const RequestRefused& refused) {
    EXPECT_EQ(refused.what(), refused.error.message);
    return refused.error;
  }
  ADD_FAILURE() << "taken: " << body;
  return {};
}

TEST(ReadRequest, PromptsOfEachForm) {
  const Served s;
  const std::vector<std::int32_t> water = s.tokenizer.encode("the water").ids;
  ServedRequest r = s.read(R"({"prompt": "the water"})");
  ASSERT_EQ(r.prompts.size(), 1u);
  EXPECT_EQ(r.prompts[0].ids, water);
  EXPECT_EQ(r.prompts[0].text, "the water");
  r = s.read(R"({"prompt": ["the water", "a house"]})");
  ASSERT_EQ(r.prompts.size(), 2u);
  EXPECT_EQ(r.prompts[0].ids, water);
  r = s.read(R"({"prompt": [5, 6, 7]})");
  ASSERT_EQ(r.prompts.size(), 1u);
  EXPECT_EQ(r.prompts[0].ids, (std::vector<std::int32_t>{5, 6, 7}));
  EXPECT_EQ(r.prompts[0].text, s.tokenizer.decode(r.prompts[0].ids, true));
  r = s.read(R"({"prompt": [[5, 6], [7]], "n": 2})");
  ASSERT_EQ(r.prompts.size(), 2u);
  EXPECT_EQ(r.n_choices(), 4u);
  EXPECT_EQ(r.prompt_of(1), 0u);
  EXPECT_EQ(r.prompt_of(2), 1u);
  // As weft generate and transformers: the begin token.
  EXPECT_EQ(s.read(R"({"prompt": ""})").prompts[0].ids, (std::vector<std::int32_t>{1002}));
}

TEST(ReadRequest, OpenAisDefaults) {
  const Served s;
  const ServedRequest r = s.read(R"({"prompt": "the water"})");
  const Generation& g = r.options[0];
  EXPECT_EQ(g.max_new_tokens, 16);
  EXPECT_TRUE(g.do_sample);
  EXPECT_EQ(g.temperature, 1);
  EXPECT_EQ(g.top_p, 1);
  EXPECT_EQ(g.top_k, 0);  // of all tokens, not transformers' 50
  EXPECT_EQ(g.eos, (std::vector<std::int32_t>{1002}));
  EXPECT_FALSE(g.logprobs);
  EXPECT_EQ(r.n, 1);
  EXPECT_EQ(r.n_logprobs, -1);
  EXPECT_TRUE(r.generates);
  EXPECT_FALSE(r.echo || r.stream || r.seeded || r.include_usage);
}

TEST(ReadRequest, Parameters) {
  const Served s;
  const ServedRequest r = s.read(
      R"({"model": "tiny", "prompt": "the water", "max_tokens": 5, "temperature": 0.5, "top_p": 0.9,
          "top_k": 7, "min_p": 0.1, "repetition_penalty": 1.5, "min_tokens": 2, "seed": 11, "n": 3,
          "stop": ["a", "b"], "logprobs": 2, "echo": true, "stream": true, "user": "somebody",
          "stream_options": {"include_usage": true}, "stop_token_ids": [4], "best_of": 3,
          "frequency_penalty": -0.5, "presence_penalty": 2, "logit_bias": {"7": -100, "0": 0.5},
          "suffix": null,
          "response_format": {"type": "text"}, "tool_choice": "none", "modalities": ["text"]})");
  const Generation& g = r.options[0];
  EXPECT_EQ(g.max_new_tokens, 5);
  EXPECT_EQ(g.temperature, 0.5);
  EXPECT_EQ(g.top_p, 0.9);
  EXPECT_EQ(g.top_k, 7);
  EXPECT_EQ(g.min_p, 0.1);
  EXPECT_EQ(g.repetition_penalty, 1.5);
  EXPECT_EQ(g.min_new_tokens, 2);
  EXPECT_EQ(g.frequency_penalty, -0.5);
  EXPECT_EQ(g.presence_penalty, 2);
  ASSERT_EQ(g.sequence_bias.size(), 2u);
  EXPECT_EQ(g.sequence_bias[0].ids, std::vector<std::int32_t>{7});
  EXPECT_EQ(g.sequence_bias[0].bias, -100);
  EXPECT_EQ(g.sequence_bias[1].bias, 0.5);
  EXPECT_EQ(g.seed, 11);
  EXPECT_EQ(g.num_return_sequences, 1);
  EXPECT_EQ(g.stop, (std::vector<std::string>{"a", "b"}));
  EXPECT_EQ(g.eos, (std::vector<std::int32_t>{1002, 4}));
  EXPECT_TRUE(g.logprobs);
  EXPECT_EQ(r.n, 3);
  EXPECT_EQ(r.n_logprobs, 2);
  EXPECT_TRUE(r.echo && r.stream && r.seeded && r.include_usage && r.scores_prompts());
  EXPECT_EQ(s.read(R"({"prompt": "a", "ignore_eos": true})").options[0].eos.size(), 0u);
  EXPECT_EQ(s.read(R"({"prompt": "a", "top_k": -1})").options[0].top_k, 0);
}

TEST(ReadRequest, ATemperatureOf0IsGreedy) {
  const Served s;
  const Generation g = s.read(R"({"prompt": "the water", "temperature": 0})").options[0];
  EXPECT_FALSE(g.do_sample);
  EXPECT_TRUE(g.greedy_by_temperature);
  EXPECT_EQ(refusal(s, R"({"prompt": "a", "temperature": 0, "n": 2})").param, "n");
}

TEST(ReadRequest, NothingIsGeneratedOf0Tokens) {
  const Served s;
  const ServedRequest r =
      s.read(R"({"prompt":"the water","max_tokens":0,"echo":true,"logprobs":1})");
  EXPECT_FALSE(r.generates);
  EXPECT_TRUE(r.scores_prompts());
  // A prompt may then fill the context.
  const std::string ids = fmt::format("{}", fmt::join(std::vector<int>(96, 5), ","));
  EXPECT_EQ(s.read(R"({"max_tokens": 0, "prompt": [)" + ids + "]}").prompts[0].ids.size(), 96u);
}

TEST(ReadRequest, ChatsFillTheContextUnlessTold) {
  const Served s;
  ServedRequest r =
      s.read(R"({"messages": [{"role": "user", "content": "the water"}]})", ServedRoute::chat);
  EXPECT_EQ(r.prompts[0].ids, s.tokenizer.encode("user: the water\nassistant:", false).ids);
  EXPECT_EQ(r.options[0].max_new_tokens, 96 - static_cast<std::int64_t>(r.prompts[0].ids.size()));
  r = s.read(R"({"messages": [{"role": "user", "content": [{"type": "text", "text": "the "},
                 {"type": "text", "text": "water"}]}], "max_completion_tokens": 3,
                 "logprobs": true, "top_logprobs": 2})",
             ServedRoute::chat);
  EXPECT_EQ(r.prompts[0].ids, s.tokenizer.encode("user: the water\nassistant:", false).ids);
  EXPECT_EQ(r.options[0].max_new_tokens, 3);
  EXPECT_EQ(r.n_logprobs, 2);
  const auto wrong = [&](const std::string& body) { return refusal(s, body, ServedRoute::chat); };
  EXPECT_EQ(wrong(R"({"messages": []})").param, "messages");
  EXPECT_EQ(wrong(R"({"messages": [{"content": "a"}]})").param, "messages");
  EXPECT_EQ(wrong(R"({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]})").param,
            "messages");
  EXPECT_EQ(wrong(R"({"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2})").param,
            "top_logprobs");
  Served without;
  without.model.chat_template.reset();
  EXPECT_EQ(
      refusal(without, R"({"messages": [{"role": "user", "content": "a"}]})", ServedRoute::chat)
          .code,
      "no_chat_template");
}

TEST(ReadRequest, Embeddings) {
  const Served s;
  ServedRequest r = s.read(R"({"input": ["the water", "a"], "encoding_format": "base64"})",
                           ServedRoute::embeddings);
  EXPECT_EQ(r.prompts.size(), 2u);
  EXPECT_TRUE(r.base64);
  EXPECT_FALSE(r.generates);
  EXPECT_FALSE(s.read(R"({"input": [5, 6], "dimensions": 40})", ServedRoute::embeddings).base64);
  const auto wrong = [&](const std::string& body) {
    return refusal(s, body, ServedRoute::embeddings).param;
  };
  EXPECT_EQ(wrong(R"({})"), "input");
  EXPECT_EQ(wrong(R"({"input": ""})"), "input");
  EXPECT_EQ(wrong(R"({"input": "a", "dimensions": 8})"), "dimensions");
  EXPECT_EQ(wrong(R"({"input": "a", "encoding_format": "int8"})"), "encoding_format");
  EXPECT_EQ(
      wrong(R"({"input": [)" + fmt::format("{}", fmt::join(std::vector<int>(97, 5), ",")) + "]}"),
      "input");
}

TEST(ReadRequest, RefusalsNameTheParameterItsValueAndWhatIsAllowed) {
  const Served s;
  struct Case {
    const char *param, *body, *words;
  };
  for (const Case& c : std::vector<Case>{
           {"", "not json", "the body is not JSON"},
           {"", "[1]", "must be an object"},
           {"", "{\"prompt\": \"\xff\"}", "not JSON"},
           {"prompt", "{}", "prompt is missing"},
           {"prompt", R"({"prompt": 5})", "prompt is 5; it must be a text"},
           {"prompt", R"({"prompt": []})", "it must be"},
           {"prompt", R"({"prompt": [5, 1003]})", "the token id 1003; allowed: 0 to 1002"},
           {"prompt", R"({"prompt": [-1]})", "the token id -1"},
           {"prompt", R"({"prompt": [4294967296]})", "the token id 4294967296"},
           {"max_tokens", R"({"prompt": "a", "max_tokens": -1})", "max_tokens is -1; allowed: "},
           {"max_tokens", R"({"prompt": "a", "max_tokens": 2.5})", "must be a whole number"},
           {"max_tokens", R"({"prompt": "a", "max_tokens": 96})", "context holds 96"},
           {"max_tokens", R"({"prompt": "a", "max_tokens": 18446744073709551615})", "whole"},
           {"temperature", R"({"prompt": "a", "temperature": -1})", "temperature is -1; allowed"},
           {"temperature", R"({"prompt": "a", "temperature": "warm"})", "must be a number"},
           {"top_p", R"({"prompt": "a", "top_p": 1.5})", "top_p is 1.5; allowed: 0 to 1"},
           {"n", R"({"prompt": "a", "n": 0})", "n is 0"},
           {"n", R"({"prompt": "a", "n": 1000})", "n is 1000"},
           {"best_of", R"({"prompt": "a", "n": 2, "best_of": 4})", "best_of is 4; allowed: n, 2"},
           {"logprobs", R"({"prompt": "a", "logprobs": 21})", "logprobs is 21"},
           {"logprobs", R"({"prompt": "a", "logprobs": true})", "whole number"},
           {"stop", R"({"prompt": "a", "stop": ""})", "empty text"},
           {"stop", R"({"prompt": "a", "stop": [1]})", "stop is [1]"},
           {"stream", R"({"prompt": "a", "stream": "yes"})", "stream is \"yes\""},
           {"logit_bias", R"({"prompt": "a", "logit_bias": [1]})", "an object of token ids"},
           {"logit_bias", R"({"prompt": "a", "logit_bias": {"1003": 1}})", "token id '1003'"},
           {"logit_bias", R"({"prompt": "a", "logit_bias": {"5x": 1}})", "token id '5x'"},
           {"logit_bias", R"({"prompt": "a", "logit_bias": {"5": 101}})", "of 5 is 101; allowed"},
           {"logit_bias", R"({"prompt": "a", "logit_bias": {"5": "1"}})", "of 5 is \"1\""},
           {"suffix", R"({"prompt": "a", "suffix": "b"})", "which Weft does not have"},
           {"frequency_penalty", R"({"prompt": "a", "frequency_penalty": 3})", "is 3; allowed"},
           {"presence_penalty", R"({"prompt": "a", "presence_penalty": "1"})", "a number"},
           {"temprature", R"({"prompt": "a", "temprature": 1})", "did you mean 'temperature'"},
           {"stop_token_ids", R"({"prompt": "a", "stop_token_ids": [1003]})", "token id 1003"}}) {
    const HttpError e = refusal(s, c.body);
    EXPECT_EQ(e.status, 400) << c.body;
    EXPECT_EQ(e.param, c.param) << c.body << ": " << e.message;
    EXPECT_NE(e.message.find(c.words), std::string::npos) << c.body << ": " << e.message;
  }
  EXPECT_EQ(refusal(s, R"({"prompt": "a", "max_tokens": 96})").code, "context_length_exceeded");
  const HttpError other = refusal(s, R"({"model": "gpt-4", "prompt": "a"})");
  EXPECT_EQ(other.status, 404);
  EXPECT_EQ(other.code, "model_not_found");
  EXPECT_EQ(other.param, "model");
}

// Other ranks read the body with the prompts that rank 0 has tokenised.
TEST(ReadRequest, AnotherRankReadsTheSame) {
  const Served s;
  const std::string body = R"({"prompt": ["the water", "a"], "max_tokens": 4, "n": 2, "seed": 3})";
  const ServedRequest one = s.read(body);
  std::vector<std::vector<std::int32_t>> ids;
  for (const ServedPrompt& p : one.prompts) ids.push_back(p.ids);
  const ServedRequest other = read_request(ServedRoute::completions, body, s.model, &ids);
  ASSERT_EQ(other.prompts.size(), 2u);
  for (std::size_t p = 0; p < 2; ++p) {
    EXPECT_EQ(other.prompts[p].ids, one.prompts[p].ids);
    EXPECT_EQ(other.options[p].max_new_tokens, one.options[p].max_new_tokens);
    EXPECT_EQ(other.options[p].seed, 3);
  }
  EXPECT_EQ(other.n, 2);
}

}  // namespace
}  // namespace weft

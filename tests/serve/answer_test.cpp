// What clients are told: JSON, server-sent events, the text of a choice as its tokens come.
#include "serve/answer.h"

#include <gtest/gtest.h>

#include <limits>

#include "infer/continuation.h"
#include "serve/progress.h"
#include "tests/serve/served.h"

namespace weft {
namespace {

using test::Served;

ServedPrompt prompt_of(const Served& s, const std::string& text) {
  return {.text = text, .ids = s.tokenizer.encode(text).ids};
}

// The text that ids give behind a prompt, as pieces joined.
std::string streamed(const Served& s, const ServedPrompt& prompt,
                     const std::vector<std::int32_t>& ids, const std::vector<std::string>& stop) {
  ChoiceText text(s.tokenizer, prompt, stop);
  std::string all;
  for (const std::int32_t id : ids) all += text.push(id);
  return all + text.finish();
}

TEST(ChoiceText, IsTheContinuationOfWeftGenerate) {
  const Served s;
  const ServedPrompt prompt = prompt_of(s, "the water");
  std::vector<std::int32_t> ids = s.tokenizer.encode(" and the house é 水 over there").ids;
  ids.push_back(1002);
  EXPECT_EQ(streamed(s, prompt, ids, {}), continuation_text(s.tokenizer, prompt.ids, ids));
  for (std::int32_t id = 0; id < 1003; id += 3) ids.push_back(id);
  EXPECT_EQ(streamed(s, prompt, ids, {}), continuation_text(s.tokenizer, prompt.ids, ids));
  EXPECT_EQ(streamed(s, prompt, ids, {"no text has this"}),
            continuation_text(s.tokenizer, prompt.ids, ids));
}

TEST(ChoiceText, EndsBeforeTheFirstStopText) {
  const Served s;
  const ServedPrompt prompt = prompt_of(s, "the water");
  const std::vector<std::int32_t> ids = s.tokenizer.encode(" and the house over there").ids;
  EXPECT_EQ(streamed(s, prompt, ids, {"house"}), " and the ");
  EXPECT_EQ(streamed(s, prompt, ids, {"over", "house"}), " and the ");
  EXPECT_EQ(streamed(s, prompt, ids, {"thereafter"}), " and the house over there");
  EXPECT_EQ(streamed(s, prompt, ids, {"water"}), " and the house over there");  // the prompt's own
  EXPECT_EQ(streamed(s, prompt, ids, {"water and"}), "");  // begins in the prompt, as the engine's
  // What may be its beginning is held back.
  ChoiceText text(s.tokenizer, prompt, {"e over"});
  std::string sent;
  for (std::size_t i = 0; i + 2 < ids.size(); ++i) {
    sent += text.push(ids[i]);
    EXPECT_EQ(std::string(" and the hous").substr(0, sent.size()), sent);
  }
}

OrderedJson completion(const Served& s, const ServedRequest& r,
                       const std::vector<ChoicePart>& parts) {
  return AnswerForms(r, s.tokenizer, {"cmpl-1", 5, "tiny"})
      .whole(parts, {.prompt_tokens = 2, .completion_tokens = 3});
}

TEST(Answers, ACompletion) {
  const Served s;
  const ServedRequest r = s.read(R"({"prompt": "the water"})");
  EXPECT_EQ(json_text(completion(s, r, {{.index = 0, .text = " x", .finish = "eos"}})),
            R"({"id":"cmpl-1","object":"text_completion","created":5,"model":"tiny","choices":[)"
            R"({"index":0,"text":" x","logprobs":null,"finish_reason":"stop"}],)"
            R"("usage":{"prompt_tokens":2,"completion_tokens":3,"total_tokens":5}})");
  const auto reason = [&](const std::string& finish) {
    return completion(s, r,
                      {{.index = 0, .text = "", .finish = finish}})["choices"][0]["finish_reason"];
  };
  EXPECT_EQ(reason("stop"), "stop");
  EXPECT_EQ(reason("length"), "length");
}

TEST(Answers, LogprobsOfACompletion) {
  const Served s;
  const ServedRequest r = s.read(R"({"prompt": "the water", "logprobs": 1})");
  const std::int32_t a = *s.tokenizer.id("a"), b = *s.tokenizer.id("b");
  ChoicePart part = {.index = 0, .text = "ab"};
  part.logprobs = {{a, std::numeric_limits<float>::quiet_NaN(), {}},
                   {b, -1.5f, {{a, -0.5f}}},
                   {a, -0.25f, {{a, -0.25f}}}};
  part.text_offset = 3;
  EXPECT_EQ(json_text(completion(s, r, {part})["choices"][0]["logprobs"]),
            R"({"text_offset":[3,4,5],"token_logprobs":[null,-1.5,-0.25],"tokens":["a","b","a"],)"
            R"("top_logprobs":[null,{"a":-0.5,"b":-1.5},{"a":-0.25}]})");
}

TEST(Answers, AChatAndItsEvents) {
  const Served s;
  const ServedRequest r = s.read(
      R"({"messages": [{"role": "user", "content": "a"}], "logprobs": true, "top_logprobs": 1})",
      ServedRoute::chat);
  const AnswerForms forms(r, s.tokenizer, {"chatcmpl-1", 5, "tiny"});
  const std::int32_t a = *s.tokenizer.id("a");
  const ChoicePart part = {
      .index = 0, .text = "a", .logprobs = {{a, -0.5f, {{a, -0.5f}}}}, .finish = "length"};
  const OrderedJson whole = forms.whole({part}, {});
  EXPECT_EQ(whole["object"], "chat.completion");
  EXPECT_EQ(json_text(whole["choices"][0]),
            R"({"index":0,"message":{"role":"assistant","content":"a"},"logprobs":{"content":[)"
            R"({"token":"a","logprob":-0.5,"bytes":[97],"top_logprobs":[)"
            R"({"token":"a","logprob":-0.5,"bytes":[97]}]}]},"finish_reason":"length"})");
  EXPECT_EQ(server_sent_event(forms.begin_event(0)),
            "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":5,"
            "\"model\":\"tiny\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\","
            "\"content\":\"\"},\"logprobs\":null,\"finish_reason\":null}]}\n\n");
  EXPECT_EQ(forms.event({.index = 0, .text = "b"})["choices"][0]["delta"],
            (OrderedJson{{"content", "b"}}));
  EXPECT_EQ(forms.event({.index = 0, .text = "", .finish = "eos"})["choices"][0]["delta"],
            OrderedJson::object());
  EXPECT_EQ(json_text(forms.usage_event({.prompt_tokens = 1, .completion_tokens = 2})["choices"]),
            "[]");
}

TEST(Answers, ErrorsModelsAndVectors) {
  EXPECT_EQ(json_text(error_answer({.status = 400, .message = "n is 0", .param = "n"})),
            R"({"error":{"message":"n is 0","type":"invalid_request_error","param":"n",)"
            R"("code":null}})");
  EXPECT_EQ(models_answer("tiny", 96, 5)["data"][0]["id"], "tiny");
  const Served s;
  ServedRequest r = s.read(R"({"input": [5, 6]})", ServedRoute::embeddings);
  const std::vector<std::vector<float>> x = {{1.0f, -2.5f}};
  EXPECT_EQ(json_text(embeddings_answer(r, "tiny", x)),
            R"({"object":"list","data":[{"object":"embedding","index":0,"embedding":[1.0,-2.5]}],)"
            R"("model":"tiny","usage":{"prompt_tokens":2,"total_tokens":2}})");
  r.base64 = true;
  EXPECT_EQ(embeddings_answer(r, "tiny", x)["data"][0]["embedding"], "AACAPwAAIMA=");
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foo"), "Zm9v");
}

WorkEvent token(std::size_t choice, std::int32_t id, float logprob) {
  WorkEvent e;
  e.kind = WorkEvent::Kind::token;
  e.index = choice;
  e.token = {id, logprob, {}};
  return e;
}

WorkEvent done(std::size_t choice, const std::string& finish) {
  WorkEvent e;
  e.kind = WorkEvent::Kind::done;
  e.index = choice;
  e.finish = finish;
  return e;
}

TEST(AnswerProgress, PutsTheChoicesTogether) {
  const Served s;
  const std::int32_t a = *s.tokenizer.id("a"), b = *s.tokenizer.id("b");
  const ServedRequest r = s.read(R"({"prompt": "the", "n": 2, "echo": true, "logprobs": 0})");
  AnswerProgress progress(r, s.tokenizer);
  std::vector<ChoicePart> choices(2);
  const auto take = [&](std::vector<ChoicePart> parts) {
    for (ChoicePart& p : parts) append(choices[p.index], std::move(p));
  };
  take(progress.begin());
  EXPECT_EQ(choices[0].text, "");  // the prompt comes with its numbers
  WorkEvent prompt;
  prompt.kind = WorkEvent::Kind::prompt;
  prompt.scores = {{r.prompts[0].ids[0], 0, {}}};
  take(progress.add(prompt));
  take(progress.add(token(0, a, -1)));
  take(progress.add(token(1, b, -2)));
  take(progress.add(done(1, "eos")));
  EXPECT_FALSE(progress.over());
  take(progress.add(token(0, b, -3)));
  take(progress.add(done(0, "length")));
  EXPECT_TRUE(progress.over());
  EXPECT_EQ(choices[0].text, "theab");
  EXPECT_EQ(choices[1].text, "theb");
  EXPECT_EQ(choices[0].logprobs.size(), 3u);
  EXPECT_EQ(choices[1].finish, "eos");
  EXPECT_EQ(progress.usage().completion_tokens, 3);
}

TEST(AnswerProgress, NothingIsAskedOf0Tokens) {
  const Served s;
  const ServedRequest r = s.read(R"({"prompt": "the", "max_tokens": 0, "echo": true})");
  AnswerProgress progress(r, s.tokenizer);
  const std::vector<ChoicePart> parts = progress.begin();
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].text, "the");
  EXPECT_EQ(parts[0].finish, "length");
  EXPECT_TRUE(progress.over());
}

}  // namespace
}  // namespace weft

// Options: request over flags over the model's file over the defaults; what the reference refuses
// is refused.
#include <unistd.h>

#include <fstream>

#include "infer/generation_file.h"
#include "tests/infer/golden.h"
#include "text/files/tokenizer_files.h"

namespace weft::test {
namespace {

const PromptPlace kPlace = {.what = "prompt 3", .n_tokens = 10, .context = 96, .vocab = 1003};

Generation resolve(const GenerationOptions& request, const GenerationOptions& flags,
                   const GenerationFile& file = {}, const PromptPlace& place = kPlace) {
  return resolve_generation(request, flags, file, place, nullptr);
}

std::string refusal(const GenerationOptions& flags, const PromptPlace& place = kPlace) {
  try {
    resolve({}, flags, {}, place);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

GenerationOptions with(const std::function<void(GenerationOptions&)>& set) {
  GenerationOptions o;
  set(o);
  return o;
}

TEST(Options, DefaultsAreTheReferences) {
  const Generation g = resolve({}, {});
  EXPECT_EQ(g.max_new_tokens, 20);
  EXPECT_FALSE(g.do_sample);
  EXPECT_EQ(g.top_k, 50);
  EXPECT_EQ(g.temperature, 1);
  EXPECT_EQ(g.num_beams, 1);
  EXPECT_FALSE(g.max_time);
}

TEST(Options, RequestOverFlagsOverFile) {
  GenerationFile file;
  file.options.temperature = 0.3;
  file.options.top_k = 3;
  file.options.max_new_tokens = 9;
  file.options.stop = {"file"};
  file.eos = {5};
  GenerationOptions flags = with(
      [](auto& o) { o.temperature = 0.6, o.stop = {"flags"}, o.seed = 1, o.eos_token_id = {"6"}; });
  GenerationOptions request = with([](auto& o) {
    o.temperature = 0.9, o.stop = {"request"}, o.seed = 2, o.eos_token_id = {"7", "8"};
  });
  Generation g = resolve({}, {}, file);
  EXPECT_EQ(g.temperature, 0.3);
  EXPECT_EQ(g.max_new_tokens, 9);
  EXPECT_EQ(g.stop, std::vector<std::string>{"file"});
  EXPECT_EQ(g.eos, Ids{5});
  g = resolve({}, flags, file);
  EXPECT_EQ(g.temperature, 0.6);
  EXPECT_EQ(g.top_k, 3);
  EXPECT_EQ(g.stop, std::vector<std::string>{"flags"});
  EXPECT_EQ(g.eos, Ids{6});
  EXPECT_EQ(g.seed, 1);
  g = resolve(request, flags, file);
  EXPECT_EQ(g.temperature, 0.9);
  EXPECT_EQ(g.stop, std::vector<std::string>{"request"});
  EXPECT_EQ(g.eos, (Ids{7, 8}));
  EXPECT_EQ(g.seed, 2);
  flags.ignore_eos = true;
  EXPECT_TRUE(resolve({}, flags, file).eos.empty());
}

TEST(Options, Lengths) {
  const auto length = [](const GenerationOptions& request, const GenerationOptions& flags) {
    return resolve(request, flags).max_new_tokens;
  };
  const GenerationOptions new30 = with([](auto&o) { o.max_new_tokens = 30; }),
                          total30 = with([](auto&o) { o.max_length = 30; });
  EXPECT_EQ(length({}, new30), 30);
  EXPECT_EQ(length({}, total30), 20);
  EXPECT_EQ(length({}, with([](auto& o) { o.max_length = 30, o.max_new_tokens = 7; })), 7);
  EXPECT_EQ(length(total30, new30), 20);  // the request's, whichever it is
  EXPECT_EQ(
      resolve({}, {}, {}, {.what = "p", .n_tokens = 90, .context = 96, .vocab = 10}).max_new_tokens,
      6);  // only the default is cut
  GenerationFile file;
  file.options.max_length = 50;
  file.options.min_length = 15;
  EXPECT_EQ(resolve({}, {}, file).max_new_tokens, 40);
  EXPECT_EQ(resolve({}, {}, file).min_new_tokens, 5);
  EXPECT_EQ(resolve({}, with([](auto& o) { o.min_new_tokens = 90; })).min_new_tokens,
            20);  // as the reference: it just never ends early
}

// As transformers 5.24, which warns of it.
TEST(Options, MinNewTokensTakesPrecedenceOverMinLength) {
  GenerationFile file;
  file.options.min_length = 15;
  file.options.min_new_tokens = 2;
  EXPECT_EQ(resolve({}, {}, file).min_new_tokens, 2);
  EXPECT_EQ(resolve({}, with([](auto& o) { o.min_new_tokens = 0; }), file).min_new_tokens, 0);
  const GenerationOptions both = with([](auto& o) { o.min_new_tokens = 3, o.min_length = 19; });
  EXPECT_EQ(resolve({}, both).min_new_tokens, 3);
  EXPECT_EQ(resolve({}, with([](auto& o) { o.min_length = 17; })).min_new_tokens, 7);
  // The request's, whichever it is, as with the greatest length.
  EXPECT_EQ(resolve(with([](auto& o) { o.min_length = 12; }), both).min_new_tokens, 2);
}

TEST(Options, ATemperatureOfZeroIsGreedy) {
  const GenerationOptions cold = with([](auto&o) { o.temperature = 0; }),
                          sampled = with([](auto&o) { o.do_sample = true; }),
                          warm = with([](auto&o) { o.do_sample = true, o.temperature = 0.5; });
  EXPECT_FALSE(resolve({}, cold).do_sample);
  EXPECT_FALSE(resolve({}, cold).greedy_by_temperature);
  EXPECT_TRUE(unused_options(cold, resolve({}, cold)).empty());
  EXPECT_FALSE(resolve(cold, sampled).do_sample);
  EXPECT_TRUE(resolve(cold, sampled).greedy_by_temperature);
  EXPECT_EQ(resolve(cold, sampled).temperature, 1);
  EXPECT_TRUE(resolve(warm, cold).do_sample);
  GenerationOptions both = cold;
  both.do_sample = true;
  EXPECT_TRUE(resolve({}, both).greedy_by_temperature);
  EXPECT_THROW(check_temperature(both, {"do_sample", "temperature"}), UserError);
  check_temperature(both, {"temperature"});  // sampling is a recipe's
  check_temperature(warm, {"do_sample", "temperature"});
}

TEST(Options, RefusalsNameOptionAndPrompt) {
  const PromptPlace full = {
      .what = "prompts.jsonl: line 7", .n_tokens = 96, .context = 96, .vocab = 1003};
  EXPECT_NE(refusal({}, full).find("prompts.jsonl: line 7 has 96 tokens"), std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) {
              o.max_new_tokens = 87;
            })).find("prompt 3 has 10 tokens and 87 new ones"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.max_new_tokens = INT64_MAX; })).find("prompt 3"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.max_length = 10; })).find("--max-length"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.max_new_tokens = 0; })).find("--max-new-tokens is 0"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.temperature = -1; })).find("--temperature is -1"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.top_p = 1.5; })).find("--top-p is 1.5"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.top_k = -1; })).find("--top-k is -1"), std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.min_p = -0.1; })).find("--min-p"), std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.typical_p = 0; })).find("--typical-p"), std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.repetition_penalty = -1; })).find("--repetition-penalty"),
            std::string::npos);
  EXPECT_NE(
      refusal(with([](auto& o) { o.repetition_penalty = 1e-44; })).find("--repetition-penalty"),
      std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.num_return_sequences = 2; })).find("needs --do-sample"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) {
              o.num_return_sequences = 5, o.num_beams = 4;
            })).find("up to --num-beams, 4"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.num_beams = 0; })).find("--num-beams is 0"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) {
              o.early_stopping = "maybe";
            })).find("--early-stopping is 'maybe'"),
            std::string::npos);
  EXPECT_NE(
      refusal(with([](auto& o) { o.eos_token_id = {"1003"}; })).find("--eos-token-id is '1003'"),
      std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.stop = {""}; })).find("--stop is empty"),
            std::string::npos);
  EXPECT_NE(refusal(with([](auto& o) { o.bad_words = {""}; })).find("--bad-words is empty"),
            std::string::npos);
  EXPECT_EQ(refusal(with([](auto& o) { o.top_p = 0, o.top_k = 0, o.max_time = 0; })), "");
}

TEST(Options, WhatHasNoEffectIsNamed) {
  const GenerationOptions o = with(
      [](auto& g) { g.temperature = 0.5, g.top_k = 50, g.typical_p = 0.9, g.length_penalty = 2; });
  EXPECT_EQ(unused_options(o, resolve({}, o)),
            (std::vector<std::string>{"--temperature (needs --do-sample)",
                                      "--typical-p (needs --do-sample)",
                                      "--length-penalty (needs --num-beams)"}));
  const GenerationOptions more = with([](auto& g) {
    g.top_h = 0.5, g.epsilon_cutoff = g.eta_cutoff = 0.1, g.renormalize_logits = true;
    g.exponential_decay_length_penalty = {"3,1.1"}, g.negative_prompt_ids = {"3"};
    g.forced_bos_token_id = 4;
  });
  EXPECT_EQ(unused_options(more, resolve({}, more)),
            (std::vector<std::string>{
                "--top-h (needs --do-sample)", "--epsilon-cutoff (needs --do-sample)",
                "--eta-cutoff (needs --do-sample)", "--renormalize-logits (needs --num-beams)",
                "--exponential-decay-length-penalty (needs an end token)",
                "--forced-bos-token-id (needs a prompt of one token)",
                "--negative-prompt-ids (needs --guidance-scale)"}));
  GenerationOptions used = o;
  used.do_sample = true;
  used.num_beams = 2;
  EXPECT_TRUE(unused_options(used, resolve({}, used)).empty());
}

TEST(Options, ListsOfTokensAreWhatPeopleTypeAndWhatJsonHas) {
  for (const std::vector<std::string>& list :
       {std::vector<std::string>{"3", "17"}, {"3,17"}, {" 3, 17 "}, {"[3, 17]"}}) {
    const Generation g = resolve({}, with([&](auto& o) {
                                   o.suppress_tokens = o.begin_suppress_tokens = list;
                                   o.eos_token_id = o.negative_prompt_ids = list;
                                   o.forced_eos_token_id = {"3", "5"};
                                 }));
    EXPECT_EQ(g.suppress_tokens, (Ids{3, 17}));
    EXPECT_EQ(g.begin_suppress_tokens, (Ids{3, 17}));
    EXPECT_EQ(g.eos, (Ids{3, 17}));
    EXPECT_EQ(g.negative_prompt, (Ids{3, 17}));
    EXPECT_EQ(g.forced_eos, (Ids{3, 5}));
  }
  for (const std::vector<std::string>& list :
       {std::vector<std::string>{"3,17", "5"}, {"[3, 17]", "[5]"}, {"[[3, 17], [5]]"}})
    EXPECT_EQ(resolve({}, with([&](auto& o) { o.bad_words_ids = list; })).bad_words,
              (std::vector<Ids>{{3, 17}, {5}}));
  // The single tokens first: in the order in which they are summed.
  for (const std::vector<std::string>& list : {std::vector<std::string>{"3,17=-2.5", "5=1"},
                                               {"[[3, 17], -2.5]", "[[5], 1.0]"},
                                               {"[[[3, 17], -2.5], [[5], 1]]"},
                                               {"5=9", "3,17=-2.5", "5=1"}}) {
    const Generation g = resolve({}, with([&](auto& o) { o.sequence_bias = list; }));
    ASSERT_EQ(g.sequence_bias.size(), 2u);
    EXPECT_EQ(g.sequence_bias[0].ids, (Ids{5}));
    EXPECT_EQ(g.sequence_bias[0].bias, 1);
    EXPECT_EQ(g.sequence_bias[1].ids, (Ids{3, 17}));
    EXPECT_EQ(g.sequence_bias[1].bias, -2.5f);
  }
  for (const std::vector<std::string>& list :
       {std::vector<std::string>{"15,1.6"}, {"15", "1.6"}, {"[15, 1.6]"}}) {
    const Generation g =
        resolve({}, with([&](auto& o) { o.exponential_decay_length_penalty = list; }));
    EXPECT_EQ(g.length_decay->start, 15);
    EXPECT_EQ(g.length_decay->factor, 1.6);
  }
}

TEST(Options, ListsOfTokensOverTheFiles) {
  GenerationFile file = parse_generation_config(
      R"({"suppress_tokens": [4], "begin_suppress_tokens": [5], "sequence_bias": [[[6], 2.0]],
          "bad_words_ids": [[7]], "forced_eos_token_id": 8, "forced_bos_token_id": 9,
          "exponential_decay_length_penalty": [3, 1.5], "stop_strings": ["x"]})",
      "generation_config.json");
  PromptPlace one = kPlace;
  one.n_tokens = 1;
  const Generation of_file = resolve({}, {}, file, one);
  EXPECT_EQ(of_file.suppress_tokens, Ids{4});
  EXPECT_EQ(of_file.begin_suppress_tokens, Ids{5});
  EXPECT_EQ(of_file.sequence_bias.at(0).ids, Ids{6});
  EXPECT_EQ(of_file.bad_words, std::vector<Ids>{{7}});
  EXPECT_EQ(of_file.forced_eos, Ids{8});
  EXPECT_EQ(of_file.forced_bos, 9);
  EXPECT_EQ(of_file.length_decay->start, 3);
  EXPECT_EQ(of_file.stop, std::vector<std::string>{"x"});
  const GenerationOptions flags = with([](auto& o) {
    o.suppress_tokens = {"14"}, o.begin_suppress_tokens = {"15"}, o.sequence_bias = {"16=2"};
    o.bad_words_ids = {"17"}, o.forced_eos_token_id = {"18"}, o.forced_bos_token_id = 19;
    o.exponential_decay_length_penalty = {"13,2"}, o.stop_strings = {"y"};
  });
  const Generation of_flags = resolve({}, flags, file, one);
  EXPECT_EQ(of_flags.suppress_tokens, Ids{14});
  EXPECT_EQ(of_flags.begin_suppress_tokens, Ids{15});
  EXPECT_EQ(of_flags.sequence_bias.at(0).ids, Ids{16});
  EXPECT_EQ(of_flags.bad_words, std::vector<Ids>{{17}});
  EXPECT_EQ(of_flags.forced_eos, Ids{18});
  EXPECT_EQ(of_flags.forced_bos, 19);
  EXPECT_EQ(of_flags.length_decay->start, 13);
  EXPECT_EQ(of_flags.stop, std::vector<std::string>{"y"});
  const GenerationOptions request =
      with([](auto& o) { o.suppress_tokens = {"24"}, o.forced_bos_token_id = 29, o.stop = {"z"}; });
  const Generation of_request = resolve(request, flags, file, one);
  EXPECT_EQ(of_request.suppress_tokens, Ids{24});
  EXPECT_EQ(of_request.forced_bos, 29);
  EXPECT_EQ(of_request.stop, std::vector<std::string>{"z"});
  EXPECT_EQ(of_request.begin_suppress_tokens, Ids{15});
}

TEST(Options, WhatCannotBeOfTokensIsNamed) {
  const auto said = [](const char* words, const std::function<void(GenerationOptions&)>& set) {
    EXPECT_NE(refusal(with(set)).find(words), std::string::npos) << refusal(with(set));
  };
  said("--suppress-tokens is '1003'; allowed: 0 to 1002",
       [](auto& o) { o.suppress_tokens = {"3,1003"}; });
  said("--suppress-tokens is '-1'; allowed", [](auto& o) { o.suppress_tokens = {"-1"}; });
  said("--begin-suppress-tokens is \"a\"; it must be numbers",
       [](auto& o) { o.begin_suppress_tokens = {"a"}; });
  said("--bad-words-ids is '1003'", [](auto& o) { o.bad_words_ids = {"1003"}; });
  said("--bad-words-ids holds []; it must be token ids", [](auto& o) { o.bad_words_ids = {"[]"}; });
  said("--sequence-bias holds [3,17]; it must be token ids and a bias",
       [](auto& o) { o.sequence_bias = {"3,17"}; });
  said("--sequence-bias is \"[[=3],2]\"; it must be", [](auto& o) { o.sequence_bias = {"=3=2"}; });
  said("--sequence-bias is '1003'", [](auto& o) { o.sequence_bias = {"1003=2"}; });
  said("--forced-bos-token-id is 1003; allowed: 0 to 1002",
       [](auto& o) { o.forced_bos_token_id = 1003; });
  said("--forced-eos-token-id is '1003'", [](auto& o) { o.forced_eos_token_id = {"1003"}; });
  said("--forced-eos-token-id is 4,5, but --suppress-tokens forbids them all",
       [](auto& o) { o.forced_eos_token_id = {"4,5"}, o.suppress_tokens = {"5,4"}; });
  said("--forced-bos-token-id is 4, but --suppress-tokens forbids it",
       [](auto& o) { o.forced_bos_token_id = 4, o.suppress_tokens = {"4"}; });
  said("--exponential-decay-length-penalty is [15]; it must be",
       [](auto& o) { o.exponential_decay_length_penalty = {"15"}; });
  said("--exponential-decay-length-penalty is [15,-1]; it must be", [](auto& o) {
    o.exponential_decay_length_penalty = {"15", "-1"};
  });
  said("--min-length is -1", [](auto& o) { o.min_length = -1; });
  said("--top-h is 0; allowed: above 0 to 1", [](auto& o) { o.top_h = 0; });
  said("--epsilon-cutoff is 1", [](auto& o) { o.epsilon_cutoff = 1; });
  said("--eta-cutoff is -0.1", [](auto& o) { o.eta_cutoff = -0.1; });
  said("--encoder-repetition-penalty is 0", [](auto& o) { o.encoder_repetition_penalty = 0; });
  said("--guidance-scale is 2, which needs --num-beams 1, not 3",
       [](auto& o) { o.guidance_scale = 2, o.num_beams = 3; });
  said("--negative-prompt-ids has 80 tokens and 20 new ones are asked for", [](auto& o) {
    o.guidance_scale = 2, o.negative_prompt_ids = std::vector<std::string>(80, "1");
  });
}

TEST(Options, BadWordsStandAloneAndBehindASpace) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizer");
  const GenerationOptions o = with([](auto& g) { g.bad_words = {"water", " the"}; });
  const Generation g = resolve_generation({}, o, {}, kPlace, &tokenizer);
  ASSERT_EQ(g.bad_words.size(), 3u);
  EXPECT_EQ(g.bad_words[0], tokenizer.encode("water").ids);
  EXPECT_EQ(g.bad_words[1], tokenizer.encode(" water").ids);
  EXPECT_EQ(g.bad_words[2], tokenizer.encode(" the").ids);
}

TEST(Options, ABadWordWithoutTokensIsNamed) {
  const Tokenizer tokenizer = load_tokenizer(data_dir() / "tokenizers" / "bert_uncased");
  for (const char* word : {" ", "\n", "\t"}) {
    const GenerationOptions o = with([&](auto& g) { g.bad_words = {word}; });
    ASSERT_TRUE(tokenizer.encode(word, false).ids.empty());
    try {
      resolve_generation({}, o, {}, kPlace, &tokenizer);
      ADD_FAILURE() << "a bad word without tokens";
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("--bad-words is " + json_text(Json(word))),
                std::string::npos)
          << error.what();
    }
  }
}

TEST(GenerationFile, IsReadWithItsLists) {
  const GenerationFile file = parse_generation_config(
      R"({"eos_token_id": [1, 2], "bad_words_ids": [[3], [4, 5]], "stop_strings": "end", )"
      R"("early_stopping": "never", "num_beams": 3,
                                "temperature": 0.0, "do_sample": true, "diversity_penalty": 0.0, )"
      R"("suppress_tokens": [7, -1], "top_h": null, "transformers_version": "5", )"
      R"("watermarking_config": {"bias": 2.0}, "prompt_lookup_num_tokens": 3})",
      "generation_config.json");
  EXPECT_EQ(file.eos, (Ids{1, 2}));
  EXPECT_EQ(file.bad_words, (std::vector<Ids>{{3}, {4, 5}}));
  EXPECT_EQ(file.options.stop, std::vector<std::string>{"end"});
  EXPECT_EQ(file.suppress_tokens, (Ids{7}));  // without -1, which stands for none
  EXPECT_EQ(file.options.early_stopping, "never");
  EXPECT_EQ(file.options.num_beams, 3);
  EXPECT_EQ(file.options.do_sample, false);  // a temperature of 0 says so
  EXPECT_EQ(file.unknown, std::vector<std::string>{"watermarking_config"});
}

TEST(GenerationFile, RefusalsNameFileAndKey) {
  for (const auto& [json, key] :
       {std::pair{R"({"eos_token_id": "x"})", "eos_token_id"},
        {R"({"top_p": 2})", "top_p"},
        {R"({"bad_words_ids": 3})", "bad_words_ids"},
        {R"({"bad_words_ids": [[]]})", "bad_words_ids"},
        {R"({"bad_words_ids": [3]})", "bad_words_ids"},
        {R"({"sequence_bias": [[3, 1.5]]})", "sequence_bias"},
        {R"({"sequence_bias": [[[3], "x"]]})", "sequence_bias"},
        {R"({"sequence_bias": [[[3], 1e39]]})", "sequence_bias"},
        {R"({"suppress_tokens": [0.5]})", "suppress_tokens"},
        {R"({"begin_suppress_tokens": "a"})", "begin_suppress_tokens"},
        {R"({"forced_eos_token_id": [-7]})", "forced_eos_token_id"},
        {R"({"forced_bos_token_id": -1})", "forced_bos_token_id"},
        {R"({"exponential_decay_length_penalty": [3]})", "exponential_decay_length_penalty"},
        {R"({"exponential_decay_length_penalty": [-3, 1.1]})", "exponential_decay_length_penalty"},
        {R"({"exponential_decay_length_penalty": [3, 0]})", "exponential_decay_length_penalty"},
        {R"({"eta_cutoff": 2})", "eta_cutoff"},
        {R"({"renormalize_logits": 1})", "renormalize_logits"},
        {R"({"stop_strings": [3]})", "stop_strings"},
        {R"({"temperature": "hot"})", "temperature"}}) {
    try {
      parse_generation_config(json, "m/generation_config.json");
      FAIL() << json;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find("generation_config.json: " + std::string(key)),
                std::string::npos)
          << error.what();
    }
  }
}

}  // namespace
}  // namespace weft::test

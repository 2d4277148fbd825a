#include "infer/options.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "core/check.h"
#include "core/utf8.h"
#include "infer/generation_file.h"

namespace weft {

void GenerationOptions::visit(FieldVisitor& v) {
  v.group("generation");
  v.field("max_new_tokens", max_new_tokens, Integers{1},
          "new tokens at most; unset: the model's, else 20");
  v.field("max_length", max_length, Integers{1}, "prompt and new tokens together at most");
  v.field("min_new_tokens", min_new_tokens, Integers{0},
          "the end token is not allowed before as many");
  v.field("do_sample", do_sample, "draw the next token instead of taking the likeliest");
  v.field(
      "temperature", temperature, Reals{0, 1e6},
      "divides the logits before drawing; 0: the likeliest token, as without do_sample; unset: 1");
  v.field("top_k", top_k, Integers{0, kAnyInteger.max, "all"},
          "draw among the k likeliest; 0: all; unset: 50");
  v.field("top_p", top_p, Reals{0, 1}, "draw among the likeliest that hold this much probability");
  v.field("min_p", min_p, Reals{0, 1}, "drop tokens less likely than this share of the likeliest");
  v.field("typical_p", typical_p, Reals{0, 1, true},
          "draw among the most typical that hold this much probability");
  v.field("repetition_penalty", repetition_penalty, Reals{0, 1e6, true},
          "divides the scores of tokens already seen; 1: none");
  v.field("no_repeat_ngram_size", no_repeat_ngram_size, Integers{0},
          "no n-gram of this size appears twice; 0: allowed");
  v.field("bad_words", bad_words,
          "text that must not be written, alone or after a space (repeatable)");
  v.field("num_return_sequences", num_return_sequences, Integers{1, 100'000},
          "continuations of each prompt (more than one needs sampling or as many beams)");
  v.field("num_beams", num_beams, Integers{1, 1'000},
          "continuations searched side by side; 1: no beam search");
  v.field("length_penalty", length_penalty, Reals{-100, 100},
          "beam search: above 0 favours long results, below 0 short ones; unset: 1");
  v.field("early_stopping", early_stopping, kEarlyStoppings,
          "beam search ends when all beams have (true), when better is unlikely (false) or "
          "impossible (never)");
  v.field("stop", stop, "text that ends a continuation (repeatable)");
  v.field("eos_token_id", eos_token_id, "the end token (repeatable); unset: the model's");
  v.field("ignore_eos", ignore_eos, "go on past the end token");
  v.field("return_full_text", return_full_text, "generated_text begins with the prompt");
  v.field("logprobs", logprobs, "log-probability of each new token");
  v.field("max_time", max_time, Reals{0, 1e9}, "seconds after which all continuations end");
}

namespace {

template <class T>
std::optional<T> first_of(const std::optional<T>& a, const std::optional<T>& b,
                          const std::optional<T>& c) {
  return a ? a : b ? b : c;
}

std::vector<std::int32_t> end_tokens(const std::vector<std::string>& list, std::int64_t vocab) {
  std::vector<std::int32_t> ids;
  for (const std::string& text : list) {
    std::int32_t id = -1;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), id);
    CHECK_USER(error == std::errc() && end == text.data() + text.size() && id >= 0 && id < vocab,
               "--eos-token-id is '{}'; allowed: 0 to {}", text, vocab - 1);
    ids.push_back(id);
  }
  return ids;
}

// As it stands at the start of a text, and as it stands behind a space. What has no token of its
// own (white space, to many tokenizers) cannot be forbidden.
std::vector<std::vector<std::int32_t>> banned_sequences(const std::vector<std::string>& words,
                                                        const Tokenizer* tokenizer) {
  std::vector<std::vector<std::int32_t>> list;
  for (const std::string& word : words) {
    CHECK_USER(!word.empty(), "--bad-words is empty; it must be a text");
    CHECK(tokenizer, "bad words need a tokenizer");
    list.push_back(tokenizer->encode(word, false).ids);
    CHECK_USER(!list.back().empty(),
               "--bad-words is {}, which the tokenizer makes no token of; allowed: texts that have "
               "tokens",
               json_text(Json(made_utf8(word))));
    if (word[0] != ' ') list.push_back(tokenizer->encode(" " + word, false).ids);
    if (list.back().empty()) list.pop_back();
  }
  return list;
}

EarlyStopping early_stopping_of(const std::string& text) {
  return text.empty() ? EarlyStopping::no : value_of(kEarlyStoppings, "--early-stopping", text);
}

// As transformers: max_new_tokens wins over max_length, both of the request and flags win over the
// file's; by default 20, cut at the context.
std::int64_t new_tokens(const GenerationOptions& request, const GenerationOptions& flags,
                        const GenerationOptions& file, const PromptPlace& p) {
  CHECK_USER(p.n_tokens < p.context,
             "{} has {} tokens, but the model's context holds {}, the continuation included",
             p.what, p.n_tokens, p.context);
  for (const GenerationOptions* o : {&request, &flags}) {
    if (o->max_new_tokens)
      check_allowed("--max-new-tokens", *o->max_new_tokens, Integers{1});
    else if (!o->max_length)
      continue;
    else
      CHECK_USER(*o->max_length > p.n_tokens,
                 "{} has {} tokens, but --max-length is {}, the prompt included", p.what,
                 p.n_tokens, *o->max_length);
    const std::int64_t asked = o->max_new_tokens ? *o->max_new_tokens : *o->max_length - p.n_tokens;
    CHECK_USER(asked <= p.context - p.n_tokens,
               "{} has {} tokens and {} new ones are asked for, but the model's context holds {}",
               p.what, p.n_tokens, asked, p.context);
    return asked;
  }
  std::int64_t wanted = file.max_new_tokens.value_or(20);
  if (!file.max_new_tokens && file.max_length && *file.max_length > p.n_tokens)
    wanted = *file.max_length - p.n_tokens;
  return std::min(std::max<std::int64_t>(wanted, 1), p.context - p.n_tokens);
}

}  // namespace

Generation resolve_generation(const GenerationOptions& request, const GenerationOptions& flags,
                              const GenerationFile& model, const PromptPlace& prompt,
                              const Tokenizer* tokenizer) {
  const GenerationOptions& file = model.options;
  const auto pick = [&](auto GenerationOptions::*field) {
    return first_of(request.*field, flags.*field, file.*field);
  };
  const auto pick_list = [&](auto GenerationOptions::*field) -> const auto& {
    return !(request.*field).empty() ? request.*field
           : !(flags.*field).empty() ? flags.*field
                                     : file.*field;
  };
  Generation g;
  g.do_sample = pick(&GenerationOptions::do_sample).value_or(false);
  g.temperature = pick(&GenerationOptions::temperature).value_or(1);
  g.top_k = pick(&GenerationOptions::top_k).value_or(50);
  g.top_p = pick(&GenerationOptions::top_p).value_or(1);
  g.min_p = pick(&GenerationOptions::min_p).value_or(0);
  g.typical_p = pick(&GenerationOptions::typical_p).value_or(1);
  g.repetition_penalty = pick(&GenerationOptions::repetition_penalty).value_or(1);
  g.no_repeat_ngram_size = pick(&GenerationOptions::no_repeat_ngram_size).value_or(0);
  g.num_return_sequences = pick(&GenerationOptions::num_return_sequences).value_or(1);
  g.num_beams = pick(&GenerationOptions::num_beams).value_or(1);
  g.length_penalty = pick(&GenerationOptions::length_penalty).value_or(1);
  g.early_stopping = early_stopping_of(pick_list(&GenerationOptions::early_stopping));
  g.seed = pick(&GenerationOptions::seed).value_or(0);
  g.return_full_text = pick(&GenerationOptions::return_full_text).value_or(true);
  g.logprobs = pick(&GenerationOptions::logprobs).value_or(false);
  g.max_time = pick(&GenerationOptions::max_time);
  g.stop = pick_list(&GenerationOptions::stop);
  g.eos = end_tokens(pick_list(&GenerationOptions::eos_token_id), prompt.vocab);
  if (g.eos.empty()) g.eos = model.eos;
  if (pick(&GenerationOptions::ignore_eos).value_or(false)) g.eos.clear();
  g.bad_words = banned_sequences(pick_list(&GenerationOptions::bad_words), tokenizer);
  if (g.bad_words.empty()) g.bad_words = model.bad_words;
  // As transformers: the end token alone cannot be forbidden by this.
  std::erase_if(g.bad_words, [&](const auto& ids) {
    return ids.size() == 1 && std::find(g.eos.begin(), g.eos.end(), ids[0]) != g.eos.end();
  });

  check_allowed("--temperature", g.temperature, Reals{0, 1e6});
  if (g.temperature == 0) {
    g.temperature = 1;
    g.greedy_by_temperature = std::exchange(g.do_sample, false);
  }
  check_allowed("--top-p", g.top_p, Reals{0, 1});
  check_allowed("--min-p", g.min_p, Reals{0, 1});
  check_allowed("--typical-p", g.typical_p, Reals{0, 1, true});
  // Scores are divided by it in fp32.
  check_allowed("--repetition-penalty", g.repetition_penalty, Reals{1e-6, 1e6});
  check_allowed("--length-penalty", g.length_penalty, Reals{-100, 100});
  if (g.max_time) check_allowed("--max-time", *g.max_time, Reals{0, 1e9});
  check_allowed("--top-k", g.top_k, Integers{0});
  check_allowed("--no-repeat-ngram-size", g.no_repeat_ngram_size, Integers{0});
  check_allowed("--num-return-sequences", g.num_return_sequences, Integers{1, 100'000});
  check_allowed("--num-beams", g.num_beams, Integers{1, 1'000});
  CHECK_USER(g.num_beams > 1 || g.num_return_sequences == 1 || g.do_sample,
             "--num-return-sequences is {}, which needs --do-sample: greedy search has one result",
             g.num_return_sequences);
  CHECK_USER(g.num_beams == 1 || g.num_return_sequences <= g.num_beams,
             "--num-return-sequences is {}; allowed: up to --num-beams, {}", g.num_return_sequences,
             g.num_beams);
  for (const std::string& s : g.stop) CHECK_USER(!s.empty(), "--stop is empty; it must be a text");

  g.max_new_tokens = new_tokens(request, flags, file, prompt);
  // As transformers: min_new_tokens takes precedence over min_length.
  const std::int64_t least =
      pick(&GenerationOptions::min_new_tokens)
          .value_or(std::max<std::int64_t>(0, model.min_length - prompt.n_tokens));
  check_allowed("--min-new-tokens", least, Integers{0});
  g.min_new_tokens = std::min(least, g.max_new_tokens);
  return g;
}

void check_temperature(const GenerationOptions& o, const std::vector<std::string>& flags) {
  const auto is_flag = [&](const char* name) {
    return std::find(flags.begin(), flags.end(), name) != flags.end();
  };
  CHECK_USER(o.temperature != 0 || !o.do_sample.value_or(false) || !is_flag("temperature") ||
                 !is_flag("do_sample"),
             "--temperature is 0 and --do-sample is given; allowed: a temperature above 0, or 0 "
             "without --do-sample for the likeliest text");
}

std::vector<std::string> unused_options(const GenerationOptions& o, const Generation& g) {
  std::vector<std::string> flags;
  const auto note = [&](bool given, const char* flag, const char* needs) {
    if (given) flags.push_back(fmt::format("{} (needs {})", flag, needs));
  };
  if (!g.do_sample) {
    note(o.temperature && *o.temperature != 1 && *o.temperature != 0, "--temperature",
         "--do-sample");
    note(o.top_k && *o.top_k != 50, "--top-k", "--do-sample");
    note(o.top_p && *o.top_p != 1, "--top-p", "--do-sample");
    note(o.min_p && *o.min_p != 0, "--min-p", "--do-sample");
    note(o.typical_p && *o.typical_p != 1, "--typical-p", "--do-sample");
  }
  if (g.num_beams == 1) {
    note(o.length_penalty && *o.length_penalty != 1, "--length-penalty", "--num-beams");
    note(!o.early_stopping.empty() && o.early_stopping != "false", "--early-stopping",
         "--num-beams");
  }
  return flags;
}

}  // namespace weft

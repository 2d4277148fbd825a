#include "infer/options.h"

#include <fmt/ranges.h>

#include <algorithm>
#include <span>
#include <utility>

#include "core/check.h"
#include "core/utf8.h"
#include "infer/generation_file.h"

namespace weft {
namespace {

constexpr Reals kCutoff = {0, 1, false, true}, kGuidance = {-1000, 1000};

}  // namespace

void GenerationOptions::visit(FieldVisitor& v) {
  v.group("generation");
  v.field("max_new_tokens", max_new_tokens, Integers{1},
          "new tokens at most; unset: the model's, else 20");
  v.field("max_length", max_length, Integers{1}, "prompt and new tokens together at most");
  v.field("min_new_tokens", min_new_tokens, Integers{0},
          "the end token is not allowed before as many");
  v.field("min_length", min_length, Integers{0},
          "the end token is not allowed while prompt and new tokens are fewer together; "
          "min_new_tokens wins over it");
  v.field("do_sample", do_sample, "draw the next token instead of taking the likeliest");
  v.field(
      "temperature", temperature, Reals{0, 1e6},
      "divides the logits before drawing; 0: the likeliest token, as without do_sample; unset: 1");
  v.field("top_k", top_k, Integers{0, kAnyInteger.max, "all"},
          "draw among the k likeliest; 0: all; unset: 50");
  v.field("top_h", top_h, Reals{0, 1, true},
          "draw among the likeliest that hold this share of the entropy");
  v.field("top_p", top_p, Reals{0, 1}, "draw among the likeliest that hold this much probability");
  v.field("min_p", min_p, Reals{0, 1}, "drop tokens less likely than this share of the likeliest");
  v.field("typical_p", typical_p, Reals{0, 1, true},
          "draw among the most typical that hold this much probability");
  v.field("epsilon_cutoff", epsilon_cutoff, kCutoff, "drop tokens less likely than this; 0: none");
  v.field("eta_cutoff", eta_cutoff, kCutoff,
          "drop tokens less likely than this and than its root times e^-entropy; 0: none");
  v.field("repetition_penalty", repetition_penalty, Reals{0, 1e6, true},
          "divides the scores of tokens already seen; 1: none");
  v.field("encoder_repetition_penalty", encoder_repetition_penalty, Reals{0, 1e6, true},
          "above 1: raises the scores of the prompt's tokens; below: lowers them");
  v.field("no_repeat_ngram_size", no_repeat_ngram_size, Integers{0},
          "no n-gram of this size appears twice; 0: allowed");
  v.field("encoder_no_repeat_ngram_size", encoder_no_repeat_ngram_size, Integers{0},
          "no n-gram of this size of the prompt appears again; 0: allowed");
  v.field("sequence_bias", sequence_bias,
          "token ids and what is added to the last one's score behind the others, as 3,17=-2.5 or "
          "[[3, 17], -2.5] (repeatable)");
  v.field("bad_words", bad_words,
          "text that must not be written, alone or after a space (repeatable)");
  v.field("bad_words_ids", bad_words_ids,
          "token ids that must not follow one another, as 3,17 (repeatable)");
  v.field("suppress_tokens", suppress_tokens,
          "token ids that are never written, as 3,17 (repeatable)");
  v.field("begin_suppress_tokens", begin_suppress_tokens,
          "token ids that are not written first, as 3,17 (repeatable)");
  v.field("forced_bos_token_id", forced_bos_token_id, Integers{0},
          "the first new token where the prompt is one token");
  v.field("forced_eos_token_id", forced_eos_token_id,
          "the token (or one of these) that ends a text which reaches its full length");
  v.field("exponential_decay_length_penalty", exponential_decay_length_penalty,
          "start,factor, as 15,1.6: end tokens grow likelier from so many new tokens on");
  v.field("remove_invalid_values", remove_invalid_values,
          "go on where the model's logits are not finite");
  v.field("renormalize_logits", renormalize_logits,
          "beam search: log softmax again behind all processors");
  v.field("guidance_scale", guidance_scale, kGuidance,
          "classifier-free guidance: how far to go from what would be written without the prompt; "
          "1: not");
  v.field("negative_prompt_ids", negative_prompt_ids,
          "token ids of the text that guidance leads away from; unset: the prompt's last token");
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
  v.field("stop_strings", stop_strings, "the same as stop, by transformers' name (repeatable)");
  v.field("eos_token_id", eos_token_id, "the end token (repeatable); unset: the model's");
  v.field("ignore_eos", ignore_eos, "go on past the end token");
  v.field("return_full_text", return_full_text, "generated_text begins with the prompt");
  v.field("logprobs", logprobs, "log-probability of each new token");
  v.field("max_time", max_time, Reals{0, 1e9}, "seconds after which all continuations end");
}

namespace {

// Where an option may have been set, the first in precedence.
struct Levels {
  const GenerationOptions &request, &flags, &file;

  template <class T>
  std::optional<T> pick(std::optional<T> GenerationOptions::*field) const {
    for (const GenerationOptions* o : {&request, &flags, &file})
      if (o->*field) return o->*field;
    return std::nullopt;
  }
  // Of text, or a list.
  template <class T>
  const T& pick(T GenerationOptions::*field) const {
    for (const GenerationOptions* o : {&request, &flags})
      if (!(o->*field).empty()) return o->*field;
    return file.*field;
  }
};

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

// As transformers: min_new_tokens wins over min_length, which counts the prompt; both of the
// request and flags win over the file's.
std::int64_t least_new_tokens(const Levels& levels, std::int64_t n_prompt) {
  for (const GenerationOptions* o : {&levels.request, &levels.flags, &levels.file}) {
    if (o->min_new_tokens) check_allowed("--min-new-tokens", *o->min_new_tokens, Integers{0});
    if (o->min_length) check_allowed("--min-length", *o->min_length, Integers{0});
    if (o->min_new_tokens) return *o->min_new_tokens;
    if (o->min_length) return std::max<std::int64_t>(0, *o->min_length - n_prompt);
  }
  return 0;
}

Generation numbers_of(const Levels& o) {
  using O = GenerationOptions;
  Generation g;
  g.do_sample = o.pick(&O::do_sample).value_or(false);
  g.temperature = o.pick(&O::temperature).value_or(1);
  g.top_h = o.pick(&O::top_h);
  g.top_k = o.pick(&O::top_k).value_or(50);
  g.top_p = o.pick(&O::top_p).value_or(1);
  g.min_p = o.pick(&O::min_p).value_or(0);
  g.typical_p = o.pick(&O::typical_p).value_or(1);
  g.epsilon_cutoff = o.pick(&O::epsilon_cutoff).value_or(0);
  g.eta_cutoff = o.pick(&O::eta_cutoff).value_or(0);
  g.repetition_penalty = o.pick(&O::repetition_penalty).value_or(1);
  g.encoder_repetition_penalty = o.pick(&O::encoder_repetition_penalty).value_or(1);
  g.no_repeat_ngram_size = o.pick(&O::no_repeat_ngram_size).value_or(0);
  g.encoder_no_repeat_ngram_size = o.pick(&O::encoder_no_repeat_ngram_size).value_or(0);
  g.num_return_sequences = o.pick(&O::num_return_sequences).value_or(1);
  g.num_beams = o.pick(&O::num_beams).value_or(1);
  g.length_penalty = o.pick(&O::length_penalty).value_or(1);
  g.early_stopping = early_stopping_of(o.pick(&O::early_stopping));
  g.remove_invalid_values = o.pick(&O::remove_invalid_values).value_or(false);
  g.renormalize_logits = o.pick(&O::renormalize_logits).value_or(false);
  g.guidance_scale = o.pick(&O::guidance_scale).value_or(1);
  g.seed = o.pick(&O::seed).value_or(0);
  g.return_full_text = o.pick(&O::return_full_text).value_or(true);
  g.logprobs = o.pick(&O::logprobs).value_or(false);
  g.max_time = o.pick(&O::max_time);
  return g;
}

std::vector<std::string> stops_of(const Levels& levels) {
  std::vector<std::string> stop;
  for (const GenerationOptions* o : {&levels.request, &levels.flags, &levels.file}) {
    stop = o->stop;
    stop.insert(stop.end(), o->stop_strings.begin(), o->stop_strings.end());
    if (!stop.empty()) break;
  }
  for (const std::string& s : stop) CHECK_USER(!s.empty(), "--stop is empty; it must be a text");
  return stop;
}

void set_tokens(Generation& g, const Levels& levels, const GenerationFile& file, std::int64_t vocab,
                const Tokenizer* tokenizer) {
  using O = GenerationOptions;
  const auto ids = [&](const char* flag, auto field) {
    return token_ids({flag, vocab}, listed(flag, levels.pick(field)));
  };
  const auto otherwise = [](auto given, const auto& of_file) {
    return given.empty() ? of_file : given;
  };
  g.eos = otherwise(ids("--eos-token-id", &O::eos_token_id), file.eos);
  if (levels.pick(&O::ignore_eos).value_or(false)) g.eos.clear();
  g.bad_words = banned_sequences(levels.pick(&O::bad_words), tokenizer);
  for (auto& sequence : token_sequences({"--bad-words-ids", vocab}, levels.pick(&O::bad_words_ids)))
    g.bad_words.push_back(std::move(sequence));
  if (g.bad_words.empty()) g.bad_words = file.bad_words;
  // As transformers: the end token alone cannot be forbidden by this.
  std::erase_if(g.bad_words, [&](const auto& word) {
    return word.size() == 1 && std::find(g.eos.begin(), g.eos.end(), word[0]) != g.eos.end();
  });
  g.sequence_bias =
      otherwise(sequence_biases({"--sequence-bias", vocab}, levels.pick(&O::sequence_bias)),
                file.sequence_bias);
  g.suppress_tokens =
      otherwise(ids("--suppress-tokens", &O::suppress_tokens), file.suppress_tokens);
  g.begin_suppress_tokens = otherwise(ids("--begin-suppress-tokens", &O::begin_suppress_tokens),
                                      file.begin_suppress_tokens);
  g.forced_eos = otherwise(ids("--forced-eos-token-id", &O::forced_eos_token_id), file.forced_eos);
  g.negative_prompt = ids("--negative-prompt-ids", &O::negative_prompt_ids);
  if (const auto bos = levels.pick(&O::forced_bos_token_id)) {
    check_allowed("--forced-bos-token-id", *bos, Integers{0, vocab - 1});
    g.forced_bos = static_cast<std::int32_t>(*bos);
  }
  for (const std::int32_t id : g.forced_eos)
    check_allowed("--forced-eos-token-id", id, Integers{0, vocab - 1});
  const std::vector<std::string>& decay = levels.pick(&O::exponential_decay_length_penalty);
  constexpr const char* kDecay = "--exponential-decay-length-penalty";
  g.length_decay = decay.empty() ? file.length_decay
                                 : std::optional(length_decay(kDecay, listed(kDecay, decay)));
}

void check_numbers(const Generation& g) {
  check_allowed("--temperature", g.temperature, Reals{0, 1e6});
  check_allowed("--top-h", g.top_h, Reals{0, 1, true});
  check_allowed("--top-p", g.top_p, Reals{0, 1});
  check_allowed("--min-p", g.min_p, Reals{0, 1});
  check_allowed("--typical-p", g.typical_p, Reals{0, 1, true});
  check_allowed("--epsilon-cutoff", g.epsilon_cutoff, kCutoff);
  check_allowed("--eta-cutoff", g.eta_cutoff, kCutoff);
  // Scores are divided by it in fp32.
  check_allowed("--repetition-penalty", g.repetition_penalty, Reals{1e-6, 1e6});
  check_allowed("--encoder-repetition-penalty", g.encoder_repetition_penalty, Reals{1e-6, 1e6});
  check_allowed("--guidance-scale", g.guidance_scale, kGuidance);
  check_allowed("--length-penalty", g.length_penalty, Reals{-100, 100});
  check_allowed("--max-time", g.max_time, Reals{0, 1e9});
  check_allowed("--top-k", g.top_k, Integers{0});
  check_allowed("--no-repeat-ngram-size", g.no_repeat_ngram_size, Integers{0});
  check_allowed("--encoder-no-repeat-ngram-size", g.encoder_no_repeat_ngram_size, Integers{0});
  check_allowed("--num-return-sequences", g.num_return_sequences, Integers{1, 100'000});
  check_allowed("--num-beams", g.num_beams, Integers{1, 1'000});
}

// A forced token that is suppressed would leave nothing to write.
void check_forced(const Generation& g, const char* flag, std::span<const std::int32_t> forced) {
  const bool all = std::ranges::all_of(forced, [&](std::int32_t id) {
    return std::ranges::find(g.suppress_tokens, id) != g.suppress_tokens.end();
  });
  CHECK_USER(forced.empty() || !all,
             "{} is {}, but --suppress-tokens forbids {}; allowed: a token that may be written",
             flag, fmt::join(forced, ","), forced.size() == 1 ? "it" : "them all");
}

void check_together(const Generation& g, const PromptPlace& prompt) {
  CHECK_USER(g.num_beams > 1 || g.num_return_sequences == 1 || g.do_sample,
             "--num-return-sequences is {}, which needs --do-sample: greedy search has one result",
             g.num_return_sequences);
  CHECK_USER(g.num_beams == 1 || g.num_return_sequences <= g.num_beams,
             "--num-return-sequences is {}; allowed: up to --num-beams, {}", g.num_return_sequences,
             g.num_beams);
  if (g.forced_bos >= 0) check_forced(g, "--forced-bos-token-id", {&g.forced_bos, 1});
  check_forced(g, "--forced-eos-token-id", g.forced_eos);
  if (!g.guided()) return;
  CHECK_USER(g.num_beams == 1, "--guidance-scale is {}, which needs --num-beams 1, not {}",
             g.guidance_scale, g.num_beams);
  const auto n = static_cast<std::int64_t>(g.negative_prompt.size());
  CHECK_USER(n <= prompt.context - g.max_new_tokens,
             "--negative-prompt-ids has {} tokens and {} new ones are asked for, but the model's "
             "context holds {}",
             n, g.max_new_tokens, prompt.context);
}

}  // namespace

Generation resolve_generation(const GenerationOptions& request, const GenerationOptions& flags,
                              const GenerationFile& model, const PromptPlace& prompt,
                              const Tokenizer* tokenizer) {
  const Levels levels = {request, flags, model.options};
  Generation g = numbers_of(levels);
  g.stop = stops_of(levels);
  set_tokens(g, levels, model, prompt.vocab, tokenizer);
  check_numbers(g);
  if (g.temperature == 0) {
    g.temperature = 1;
    g.greedy_by_temperature = std::exchange(g.do_sample, false);
  }
  g.max_new_tokens = new_tokens(request, flags, model.options, prompt);
  g.min_new_tokens = std::min(least_new_tokens(levels, prompt.n_tokens), g.max_new_tokens);
  check_together(g, prompt);
  if (prompt.n_tokens > 1) g.forced_bos = -1;
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
    note(o.top_h.has_value(), "--top-h", "--do-sample");
    note(o.top_p && *o.top_p != 1, "--top-p", "--do-sample");
    note(o.min_p && *o.min_p != 0, "--min-p", "--do-sample");
    note(o.typical_p && *o.typical_p != 1, "--typical-p", "--do-sample");
    note(o.epsilon_cutoff && *o.epsilon_cutoff != 0, "--epsilon-cutoff", "--do-sample");
    note(o.eta_cutoff && *o.eta_cutoff != 0, "--eta-cutoff", "--do-sample");
  }
  if (g.num_beams == 1) {
    note(o.length_penalty && *o.length_penalty != 1, "--length-penalty", "--num-beams");
    note(!o.early_stopping.empty() && o.early_stopping != "false", "--early-stopping",
         "--num-beams");
    note(o.renormalize_logits.value_or(false), "--renormalize-logits", "--num-beams");
  }
  if (g.eos.empty())
    note(!o.exponential_decay_length_penalty.empty(), "--exponential-decay-length-penalty",
         "an end token");
  note(o.forced_bos_token_id && g.forced_bos < 0, "--forced-bos-token-id", "a prompt of one token");
  note(!o.negative_prompt_ids.empty() && !g.guided(), "--negative-prompt-ids", "--guidance-scale");
  return flags;
}

}  // namespace weft

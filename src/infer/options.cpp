#include "infer/options.h"

#include <cmath>

#include "core/check.h"

namespace weft {

void GenerationOptions::visit(FieldVisitor& v) {
  v.group("generation");
  v.field("max_new_tokens", max_new_tokens, "new tokens at most; unset: the model's, else 20");
  v.field("max_length", max_length, "prompt and new tokens together at most");
  v.field("min_new_tokens", min_new_tokens, "the end token is not allowed before as many");
  v.field("do_sample", do_sample, "draw the next token instead of taking the likeliest");
  v.field("temperature", temperature, "divides the logits before drawing");
  v.field("top_k", top_k, "draw among the k likeliest; 0: all");
  v.field("top_p", top_p, "draw among the likeliest that hold this much probability");
  v.field("min_p", min_p, "drop tokens less likely than this share of the likeliest");
  v.field("typical_p", typical_p, "draw among the most typical that hold this much probability");
  v.field("repetition_penalty", repetition_penalty, "divides the scores of tokens already seen; 1: none");
  v.field("no_repeat_ngram_size", no_repeat_ngram_size, "no n-gram of this size appears twice; 0: allowed");
  v.field("num_return_sequences", num_return_sequences, "continuations of each prompt (more than one needs sampling)");
  v.field("num_beams", num_beams, "beams; only 1 for now");
  v.field("stop", stop, "text that ends a continuation (repeatable)");
  v.field("eos_token_id", eos_token_id, "the end token; unset: the model's");
  v.field("ignore_eos", ignore_eos, "go on past the end token");
  v.field("return_full_text", return_full_text, "generated_text begins with the prompt");
  v.field("logprobs", logprobs, "log-probability of each new token");
  v.field("max_time", max_time, "seconds after which all continuations end");
}

GenerationOptions read_generation_config(const std::filesystem::path& dir, std::vector<std::int32_t>* eos) {
  GenerationOptions o;
  const std::filesystem::path file = dir / "generation_config.json";
  std::error_code error;
  if (!std::filesystem::exists(file, error)) return o;
  const Json json = read_json_object(file);
  const JsonReader r(json, file.string());
  const auto integer = [&](const char* key, std::int64_t max) {
    return r.has(key) ? std::optional(r.integer(key, 0, max)) : std::nullopt;
  };
  const auto number = [&](const char* key, double max) { return r.has(key) ? std::optional(r.number(key, 0, max, 0)) : std::nullopt; };
  o.max_new_tokens = integer("max_new_tokens", 1 << 30);
  o.max_length = integer("max_length", 1 << 30);
  o.min_new_tokens = integer("min_new_tokens", 1 << 30);
  if (r.has("do_sample")) o.do_sample = r.boolean("do_sample", false);
  o.temperature = number("temperature", 1e6);
  o.top_k = integer("top_k", 1 << 30);
  o.top_p = number("top_p", 1);
  o.min_p = number("min_p", 1);
  o.typical_p = number("typical_p", 1);
  o.repetition_penalty = number("repetition_penalty", 1e6);
  o.no_repeat_ngram_size = integer("no_repeat_ngram_size", 1 << 20);
  if (o.temperature && *o.temperature == 0) {  // in a file it turns sampling off
    o.temperature.reset();
    o.do_sample = false;
  }
  if (!r.has("eos_token_id")) return o;
  const Json& ids = json["eos_token_id"];
  const Json list = ids.is_array() ? ids : Json::array({ids});
  for (const Json& id : list) {
    CHECK_USER(id.is_number_integer() && id.get<std::int64_t>() <= INT32_MAX, "{}: eos_token_id is {}; it must be a token id or a list of them", file.string(),
               ids.dump().substr(0, 60));
    if (id.get<std::int64_t>() >= 0) eos->push_back(id.get<std::int32_t>());
  }
  return o;
}

namespace {

template <class T>
std::optional<T> first_of(const std::optional<T>& a, const std::optional<T>& b, const std::optional<T>& c) {
  return a ? a : b ? b : c;
}

void between(const char* name, double value, double min, double max, bool above_min) {
  CHECK_USER(std::isfinite(value) && (above_min ? value > min : value >= min) && value <= max, "--{} is {}; allowed: {} {} up to {}", name, value,
             above_min ? "above" : "from", min, max);
}

}  // namespace

Generation resolve_generation(const GenerationOptions& request, const GenerationOptions& flags, const GenerationOptions& file,
                              const std::vector<std::int32_t>& model_eos, std::int64_t n_prompt, std::int64_t context, const std::string& what) {
  const auto pick = [&](auto GenerationOptions::*field) { return first_of(request.*field, flags.*field, file.*field); };
  Generation g;
  g.min_new_tokens = pick(&GenerationOptions::min_new_tokens).value_or(0);
  g.do_sample = pick(&GenerationOptions::do_sample).value_or(false);
  g.temperature = pick(&GenerationOptions::temperature).value_or(1);
  g.top_k = pick(&GenerationOptions::top_k).value_or(50);
  g.top_p = pick(&GenerationOptions::top_p).value_or(1);
  g.min_p = pick(&GenerationOptions::min_p).value_or(0);
  g.typical_p = pick(&GenerationOptions::typical_p).value_or(1);
  g.repetition_penalty = pick(&GenerationOptions::repetition_penalty).value_or(1);
  g.no_repeat_ngram_size = pick(&GenerationOptions::no_repeat_ngram_size).value_or(0);
  g.num_return_sequences = pick(&GenerationOptions::num_return_sequences).value_or(1);
  g.seed = pick(&GenerationOptions::seed).value_or(0);
  g.return_full_text = pick(&GenerationOptions::return_full_text).value_or(true);
  g.logprobs = pick(&GenerationOptions::logprobs).value_or(false);
  g.max_time = pick(&GenerationOptions::max_time).value_or(0);
  g.stop = !request.stop.empty() ? request.stop : flags.stop;
  if (const auto eos = pick(&GenerationOptions::eos_token_id)) {
    CHECK_USER(*eos >= 0 && *eos <= INT32_MAX, "--eos-token-id is {}; allowed: a token id, 0 or more", *eos);
    g.eos = {static_cast<std::int32_t>(*eos)};
  } else {
    g.eos = model_eos;
  }
  if (pick(&GenerationOptions::ignore_eos).value_or(false)) g.eos.clear();

  between("temperature", g.temperature, 0, 1e6, true);
  between("top-p", g.top_p, 0, 1, true);
  between("min-p", g.min_p, 0, 1, false);
  between("typical-p", g.typical_p, 0, 1, true);
  between("repetition-penalty", g.repetition_penalty, 0, 1e6, true);
  between("max-time", g.max_time, 0, 1e9, false);
  CHECK_USER(g.top_k >= 0, "--top-k is {}; allowed: 0 (all) or more", g.top_k);
  CHECK_USER(g.min_new_tokens >= 0, "--min-new-tokens is {}; allowed: 0 or more", g.min_new_tokens);
  CHECK_USER(g.no_repeat_ngram_size >= 0, "--no-repeat-ngram-size is {}; allowed: 0 or more", g.no_repeat_ngram_size);
  CHECK_USER(g.num_return_sequences >= 1 && g.num_return_sequences <= 100'000, "--num-return-sequences is {}; allowed: 1 to 100000", g.num_return_sequences);
  CHECK_USER(g.num_return_sequences == 1 || g.do_sample, "--num-return-sequences is {}, which needs --do-sample: greedy search has one result", g.num_return_sequences);
  const std::int64_t beams = pick(&GenerationOptions::num_beams).value_or(1);
  CHECK_USER(beams == 1, "--num-beams is {}; allowed: 1", beams);
  for (const std::string& s : g.stop) CHECK_USER(!s.empty(), "--stop is empty; it must be a text");

  CHECK_USER(n_prompt < context, "{} has {} tokens, but the model's context holds {}, the continuation included", what, n_prompt, context);
  // As transformers: max_new_tokens wins over max_length, of the request and flags before the file's; by default 20, cut at the context.
  const auto length_of = [&](const GenerationOptions& o) -> std::optional<std::int64_t> {
    if (o.max_new_tokens) {
      CHECK_USER(*o.max_new_tokens >= 1, "--max-new-tokens is {}; allowed: 1 or more", *o.max_new_tokens);
      return o.max_new_tokens;
    }
    if (!o.max_length) return std::nullopt;
    CHECK_USER(*o.max_length > n_prompt, "{} has {} tokens, but --max-length is {}, the prompt included", what, n_prompt, *o.max_length);
    return *o.max_length - n_prompt;
  };
  std::optional<std::int64_t> asked = length_of(request);
  if (!asked) asked = length_of(flags);
  if (asked) {
    CHECK_USER(n_prompt + *asked <= context, "{} has {} tokens and {} new ones are asked for, but the model's context holds {}", what, n_prompt, *asked, context);
    g.max_new_tokens = *asked;
  } else {
    std::int64_t wanted = file.max_new_tokens.value_or(20);
    if (!file.max_new_tokens && file.max_length && *file.max_length > n_prompt) wanted = *file.max_length - n_prompt;
    g.max_new_tokens = std::min(std::max<std::int64_t>(wanted, 1), context - n_prompt);
  }
  CHECK_USER(g.min_new_tokens <= g.max_new_tokens, "--min-new-tokens is {}, more than the {} new tokens at most", g.min_new_tokens, g.max_new_tokens);
  return g;
}

}  // namespace weft

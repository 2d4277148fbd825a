#include "infer/generation_file.h"

#include "core/check.h"

namespace weft {

const std::vector<LackingOption>& lacking_options() {
  constexpr const char *kGroups = "transformers has moved group beam search to the Hub",
                       *kContrastive = "transformers has moved contrastive search to the Hub",
                       *kDola = "transformers has moved DoLa to the Hub",
                       *kConstrained = "transformers has moved constrained beam search to the Hub",
                       *kAhead = "it guesses no tokens ahead", *kNothing = "";
  static const std::vector<LackingOption> options = {
      {"num_beam_groups", 1, kGroups},
      {"diversity_penalty", 0.0, kGroups},
      {"penalty_alpha", nullptr, kContrastive},
      {"dola_layers", nullptr, kDola},
      {"force_words_ids", nullptr, kConstrained},
      {"constraints", nullptr, kConstrained},
      {"watermarking_config", nullptr, kNothing},
      {"token_healing", false, kNothing},
      {"prompt_lookup_num_tokens", nullptr, kAhead, false},
      {"max_matching_ngram_size", nullptr, kAhead, false},
      {"assistant_model", nullptr, kAhead, false},
      {"assistant_early_exit", nullptr, kAhead, false},
      {"assistant_ensemble_weight", nullptr, kAhead},
      {"use_mtp", false, kAhead, false}};
  return options;
}

std::map<std::string, std::string> lacking_flags() {
  std::map<std::string, std::string> flags;
  for (const LackingOption& o : lacking_options())
    flags[flag_of(o.key)] =
        *o.why == '\0' ? ", which transformers has" : fmt::format(" ({})", o.why);
  return flags;
}

namespace {

constexpr std::int64_t kMostTokens = 1 << 30;

// Of a vocabulary that the file does not know. Some write -1 for none.
std::vector<std::int32_t> ids_of(const Json& json, const std::string& what) {
  Json known = Json::array();
  for (const Json& id : json.is_array() ? json : Json::array({json}))
    if (id != -1) known.push_back(id);
  return token_ids({what, kMostTokens}, known);
}

GenerationFile from_json(const Json& json, const std::string& file) {
  GenerationFile result;
  GenerationOptions& o = result.options;
  const JsonReader r(json, file);
  const auto integer = [&](const char* key, std::int64_t max) {
    return r.has(key) ? std::optional(r.integer(key, 0, max)) : std::nullopt;
  };
  const auto number = [&](const char* key, double min, double max) {
    return r.has(key) ? std::optional(r.number(key, min, max, 0)) : std::nullopt;
  };
  const auto named = [&](const char* key) { return file + ": " + key; };
  o.max_new_tokens = integer("max_new_tokens", 1 << 30);
  o.max_length = integer("max_length", 1 << 30);
  o.min_new_tokens = integer("min_new_tokens", 1 << 30);
  o.min_length = integer("min_length", 1 << 30);
  if (r.has("do_sample")) o.do_sample = r.boolean("do_sample", false);
  o.temperature = number("temperature", 0, 1e6);
  o.top_k = integer("top_k", 1 << 30);
  o.top_h = number("top_h", 0, 1);
  o.top_p = number("top_p", 0, 1);
  o.min_p = number("min_p", 0, 1);
  o.typical_p = number("typical_p", 0, 1);
  o.epsilon_cutoff = number("epsilon_cutoff", 0, 1);
  o.eta_cutoff = number("eta_cutoff", 0, 1);
  o.repetition_penalty = number("repetition_penalty", 0, 1e6);
  o.encoder_repetition_penalty = number("encoder_repetition_penalty", 0, 1e6);
  o.no_repeat_ngram_size = integer("no_repeat_ngram_size", 1 << 20);
  o.encoder_no_repeat_ngram_size = integer("encoder_no_repeat_ngram_size", 1 << 20);
  o.guidance_scale = number("guidance_scale", -1000, 1000);
  o.forced_bos_token_id = integer("forced_bos_token_id", 1 << 30);
  if (r.has("remove_invalid_values"))
    o.remove_invalid_values = r.boolean("remove_invalid_values", false);
  if (r.has("renormalize_logits")) o.renormalize_logits = r.boolean("renormalize_logits", false);
  o.num_beams = integer("num_beams", 1'000);
  o.num_return_sequences = integer("num_return_sequences", 100'000);
  o.length_penalty = number("length_penalty", -100, 100);
  o.max_time = number("max_time", 0, 1e9);
  if (r.has("early_stopping"))
    o.early_stopping = json["early_stopping"].is_string()
                           ? json["early_stopping"].get<std::string>()
                           : json_text(json["early_stopping"]);
  if (o.temperature && *o.temperature == 0) {  // in a file it turns sampling off
    o.temperature.reset();
    o.do_sample = false;
  }
  if (r.has("stop_strings"))
    for (const Json& text : json["stop_strings"].is_array() ? json["stop_strings"]
                                                            : Json::array({json["stop_strings"]})) {
      CHECK_USER(text.is_string(), "{}: stop_strings holds {}; it must be texts", file,
                 brief(text));
      o.stop.push_back(text.get<std::string>());
    }
  const auto ids = [&](const char* key) {
    return r.has(key) ? ids_of(json[key], named(key)) : std::vector<std::int32_t>();
  };
  result.eos = ids("eos_token_id");
  result.suppress_tokens = ids("suppress_tokens");
  result.begin_suppress_tokens = ids("begin_suppress_tokens");
  result.forced_eos = ids("forced_eos_token_id");
  const auto option = [&](const char* key) { return TokenOption{named(key), kMostTokens}; };
  if (r.has("bad_words_ids"))
    result.bad_words = token_sequences(option("bad_words_ids"), json["bad_words_ids"]);
  if (r.has("sequence_bias"))
    result.sequence_bias = sequence_biases(option("sequence_bias"), json["sequence_bias"]);
  if (constexpr auto kDecay = "exponential_decay_length_penalty"; r.has(kDecay))
    result.length_decay = length_decay(named(kDecay), json[kDecay]);
  for (const LackingOption& lacking : lacking_options())
    if (lacking.changes_text && r.has(lacking.key) && json[lacking.key] != lacking.neutral)
      result.unknown.emplace_back(lacking.key);
  return result;
}

}  // namespace

GenerationFile parse_generation_config(const std::string& text, const std::string& origin) {
  Json json;
  try {
    json = parse_json(text);
  } catch (const Json::exception&) {  // said below
  }
  CHECK_USER(json.is_object(), "{}: is not a JSON object", origin);
  return reading_json(origin, [&] { return from_json(json, origin); });
}

}  // namespace weft

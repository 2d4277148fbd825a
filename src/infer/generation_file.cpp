#include "infer/generation_file.h"

#include "core/check.h"

namespace weft {

const std::vector<LackingOption>& lacking_options() {
  static const std::vector<LackingOption> options = {{"num_beam_groups", 1},
                                                     {"diversity_penalty", 0.0},
                                                     {"encoder_repetition_penalty", 1.0},
                                                     {"encoder_no_repeat_ngram_size", 0},
                                                     {"epsilon_cutoff", 0.0},
                                                     {"eta_cutoff", 0.0},
                                                     {"top_h", nullptr},
                                                     {"penalty_alpha", nullptr},
                                                     {"dola_layers", nullptr},
                                                     {"sequence_bias", nullptr},
                                                     {"suppress_tokens", nullptr},
                                                     {"begin_suppress_tokens", nullptr},
                                                     {"forced_bos_token_id", nullptr},
                                                     {"forced_eos_token_id", nullptr},
                                                     {"force_words_ids", nullptr},
                                                     {"constraints", nullptr},
                                                     {"exponential_decay_length_penalty", nullptr},
                                                     {"guidance_scale", nullptr},
                                                     {"watermarking_config", nullptr},
                                                     {"renormalize_logits", false},
                                                     {"remove_invalid_values", false},
                                                     {"token_healing", false}};
  return options;
}

namespace {

std::vector<std::int32_t> token_ids(const Json& json, const char* key, const std::string& file) {
  std::vector<std::int32_t> ids;
  for (const Json& id : json.is_array() ? json : Json::array({json})) {
    CHECK_USER(id.is_number_integer() && id.get<std::int64_t>() >= -1 &&
                   id.get<std::int64_t>() < (1 << 30),
               "{}: {} is {}; it must be a token id or a list of them", file, key, brief(json));
    if (id.get<std::int64_t>() >= 0) ids.push_back(id.get<std::int32_t>());
  }
  return ids;
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
  o.max_new_tokens = integer("max_new_tokens", 1 << 30);
  o.max_length = integer("max_length", 1 << 30);
  o.min_new_tokens = integer("min_new_tokens", 1 << 30);
  result.min_length = integer("min_length", 1 << 30).value_or(0);
  if (r.has("do_sample")) o.do_sample = r.boolean("do_sample", false);
  o.temperature = number("temperature", 0, 1e6);
  o.top_k = integer("top_k", 1 << 30);
  o.top_p = number("top_p", 0, 1);
  o.min_p = number("min_p", 0, 1);
  o.typical_p = number("typical_p", 0, 1);
  o.repetition_penalty = number("repetition_penalty", 0, 1e6);
  o.no_repeat_ngram_size = integer("no_repeat_ngram_size", 1 << 20);
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
  if (r.has("eos_token_id")) result.eos = token_ids(json["eos_token_id"], "eos_token_id", file);
  if (r.has("bad_words_ids")) {
    CHECK_USER(json["bad_words_ids"].is_array(),
               "{}: bad_words_ids must be a list of lists of token ids", file);
    for (const Json& ids : json["bad_words_ids"]) {
      result.bad_words.push_back(token_ids(ids, "bad_words_ids", file));
      CHECK_USER(!result.bad_words.back().empty(),
                 "{}: bad_words_ids holds {}, which names no token", file, json_text(ids));
    }
  }
  for (const LackingOption& lacking : lacking_options())
    if (r.has(lacking.key) && json[lacking.key] != lacking.neutral)
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

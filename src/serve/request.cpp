#include "serve/request.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "core/json.h"
#include "core/spelling.h"
#include "core/utf8.h"
#include "infer/chat_prompt.h"
#include "infer/continuation.h"

namespace weft {
namespace {

constexpr std::int64_t kDefaultTokens = 16;  // of a completion, as OpenAI's
constexpr std::int64_t kMostChoices = 128;   // of a prompt, as OpenAI's n

[[noreturn]] void refuse(const std::string& param, const std::string& message,
                         const std::string& code = "") {
  throw RequestRefused({.status = 400, .message = message, .param = param, .code = code});
}

// What `body` throws of UserErrors is the parameter's.
template <class Body>
auto about(const std::string& param, const Body& body) {
  try {
    return body();
  } catch (const RequestRefused&) {
    throw;
  } catch (const UserError& error) {
    refuse(param, error.what());
  }
}

// A parameter that changes nothing at these values, and that we lack at others.
struct Lacking {
  const char* key;
  std::vector<Json> neutral;
};
const std::vector<Lacking>& lacking() {
  static const std::vector<Lacking> all = {{"suffix", {""}},
                                           {"tools", {Json::array()}},
                                           {"functions", {Json::array()}},
                                           {"tool_choice", {"none", "auto"}},
                                           {"response_format", {{{"type", "text"}}}},
                                           {"use_beam_search", {false}},
                                           {"length_penalty", {1}},
                                           {"guided_json", {}},
                                           {"guided_regex", {}},
                                           {"guided_choice", {}},
                                           {"guided_grammar", {}},
                                           {"structured_outputs", {}},
                                           {"logits_processors", {Json::array()}},
                                           {"modalities", {{"text"}}},
                                           {"audio", {}},
                                           {"prompt_embeds", {}},
                                           {"truncate_prompt_tokens", {}}};
  return all;
}

const std::vector<std::string>& known_keys(ServedRoute route) {
  static const std::vector<std::string> both = {"model",
                                                "max_tokens",
                                                "temperature",
                                                "top_p",
                                                "n",
                                                "stream",
                                                "logprobs",
                                                "stop",
                                                "seed",
                                                "stream_options",
                                                "top_k",
                                                "min_p",
                                                "min_tokens",
                                                "ignore_eos",
                                                "repetition_penalty",
                                                "best_of",
                                                "stop_token_ids",
                                                "logit_bias",
                                                "presence_penalty",
                                                "frequency_penalty"};
  static const auto with = [](std::vector<std::string> all, const std::vector<std::string>& more) {
    all.insert(all.end(), more.begin(), more.end());
    return all;
  };
  static const std::vector<std::string> completions = with(both, {"prompt", "echo"}),
                                        chat = with(both, {"messages", "top_logprobs",
                                                           "max_completion_tokens"}),
                                        embeddings = {"model", "input", "encoding_format",
                                                      "dimensions"};
  return route == ServedRoute::completions ? completions
         : route == ServedRoute::chat      ? chat
                                           : embeddings;
}

// One parameter of a body, its type and value checked.
class Body {
 public:
  Body(ServedRoute route, const std::string& text) : known_(known_keys(route)) {
    try {
      json_ = parse_ordered_json(text);
    } catch (const OrderedJson::exception&) {
      refuse("", "the body is not JSON: " + in_message(text));
    }
    if (!json_.is_object()) refuse("", "the body is " + brief(json_) + "; it must be an object");
    for (const auto& [key, value] : json_.items()) check_key(key, value);
  }

  bool has(const char* key) const { return json_.contains(key) && !json_.at(key).is_null(); }
  const OrderedJson& at(const char* key) const { return json_.at(key); }

  std::optional<std::int64_t> whole(const char* key, Integers allowed) const {
    if (!has(key)) return std::nullopt;
    const OrderedJson& value = at(key);
    const bool fits = value.is_number_integer() &&
                      !(value.is_number_unsigned() && value.get<std::uint64_t>() >> 63 != 0);
    if (!fits) wrong(key, "a whole number");
    const auto number = value.get<std::int64_t>();
    about(key, [&] { check_allowed(key, number, allowed); });
    return number;
  }
  std::optional<double> real(const char* key, Reals allowed) const {
    if (!has(key)) return std::nullopt;
    if (!at(key).is_number()) wrong(key, "a number");
    const auto number = at(key).get<double>();
    about(key, [&] { check_allowed(key, number, allowed); });
    return number;
  }
  bool yes(const char* key) const {
    if (!has(key)) return false;
    if (!at(key).is_boolean()) wrong(key, "true or false");
    return at(key).get<bool>();
  }
  std::string text(const char* key) const {
    if (!has(key)) return "";
    if (!at(key).is_string()) wrong(key, "a text");
    return at(key).get<std::string>();
  }
  [[noreturn]] void wrong(const char* key, const std::string& what) const {
    refuse(key, fmt::format("{} is {}; it must be {}", key, brief(at(key)), what));
  }

 private:
  void check_key(const std::string& key, const OrderedJson& value) const {
    if (value.is_null()) return;
    for (const Lacking& l : lacking()) {
      if (key != l.key) continue;
      const Json given = value;
      if (std::find(l.neutral.begin(), l.neutral.end(), given) == l.neutral.end())
        refuse(key, fmt::format("{} is {}, which Weft does not have", key, brief(value)));
      return;
    }
    if (const auto meant = near_miss(key, known_))
      refuse(key, fmt::format("unknown parameter '{}' (did you mean '{}'?)", key, *meant));
  }

  const std::vector<std::string>& known_;
  OrderedJson json_;
};

std::string place_of(const char* key, std::size_t i, std::size_t n) {
  return n == 1 ? fmt::format("the {}", key) : fmt::format("{} {}", key, i);
}

bool is_ids(const OrderedJson& value) {
  return value.is_array() && !value.empty() &&
         std::all_of(value.begin(), value.end(),
                     [](const OrderedJson& v) { return v.is_number_integer(); });
}

std::vector<std::int32_t> token_ids(const char* key, const OrderedJson& list,
                                    const ModelConfig& config) {
  std::vector<std::int32_t> ids;
  for (const OrderedJson& v : list) {
    const bool wide = v.is_number_unsigned() && v.get<std::uint64_t>() >> 31 != 0;
    const std::int64_t id = wide ? -1 : v.get<std::int64_t>();
    if (id < 0 || id >= config.vocab)
      refuse(key, fmt::format("{} has the token id {}; allowed: 0 to {}", key, brief(v),
                              config.vocab - 1));
    ids.push_back(static_cast<std::int32_t>(id));
  }
  return ids;
}

// A text, texts, token ids, or lists of them.
std::vector<ServedPrompt> read_prompts(const Body& body, const char* key, const ServedModel& m,
                                       bool begins) {
  if (!body.has(key)) refuse(key, fmt::format("{} is missing", key));
  const OrderedJson& value = body.at(key);
  OrderedJson list = OrderedJson::array();
  if (value.is_string() || is_ids(value))
    list.push_back(value);
  else if (value.is_array())
    list = value;
  const bool fits = std::all_of(list.begin(), list.end(),
                                [](const OrderedJson& v) { return v.is_string() || is_ids(v); });
  if (list.empty() || !fits)
    body.wrong(key, "a text, a list of texts, a list of token ids or a list of such lists");
  std::vector<ServedPrompt> prompts;
  for (std::size_t i = 0; i < list.size(); ++i) {
    ServedPrompt& p = prompts.emplace_back();
    const std::string what = place_of(key, i, list.size());
    if (!list[i].is_string()) {
      p.ids = token_ids(key, list[i], m.config);
      p.text = m.tokenizer.decode(p.ids, true);
      continue;
    }
    p.text = list[i].get<std::string>();
    about(key, [&] {
      p.ids =
          begins ? prompt_ids(m.tokenizer, m.config, p.text, what) : m.tokenizer.encode(p.text).ids;
    });
    if (p.ids.empty()) refuse(key, fmt::format("{} is empty", what));
  }
  return prompts;
}

// Contents in parts are joined, as templates for text want them.
OrderedJson read_messages(const Body& body) {
  if (!body.has("messages")) refuse("messages", "messages is missing");
  OrderedJson messages = body.at("messages");
  if (!messages.is_array() || messages.empty()) body.wrong("messages", "a list of messages");
  for (std::size_t i = 0; i < messages.size(); ++i) {
    OrderedJson& m = messages[i];
    const std::string what = fmt::format("messages[{}]", i);
    if (!m.is_object() || !m.contains("role") || !m["role"].is_string())
      refuse("messages", fmt::format("{} is {}; it must have a role", what, brief(m)));
    if (!m.contains("content") || m["content"].is_null()) {
      m["content"] = "";
      continue;
    }
    if (m["content"].is_string()) continue;
    std::string text;
    const bool fits =
        m["content"].is_array() &&
        std::all_of(m["content"].begin(), m["content"].end(), [&](const OrderedJson& part) {
          if (!part.is_object() || part.value("type", "") != "text" || !part.contains("text") ||
              !part["text"].is_string())
            return false;
          text += part["text"].get<std::string>();
          return true;
        });
    if (!fits)
      refuse("messages",
             fmt::format("{} has the content {}; it must be a text, or a list of parts of the type "
                         "text",
                         what, brief(m["content"])));
    m["content"] = text;
  }
  return messages;
}

ServedPrompt read_conversation(const Body& body, const ServedModel& m) {
  const OrderedJson messages = read_messages(body);
  if (!m.chat_template)
    refuse("messages", fmt::format("{} has no chat template; allowed: /v1/completions", m.name),
           "no_chat_template");
  ServedPrompt p;
  about("messages", [&] { p.ids = chat_ids(m.tokenizer, *m.chat_template, messages); });
  if (p.ids.empty()) refuse("messages", "the chat template makes no prompt of the messages");
  for (const std::int32_t id : p.ids)
    if (id >= m.config.vocab)
      refuse("messages", fmt::format("the messages have the token '{}' with id {}, but the model's "
                                     "vocabulary holds 0 to {}",
                                     made_utf8(m.tokenizer.token(id)), id, m.config.vocab - 1));
  return p;
}

std::vector<std::string> read_stop(const Body& body) {
  if (!body.has("stop")) return {};
  const OrderedJson& value = body.at("stop");
  std::vector<std::string> all;
  if (value.is_string()) all.push_back(value.get<std::string>());
  if (value.is_array())
    for (const OrderedJson& v : value) {
      if (!v.is_string()) body.wrong("stop", "a text or a list of texts");
      all.push_back(v.get<std::string>());
    }
  if (!value.is_string() && !value.is_array()) body.wrong("stop", "a text or a list of texts");
  for (const std::string& s : all)
    if (s.empty()) refuse("stop", "stop has an empty text; each must hold a character or more");
  return all;
}

// The number of new tokens at most: of chats as many as there is room for.
std::optional<std::int64_t> read_max_tokens(const Body& body, ServedRoute route) {
  const Integers allowed = {route == ServedRoute::completions ? 0 : 1};
  const bool chat = route == ServedRoute::chat;
  if (chat && body.has("max_completion_tokens"))
    return body.whole("max_completion_tokens", allowed);
  return body.whole("max_tokens", allowed);
}

void read_logprobs(const Body& body, ServedRequest& r) {
  if (r.route == ServedRoute::completions) {
    r.n_logprobs = body.whole("logprobs", {0, kMostLogprobs}).value_or(-1);
    return;
  }
  const auto top = body.whole("top_logprobs", {0, kMostLogprobs});
  if (body.yes("logprobs"))
    r.n_logprobs = top.value_or(0);
  else if (top && *top > 0)
    refuse("top_logprobs", fmt::format("top_logprobs is {}, which needs logprobs", *top));
}

// The options of weft generate that the parameters stand for. Sampling unless the temperature is 0;
// of all tokens unless the model's file or the request says otherwise.
GenerationOptions read_options(const Body& body, const ServedModel& m, const GenerationFile& file) {
  GenerationOptions o;
  const auto or_file = [](const auto& given, const auto& files, auto otherwise) {
    return given ? *given : files.value_or(otherwise);
  };
  o.do_sample = true;
  o.temperature = or_file(body.real("temperature", {0, 1e6}), file.options.temperature, double{1});
  o.top_p = or_file(body.real("top_p", {0, 1}), file.options.top_p, double{1});
  o.min_p = body.real("min_p", {0, 1});
  const auto top_k = body.whole("top_k", {-1});
  o.top_k = std::max<std::int64_t>(or_file(top_k, file.options.top_k, std::int64_t{0}), 0);
  o.repetition_penalty = body.real("repetition_penalty", {1e-6, 1e6});
  o.min_new_tokens = body.whole("min_tokens", {0});
  o.seed = body.whole("seed", kAnyInteger).value_or(m.seed);
  o.ignore_eos = body.yes("ignore_eos");
  o.stop = read_stop(body);
  o.num_return_sequences = o.num_beams = 1;
  return o;
}

// A chosen temperature of 0 is greedy here as everywhere; more than one text then is the same
// again.
void check_n(const Body& body, const ServedRequest& r, const Generation& g) {
  if (r.n > 1 && !g.do_sample)
    refuse("n", fmt::format("n is {}; allowed: 1 where temperature is 0, since there is one "
                            "likeliest text",
                            r.n));
  const auto best_of = body.whole("best_of", {1, kMostChoices});
  if (best_of && *best_of != r.n)
    refuse("best_of", fmt::format("best_of is {}; allowed: n, {}", *best_of, r.n));
}

std::vector<std::int32_t> read_stop_ids(const Body& body, const ModelConfig& config) {
  if (!body.has("stop_token_ids")) return {};
  const OrderedJson& list = body.at("stop_token_ids");
  if (list.is_array() && list.empty()) return {};
  if (!is_ids(list)) body.wrong("stop_token_ids", "a list of token ids");
  return token_ids("stop_token_ids", list, config);
}

// Of single tokens, beside what the model's file biases.
std::vector<SequenceBias> read_biases(const Body& body, const ModelConfig& config) {
  constexpr double kMost = 100;
  std::vector<SequenceBias> biases;
  if (!body.has("logit_bias")) return biases;
  const OrderedJson& given = body.at("logit_bias");
  if (!given.is_object()) body.wrong("logit_bias", "an object of token ids and biases");
  for (const auto& [key, value] : given.items()) {
    std::int64_t id = -1;
    const auto [end, error] = std::from_chars(key.data(), key.data() + key.size(), id);
    if (error != std::errc() || end != key.data() + key.size() || id < 0 || id >= config.vocab)
      refuse("logit_bias", fmt::format("logit_bias has the token id '{}'; allowed: 0 to {}",
                                       made_utf8(key), config.vocab - 1));
    const bool fits = value.is_number() && std::abs(value.get<double>()) <= kMost;
    if (!fits)
      refuse("logit_bias", fmt::format("logit_bias of {} is {}; allowed: -{} to {}", id,
                                       brief(value), kMost, kMost));
    biases.push_back({{static_cast<std::int32_t>(id)}, value.get<float>()});
  }
  return biases;
}

void read_generation(const Body& body, const ServedModel& m, ServedRequest& r) {
  const bool chat = r.route == ServedRoute::chat;
  const GenerationFile& file = chat ? m.chat_file : m.file;
  r.n = body.whole("n", {1, kMostChoices}).value_or(1);
  r.stream = body.yes("stream");
  r.echo = !chat && body.yes("echo");
  r.seeded = body.has("seed");
  if (body.has("stream_options")) {
    if (!body.at("stream_options").is_object()) body.wrong("stream_options", "an object");
    const OrderedJson& o = body.at("stream_options");
    r.include_usage = o.contains("include_usage") && o["include_usage"] == true;
  }
  read_logprobs(body, r);
  GenerationOptions o = read_options(body, m, file);
  const std::optional<std::int64_t> max_tokens = read_max_tokens(body, r.route);
  r.generates = max_tokens != 0;
  const std::vector<std::int32_t> stop_ids = read_stop_ids(body, m.config);
  const std::vector<SequenceBias> biases = read_biases(body, m.config);
  constexpr Reals kPenalties = {-2, 2};
  const double presence = body.real("presence_penalty", kPenalties).value_or(0),
               frequency = body.real("frequency_penalty", kPenalties).value_or(0);
  for (std::size_t i = 0; i < r.prompts.size(); ++i) {
    const auto n_tokens = static_cast<std::int64_t>(r.prompts[i].ids.size());
    const std::int64_t context = m.config.context, room = context - n_tokens;
    const std::string what = place_of(chat ? "conversation" : "prompt", i, r.prompts.size());
    const char* of_length = max_tokens ? "max_tokens" : chat ? "messages" : "prompt";
    const std::int64_t most = max_tokens.value_or(
        std::min(chat ? context : kDefaultTokens, std::max<std::int64_t>(room, 1)));
    if (most > room)
      refuse(of_length,
             fmt::format("{} has {} tokens and {} new ones are asked for, but the model's context "
                         "holds {}",
                         what, n_tokens, most, context),
             "context_length_exceeded");
    o.max_new_tokens = std::max<std::int64_t>(most, 1);
    const PromptPlace place = {.what = what,
                               .n_tokens = r.generates ? n_tokens : 0,
                               .context = context,
                               .vocab = m.config.vocab};
    Generation g = about(chat ? "messages" : "prompt",
                         [&] { return resolve_generation(o, {}, file, place, &m.tokenizer); });
    g.max_time.reset();  // the server's --request-timeout instead
    g.logprobs = r.n_logprobs >= 0;
    g.eos.insert(g.eos.end(), stop_ids.begin(), stop_ids.end());
    g.sequence_bias.insert(g.sequence_bias.end(), biases.begin(), biases.end());
    g.presence_penalty = presence;
    g.frequency_penalty = frequency;
    check_n(body, r, g);
    r.options.push_back(std::move(g));
  }
}

void read_vectors(const Body& body, const ServedModel& m, ServedRequest& r) {
  r.generates = false;
  const std::string format = body.text("encoding_format");
  if (!format.empty() && format != "float" && format != "base64")
    body.wrong("encoding_format", "float or base64");
  r.base64 = format == "base64";
  if (const auto d = body.whole("dimensions", {1}); d && *d != m.config.width)
    refuse("dimensions",
           fmt::format("dimensions is {}; allowed: {}, the model's width", *d, m.config.width));
  for (std::size_t i = 0; i < r.prompts.size(); ++i)
    if (const std::size_t n = r.prompts[i].ids.size();
        static_cast<std::int64_t>(n) > m.config.context)
      refuse("input",
             fmt::format("{} has {} tokens, but the model's context holds {}",
                         place_of("input", i, r.prompts.size()), n, m.config.context),
             "context_length_exceeded");
}

}  // namespace

ServedRequest read_request(ServedRoute route, const std::string& text, const ServedModel& model,
                           const std::vector<std::vector<std::int32_t>>* ids) {
  const Body body(route, text);
  if (const std::string asked = body.text("model");
      !asked.empty() && asked != model.name && !model.any_name)
    throw RequestRefused({.status = 404,
                          .message = fmt::format("the model '{}' does not exist; allowed: '{}'",
                                                 in_message(asked), model.name),
                          .param = "model",
                          .code = "model_not_found"});
  ServedRequest r;
  r.route = route;
  if (ids)
    for (const auto& own : *ids) r.prompts.push_back({.text = "", .ids = own});
  else if (route == ServedRoute::chat)
    r.prompts.push_back(read_conversation(body, model));
  else if (route == ServedRoute::completions)
    r.prompts = read_prompts(body, "prompt", model, true);
  else
    r.prompts = read_prompts(body, "input", model, false);
  if (route == ServedRoute::embeddings)
    read_vectors(body, model, r);
  else
    read_generation(body, model, r);
  return r;
}

}  // namespace weft

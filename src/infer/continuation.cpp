#include "infer/continuation.h"

#include <algorithm>

#include "core/check.h"
#include "core/utf8.h"

namespace weft {

std::vector<std::int32_t> prompt_ids(const Tokenizer& tokenizer, const ModelConfig& config,
                                     const std::string& prompt, const std::string& what) {
  std::vector<std::int32_t> ids = tokenizer.encode(prompt).ids;
  for (const std::int32_t id : ids)
    CHECK_USER(id >= 0 && id < config.vocab,
               "{} has the token '{}' with id {}, but the model's vocabulary holds 0 to {}", what,
               made_utf8(tokenizer.token(id)), id, config.vocab - 1);
  if (!ids.empty()) return ids;
  const bool own = config.bos_id >= 0;
  const std::int32_t begin = own ? config.bos_id : tokenizer.eos_id().value_or(-1);
  CHECK_USER(begin >= 0, "{} is empty, and the model has no begin token to start from", what);
  CHECK_USER(begin < config.vocab,
             "{} is empty, and the {} that it would start from is {}, but the model's vocabulary "
             "holds 0 to {}",
             what, own ? "bos_token_id" : "end token", begin, config.vocab - 1);
  return {begin};
}

std::string continuation_text(const Tokenizer& tokenizer, const std::vector<std::int32_t>& prompt,
                              const std::vector<std::int32_t>& ids) {
  std::vector<std::int32_t> all = prompt;
  all.insert(all.end(), ids.begin(), ids.end());
  const std::string before = tokenizer.decode(prompt, true), whole = tokenizer.decode(all, true);
  return whole.substr(std::min(before.size(), whole.size()));
}

bool ends_in_stop(std::string& tail, std::string_view token, const std::vector<std::string>& stop) {
  std::size_t longest = 0;
  for (const std::string& s : stop) longest = std::max(longest, s.size());
  const std::size_t before = tail.size();
  tail += token;
  const bool hit =
      !token.empty() && std::any_of(stop.begin(), stop.end(), [&](const std::string& s) {
        const std::size_t from = before + 1 > s.size()
                                     ? before + 1 - s.size()
                                     : 0;  // one that starts earlier ends before the token
        return tail.find(s, from) != std::string::npos;
      });
  if (tail.size() > longest) tail.erase(0, tail.size() - longest);
  return hit;
}

Continuation begin_continuation(const std::vector<std::int32_t>& prompt, const Generation& g,
                                const Tokenizer* tokenizer) {
  Continuation c = {.ids = prompt, .logprobs = {}, .tail = ""};
  if (g.stop.empty()) return c;
  CHECK(tokenizer, "stop strings need a tokenizer");
  for (std::int32_t id : prompt) ends_in_stop(c.tail, tokenizer->token_bytes(id), g.stop);
  return c;
}

std::string append_token(Continuation& c, std::int32_t id, float logprob, const Generation& g,
                         std::int64_t n_prompt, const Tokenizer* tokenizer, double elapsed_s) {
  c.ids.push_back(id);
  if (g.logprobs) c.logprobs.push_back(logprob);
  const bool stops = !g.stop.empty() && ends_in_stop(c.tail, tokenizer->token_bytes(id), g.stop);
  if (std::find(g.eos.begin(), g.eos.end(), id) != g.eos.end()) return "eos";
  if (stops) return "stop";
  if (static_cast<std::int64_t>(c.ids.size()) - n_prompt >= g.max_new_tokens) return "length";
  return g.max_time && elapsed_s >= *g.max_time ? "time" : "";
}

}  // namespace weft

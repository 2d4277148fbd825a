#include "infer/continuation.h"

#include <algorithm>

#include "core/check.h"

namespace weft {

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

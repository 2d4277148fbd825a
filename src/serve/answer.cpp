#include "serve/answer.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "core/utf8.h"

namespace weft {
namespace {

OrderedJson number_or_null(float x) {
  return std::isfinite(x) ? OrderedJson(x) : OrderedJson(nullptr);
}

OrderedJson text_or_null(const std::string& text) {
  return text.empty() ? OrderedJson(nullptr) : OrderedJson(text);
}

// The engine's eos and stop are both the client's "stop"; what has run out of time has its length.
OrderedJson finish_reason(const std::string& finish) {
  if (finish.empty()) return nullptr;
  return finish == "eos" || finish == "stop" ? "stop" : "length";
}

OrderedJson usage_json(const AnswerUsage& u) {
  return {{"prompt_tokens", u.prompt_tokens},
          {"completion_tokens", u.completion_tokens},
          {"total_tokens", u.prompt_tokens + u.completion_tokens}};
}

std::size_t longest_of(const std::vector<std::string>& stop) {
  std::size_t longest = 0;
  for (const std::string& s : stop) longest = std::max(longest, s.size());
  return longest;
}

// Bytes at the text's end with which a stop text may begin.
std::size_t begun_stop(std::string_view text, const std::vector<std::string>& stop) {
  std::size_t most = 0;
  for (const std::string& s : stop)
    for (std::size_t n = std::min(s.size() - 1, text.size()); n > most; --n)
      if (text.ends_with(std::string_view(s).substr(0, n))) most = n;
  return most;
}

}  // namespace

ChoiceText::ChoiceText(const Tokenizer& tokenizer, const ServedPrompt& prompt,
                       std::vector<std::string> stop)
    : decoder_(tokenizer), stop_(std::move(stop)) {
  const std::string before = tokenizer.decode(prompt.ids, true);
  of_prompt_ = before.size();
  for (const std::int32_t id : prompt.ids) {
    const std::size_t given = decoder_.push(id).size();
    of_prompt_ -= std::min(given, of_prompt_);
  }
  const std::size_t longest = longest_of(stop_);
  if (longest > 1) buffer_ = before.substr(before.size() - std::min(before.size(), longest - 1));
  new_ = sent_ = buffer_.size();
}

std::string ChoiceText::push(std::int32_t id) { return take(decoder_.push(id), false); }

std::string ChoiceText::finish() { return take(decoder_.finish(), true); }

// A stop text ends within the continuation, wherever it began, as in the engine.
std::string ChoiceText::take(const std::string& piece, bool last) {
  const std::size_t drop = std::min(of_prompt_, piece.size());
  of_prompt_ -= drop;
  if (stopped_) return "";
  buffer_ += piece.substr(drop);
  std::size_t end = buffer_.size() - (last ? 0 : begun_stop(buffer_, stop_));
  for (const std::string& s : stop_) {
    const std::size_t at = buffer_.find(s, new_ + 1 > s.size() ? new_ + 1 - s.size() : 0);
    if (at == std::string::npos) continue;
    stopped_ = true;
    end = std::min(end, at);
  }
  std::string out;
  if (end > sent_) {
    out = buffer_.substr(sent_, end - sent_);
    sent_ = end;
  }
  // What no stop text can reach any more goes.
  const std::size_t longest = longest_of(stop_), keep = std::max<std::size_t>(longest, 1) - 1;
  if (sent_ > 4096 + keep) {
    const std::size_t gone = sent_ - keep;
    buffer_.erase(0, gone);
    sent_ -= gone;
    new_ -= std::min(new_, gone);
  }
  return out;
}

AnswerForms::AnswerForms(const ServedRequest& request, const Tokenizer& tokenizer, AnswerHead head)
    : request_(request), tokenizer_(tokenizer), head_(std::move(head)) {}

OrderedJson AnswerForms::object(const char* kind) const {
  return {{"id", head_.id}, {"object", kind}, {"created", head_.created}, {"model", head_.model}};
}

OrderedJson AnswerForms::whole(const std::vector<ChoicePart>& choices,
                               const AnswerUsage& usage) const {
  OrderedJson answer =
      object(request_.route == ServedRoute::chat ? "chat.completion" : "text_completion");
  answer["choices"] = OrderedJson::array();
  for (const ChoicePart& part : choices) answer["choices"].push_back(choice(part, false));
  answer["usage"] = usage_json(usage);
  return answer;
}

OrderedJson AnswerForms::begin_event(std::size_t index) const {
  OrderedJson answer = object("chat.completion.chunk");
  answer["choices"] = OrderedJson::array({{{"index", index},
                                           {"delta", {{"role", "assistant"}, {"content", ""}}},
                                           {"logprobs", nullptr},
                                           {"finish_reason", nullptr}}});
  return answer;
}

OrderedJson AnswerForms::event(const ChoicePart& part) const {
  OrderedJson answer =
      object(request_.route == ServedRoute::chat ? "chat.completion.chunk" : "text_completion");
  answer["choices"] = OrderedJson::array({choice(part, true)});
  return answer;
}

OrderedJson AnswerForms::usage_event(const AnswerUsage& usage) const {
  OrderedJson answer =
      object(request_.route == ServedRoute::chat ? "chat.completion.chunk" : "text_completion");
  answer["choices"] = OrderedJson::array();
  answer["usage"] = usage_json(usage);
  return answer;
}

OrderedJson AnswerForms::choice(const ChoicePart& part, bool event) const {
  OrderedJson c = {{"index", part.index}};
  const std::string text = made_utf8(part.text);
  if (request_.route == ServedRoute::completions)
    c["text"] = text;
  else if (event)
    c["delta"] = part.finish.empty() || !text.empty() ? OrderedJson{{"content", text}}
                                                      : OrderedJson::object();
  else
    c["message"] = {{"role", "assistant"}, {"content", text}};
  c["logprobs"] = logprobs(part);
  c["finish_reason"] = finish_reason(part.finish);
  return c;
}

OrderedJson AnswerForms::logprobs(const ChoicePart& part) const {
  if (request_.n_logprobs < 0) return nullptr;
  return request_.route == ServedRoute::chat ? chat_logprobs(part) : completion_logprobs(part);
}

std::string AnswerForms::token(std::int32_t id) const {
  return made_utf8(tokenizer_.token_bytes(id));
}

// Beside the likeliest tokens stands the chosen one; of two that look alike the likelier.
OrderedJson AnswerForms::completion_logprobs(const ChoicePart& part) const {
  OrderedJson tokens = OrderedJson::array(), own = OrderedJson::array(), top = OrderedJson::array(),
              offsets = OrderedJson::array();
  std::int64_t offset = part.text_offset;
  for (const TokenLogprob& t : part.logprobs) {
    const std::string text = token(t.id);
    tokens.push_back(text);
    own.push_back(number_or_null(t.logprob));
    OrderedJson likeliest = OrderedJson::object();
    for (const auto& [id, logprob] : t.top)
      if (const std::string name = token(id); !likeliest.contains(name))
        likeliest[name] = number_or_null(logprob);
    if (!likeliest.contains(text)) likeliest[text] = number_or_null(t.logprob);
    top.push_back(std::isnan(t.logprob) ? OrderedJson(nullptr) : likeliest);
    offsets.push_back(offset);
    offset += n_characters(text);
  }
  return {
      {"text_offset", offsets}, {"token_logprobs", own}, {"tokens", tokens}, {"top_logprobs", top}};
}

OrderedJson AnswerForms::chat_logprobs(const ChoicePart& part) const {
  const auto entry = [&](std::int32_t id, float logprob) {
    OrderedJson bytes = OrderedJson::array();
    for (const char c : tokenizer_.token_bytes(id))
      bytes.push_back(static_cast<unsigned>(static_cast<unsigned char>(c)));
    return OrderedJson{
        {"token", token(id)}, {"logprob", number_or_null(logprob)}, {"bytes", bytes}};
  };
  OrderedJson content = OrderedJson::array();
  for (const TokenLogprob& t : part.logprobs) {
    OrderedJson one = entry(t.id, t.logprob), top = OrderedJson::array();
    for (const auto& [id, logprob] : t.top) top.push_back(entry(id, logprob));
    one["top_logprobs"] = top;
    content.push_back(one);
  }
  return {{"content", content}};
}

OrderedJson embeddings_answer(const ServedRequest& request, const std::string& model,
                              const std::vector<std::vector<float>>& vectors) {
  OrderedJson data = OrderedJson::array();
  AnswerUsage usage;
  for (std::size_t i = 0; i < vectors.size(); ++i) {
    const std::span<const float> x = vectors[i];
    OrderedJson vector = x;
    if (request.base64) vector = base64({reinterpret_cast<const char*>(x.data()), x.size_bytes()});
    data.push_back({{"object", "embedding"}, {"index", i}, {"embedding", vector}});
    usage.prompt_tokens += static_cast<std::int64_t>(request.prompts[i].ids.size());
  }
  return {
      {"object", "list"},
      {"data", data},
      {"model", model},
      {"usage", {{"prompt_tokens", usage.prompt_tokens}, {"total_tokens", usage.prompt_tokens}}}};
}

OrderedJson models_answer(const std::string& model, std::int64_t context, std::int64_t created) {
  OrderedJson one = {{"id", model},
                     {"object", "model"},
                     {"created", created},
                     {"owned_by", "weft"},
                     {"max_model_len", context}};
  return {{"object", "list"}, {"data", OrderedJson::array({one})}};
}

OrderedJson error_answer(const HttpError& e) {
  return {{"error",
           {{"message", made_utf8(e.message)},
            {"type", e.type},
            {"param", text_or_null(e.param)},
            {"code", text_or_null(e.code)}}}};
}

std::string server_sent_event(const OrderedJson& data) {
  return "data: " + json_text(data) + "\n\n";
}

std::string base64(std::string_view bytes) {
  constexpr const char* kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::size_t n = std::min<std::size_t>(3, bytes.size() - i);
    std::uint32_t three = 0;
    for (std::size_t k = 0; k < 3; ++k)
      three = three << 8 | (k < n ? static_cast<unsigned char>(bytes[i + k]) : 0u);
    for (std::size_t k = 0; k < 4; ++k) out += k <= n ? kDigits[three >> (18 - 6 * k) & 63u] : '=';
  }
  return out;
}

std::int64_t n_characters(std::string_view utf8) {
  return std::count_if(utf8.begin(), utf8.end(),
                       [](char c) { return (static_cast<unsigned char>(c) & 0xC0u) != 0x80; });
}

}  // namespace weft

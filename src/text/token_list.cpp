#include "text/token_list.h"

#include "core/check.h"
#include "text/json_values.h"

namespace weft {

bool is_token_id(const Json& value) {
  const bool fits = value.is_number_integer() &&
                    (!value.is_number_unsigned() ||
                     value.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxTokenId));
  return fits && value.get<std::int64_t>() >= 0 && value.get<std::int64_t>() <= kMaxTokenId;
}

TokenList TokenList::from_map(const Json& vocab, const std::string& origin) {
  CHECK_USER(vocab.is_object(), "{}: model.vocab is not an object of tokens and ids", origin);
  TokenList list;
  list.ids_.reserve(vocab.size());
  for (const auto& [token, id] : vocab.items()) {
    CHECK_USER(is_token_id(id), "{}: token '{}' has id {}; allowed: 0 to {}", origin,
               in_message(token), brief(id, 40), kMaxTokenId);
    const auto at = id.get<std::size_t>();
    if (at >= list.tokens_.size()) {
      list.tokens_.resize(at + 1);
      list.used_.resize(at + 1);
    }
    CHECK_USER(!list.used_[at], "{}: tokens '{}' and '{}' both have id {}", origin,
               in_message(list.tokens_[at]), in_message(token), at);
    list.tokens_[at] = token;
    list.used_[at] = true;
    list.ids_.emplace(token, static_cast<std::int32_t>(at));
  }
  return list;
}

void TokenList::push_back(std::string token) {
  ids_[token] = static_cast<std::int32_t>(tokens_.size());
  tokens_.push_back(std::move(token));
  used_.push_back(true);
}

std::optional<std::int32_t> TokenList::find(std::string_view token) const {
  const auto found = ids_.find(token);
  return found == ids_.end() ? std::nullopt : std::optional(found->second);
}

OrderedJson TokenList::to_map() const {
  // Pushed in one go: an ordered object looks through all of its keys for each one that is set by
  // name.
  OrderedJson::object_t map;
  map.reserve(tokens_.size());
  for (std::size_t id = 0; id < tokens_.size(); ++id)
    if (used_[id]) map.emplace_back(tokens_[id], id);
  return OrderedJson(std::move(map));
}

std::string model_string(const Json& model, const char* key, const std::string& otherwise,
                         const std::string& origin) {
  const auto found = model.find(key);
  if (found == model.end()) return otherwise;
  CHECK_USER(found->is_string(), "{}: model.{} is {}; allowed: a string", origin, key,
             found->dump().substr(0, 60));
  return found->get<std::string>();
}

}  // namespace weft

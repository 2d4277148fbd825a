#include "text/files/tokenizer_json.h"

#include "core/check.h"
#include "text/json_values.h"

namespace weft {
namespace {

// By id, with what stands beside the file. Tokens of the model are reused.
std::vector<AddedToken> read_added_tokens(Tokenizer::Impl& t, const Json& list,
                                          const std::string& origin, const Companions* companions) {
  CHECK_USER(list.is_null() || list.is_array(), "{}: added_tokens is not a list", origin);
  AddedTokenList added(t.model->tokens(), origin);
  for (const Json& entry : list) added.put(read_added_token(entry, -1, origin), origin);
  if (companions)
    for (const auto& [role, content] : put_companions(added, *companions))
      t.special_tokens[role] = content;
  return added.tokens();
}

// What this program adds to the format: what else stands in files beside tokenizer.json.
void read_weft(Tokenizer::Impl& t, const Json& weft) {
  if (!weft.is_object()) return;
  for (const char* role : kSpecialRoles)
    if (weft.contains(role) && weft[role].is_string())
      t.special_tokens[role] = weft[role].get<std::string>();
  const Json templates = weft.value("chat_templates", Json::object());
  if (templates.is_object())
    for (const auto& [name, text] : templates.items())
      if (text.is_string()) t.chat_templates[name] = text.get<std::string>();
  t.clean_up = weft.value("clean_up_tokenization_spaces", Json(false)) == true;
}

}  // namespace

std::shared_ptr<Tokenizer::Impl> parse_tokenizer(const Json& json, const std::string& origin,
                                                 const Companions* companions) {
  auto t = std::make_shared<Tokenizer::Impl>();
  // A value of a type that a part of it does not expect is told by the part's name, not by the JSON
  // library's words.
  const Json absent;
  const auto read = [&](const char* key, const auto& put) {
    const auto at = json.find(key);  // no copy: a vocabulary is megabytes
    try {
      put(at == json.end() ? absent : *at);
    } catch (const Json::exception&) {
      user_error("{}: {} holds a value of a wrong type or one too large", origin, key);
    }
  };
  read("model", [&](const Json& part) { t->model = read_token_model(part, origin); });
  read("normalizer", [&](const Json& part) { t->normalizer = read_normalizer(part, origin); });
  read("pre_tokenizer",
       [&](const Json& part) { t->pre_tokenizer = read_pre_tokenizer(part, origin); });
  read("post_processor",
       [&](const Json& part) { t->post_processor = read_post_processor(part, origin); });
  read("decoder", [&](const Json& part) { t->decoder = read_token_decoder(part, origin); });
  read("weft", [&](const Json& part) { read_weft(*t, part); });
  read("added_tokens", [&](const Json& part) {
    t->added = AddedTokens(read_added_tokens(*t, part, origin, companions), t->normalizer.get());
  });
  read("truncation", [&](const Json& part) { t->truncation = read_truncation(part, origin); });
  read("padding", [&](const Json& part) { t->padding = read_padding(part, origin); });
  return t;
}

}  // namespace weft

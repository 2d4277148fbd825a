#include "text/files/companions.h"

#include <algorithm>
#include <charconv>
#include <set>

#include "core/check.h"
#include "io/files.h"
#include "text/json_values.h"
#include "text/token_list.h"
#include "text/tokenizer_impl.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

Json read_if_there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error) ? read_json_object(file) : Json::object();
}

// A special token as a text, or with flags. AddedToken's own default for `normalized`: special ones
// are not.
std::optional<AddedToken> read_token(const Json& value, const std::string& key,
                                     const std::string& file) {
  if (value.is_null() || (value.is_string() && value.get_ref<const std::string&>().empty()))
    return std::nullopt;
  if (value.is_string()) return AddedToken{.content = value.get<std::string>()};
  CHECK_USER(value.is_object(), "{}: {} is {}; allowed: a text, an added token, null", file, key,
             in_message(json_text(value)));
  AddedToken token = read_added_token(value, 0, file + ": " + key);
  token.special = true;
  return token;
}

bool is_role(const std::string& key) {
  return std::find(std::begin(kSpecialRoles), std::end(kSpecialRoles), key) !=
         std::end(kSpecialRoles);
}

// Tokens without a role: a list, or an object of names and tokens.
template <class AnyJson>
void read_extra(const AnyJson& value, const std::string& key, const std::string& file,
                std::vector<AddedToken>& out) {
  if (value.is_null()) return;
  CHECK_USER(value.is_array() || value.is_object(), "{}: {} is {}; allowed: a list of tokens", file,
             key, in_message(json_text(value)));
  for (const auto& entry : value)
    if (const auto token = read_token(parse_json(json_text(entry)), key, file))
      out.push_back(*token);
}

struct SpecialTokens {
  std::map<std::string, std::optional<AddedToken>> roles;
  std::vector<AddedToken> named;   // by keys of their own, such as image_token
  std::vector<AddedToken> listed;  // extra_special_tokens
};

template <class AnyJson>
bool names_a_token(const std::string& key, const AnyJson& value) {
  return key.ends_with("_token") && !is_role(key) && (value.is_string() || value.is_object());
}

void read_special_tokens(const Json& json, const std::string& file, SpecialTokens& out) {
  constexpr const char *kExtra = "extra_special_tokens", *kOlder = "additional_special_tokens";
  const Json extra = json.value(kExtra, Json());
  bool has_names = extra.is_object();
  for (const auto& [key, value] : json.items()) {
    if (is_role(key)) out.roles[key] = read_token(value, key, file);
    has_names = has_names || names_a_token(key, value);
  }
  if (has_names) {  // which get their ids in the order of the file
    const OrderedJson ordered = parse_ordered_json(read_text_file(file));
    for (const auto& [key, value] : ordered.items())
      if (names_a_token(key, value)) read_extra(OrderedJson::array({value}), key, file, out.named);
    if (extra.is_object()) read_extra(ordered[kExtra], kExtra, file, out.named);
  }
  if (!extra.is_object()) read_extra(extra, kExtra, file, out.listed);
  if (json.contains(kOlder) && out.listed.empty())
    read_extra(json[kOlder], kOlder, file, out.listed);
}

std::int32_t id_of_key(const std::string& key, const std::string& file) {
  std::int64_t number = -1;
  const auto [end, bad] = std::from_chars(key.data(), key.data() + key.size(), number);
  CHECK_USER(
      bad == std::errc() && end == key.data() + key.size() && number >= 0 && number <= kMaxTokenId,
      "{}: added_tokens_decoder has id '{}'; allowed: 0 to {}", file, in_message(key), kMaxTokenId);
  return static_cast<std::int32_t>(number);
}

std::vector<AddedToken> read_added_tokens_decoder(const Json& json, const std::string& file) {
  CHECK_USER(json.is_object(), "{}: added_tokens_decoder is {}; allowed: an object of ids", file,
             in_message(json_text(json)));
  std::vector<AddedToken> out;
  for (const auto& [key, entry] : json.items()) {
    AddedToken token = read_added_token(entry, id_of_key(key, file),
                                        file + ": added_tokens_decoder: " + in_message(key));
    if (!entry.contains("normalized")) token.normalized = !token.special;
    out.push_back(std::move(token));
  }
  std::sort(out.begin(), out.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return out;
}

// {"text": id}: without flags; those of a special token are not normalized.
std::vector<AddedToken> read_added_tokens_file(const Json& json, const std::string& file,
                                               const std::set<std::string>& special) {
  std::vector<AddedToken> out;
  for (const auto& [content, id] : json.items()) {
    CHECK_USER(is_token_id(id) && !content.empty(), "{}: token '{}' has id {}; allowed: 0 to {}",
               file, in_message(content), in_message(json_text(id)), kMaxTokenId);
    const bool is_special = special.contains(content);
    out.push_back({.id = id.get<std::int32_t>(),
                   .content = content,
                   .special = is_special,
                   .normalized = !is_special});
  }
  std::sort(out.begin(), out.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return out;
}

// The classes that AutoTokenizer has for config.json's model_type, of the families that we run.
// "-": none of their own (TokenizersBackend). Of `wrong` ones the published tokenizer_config.json
// names another, which is not believed.
struct ModelClass {
  const char *model_type, *name;
  bool wrong = false;
};
constexpr ModelClass kModelClasses[] = {{"gpt2", "GPT2Tokenizer"},
                                        {"gpt_neox", "GPTNeoXTokenizer"},
                                        {"gemma", "GemmaTokenizer"},
                                        {"gemma2", "GemmaTokenizer"},
                                        {"gemma3", "GemmaTokenizer"},
                                        {"mistral", "-"},
                                        {"gemma3_text", "GemmaTokenizer"},
                                        {"phi3", "-", true},
                                        {"bert", "BertTokenizer"},
                                        {"qwen2", "Qwen2Tokenizer", true},
                                        {"distilbert", "BertTokenizer"},
                                        {"esm", "EsmTokenizer"},
                                        {"roberta", "RobertaTokenizer"},
                                        {"xlm-roberta", "XLMRobertaTokenizer"},
                                        {"t5", "T5Tokenizer"}};

std::string without_fast(std::string name) {
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name == "PreTrainedTokenizer" || name == "TokenizersBackend" || name == "PythonBackend"
             ? "-"
             : name;
}

// AutoTokenizer.from_pretrained's choice.
std::string class_of(const Json& config, const std::string& config_file, const Json& model,
                     const std::string& model_file) {
  std::string named = JsonReader(config, config_file).string("tokenizer_class", "");
  if (named.empty()) named = JsonReader(model, model_file).string("tokenizer_class", "");
  named = without_fast(named);
  const std::string type = JsonReader(model, model_file).string("model_type", "");
  const auto known = std::find_if(std::begin(kModelClasses), std::end(kModelClasses),
                                  [&](const ModelClass& c) { return type == c.model_type; });
  std::string chosen = named;
  if (known != std::end(kModelClasses) && named != known->name)
    chosen = named.empty() || known->wrong     ? known->name
             : std::string("-") == known->name ? "-"
                                               : named;
  return chosen == "-" ? "" : chosen;
}

}  // namespace

std::string Companions::role(const char* name, const std::string& otherwise) const {
  const auto given = roles.find(name);
  if (given == roles.end()) return otherwise;
  return given->second ? given->second->content : "";
}

bool Companions::flag(const char* name, bool otherwise) const {
  return JsonReader(config, config_file).boolean(name, otherwise);
}

Companions read_companions(const fs::path& dir) {
  Companions c;
  c.dir = dir;
  c.config_file = (dir / "tokenizer_config.json").string();
  c.config = read_if_there(c.config_file);
  const std::string model_file = (dir / "config.json").string(),
                    map_file = (dir / "special_tokens_map.json").string(),
                    ids_file = (dir / "added_tokens.json").string();
  c.model = read_if_there(model_file);
  c.class_name = class_of(c.config, c.config_file, c.model, model_file);
  c.class_is_named = JsonReader(c.config, c.config_file).has("tokenizer_class") ||
                     JsonReader(c.model, model_file).has("tokenizer_class");
  SpecialTokens special;
  read_special_tokens(c.config, c.config_file, special);
  const Json map = read_if_there(map_file), ids = read_if_there(ids_file);
  const bool has_decoder = c.config.contains("added_tokens_decoder");
  SpecialTokens of_map;
  read_special_tokens(map, map_file, of_map);
  if (has_decoder) {
    for (const auto& [role, token] : of_map.roles)
      if (token && !special.roles.contains(role)) c.roles_of_map[role] = token->content;
  } else {
    for (const auto& [role, token] : of_map.roles) special.roles[role] = token;
    special.named.insert(special.named.end(), of_map.named.begin(), of_map.named.end());
    std::vector<AddedToken>& list =
        map.contains("extra_special_tokens") ? special.listed : c.additional;
    list.insert(list.end(), of_map.listed.begin(), of_map.listed.end());
  }
  std::set<std::string> contents;
  for (const auto& [role, token] : special.roles)
    if (token) contents.insert(token->content);
  for (const auto* list : {&special.listed, &c.additional})
    for (const AddedToken& token : *list) contents.insert(token.content);
  std::vector<AddedToken> of_ids = read_added_tokens_file(ids, ids_file, contents);
  if (has_decoder) {
    c.added = read_added_tokens_decoder(c.config["added_tokens_decoder"], c.config_file);
    c.added_file = c.config_file;
    c.known = std::move(of_ids);
  } else {
    c.added = std::move(of_ids);
    c.added_file = ids_file;
  }
  c.roles = std::move(special.roles);
  for (auto& [role, token] : c.roles)
    for (const AddedToken& added : c.added)
      if (token && added.content == token->content) token = added;
  c.extra = std::move(special.named);
  c.extra.insert(c.extra.end(), special.listed.begin(), special.listed.end());
  return c;
}

std::map<std::string, std::string> put_companions(
    AddedTokenList& list, const Companions& companions,
    const std::vector<std::pair<const char*, std::string>>& defaults) {
  std::map<std::string, std::optional<AddedToken>> roles;
  for (const auto& [role, content] : defaults) roles[role] = AddedToken{.content = content};
  for (const auto& [role, token] : companions.roles) roles[role] = token;
  std::map<std::string, std::string> contents;
  std::set<std::string> special;
  for (const auto& [role, token] : roles)
    if (token) special.insert(contents[role] = token->content);

  const bool by_decoder = companions.config.contains("added_tokens_decoder");
  for (AddedToken token : companions.added) {
    if (!by_decoder && list.contains(token.content)) {  // tokenizer.json knows more of it
      list.check(token, companions.added_file);
      continue;
    }
    if (list.has_equal(token)) continue;
    token.special = token.special || special.contains(token.content);
    list.put(std::move(token), companions.added_file);
  }
  for (const AddedToken& token : companions.known)
    list.check(token, (companions.dir / "added_tokens.json").string());
  for (const char* role : kSpecialRoles)
    if (const auto given = roles.find(role); given != roles.end() && given->second) {
      AddedToken token = *given->second;
      token.special = true;
      list.put_anywhere(std::move(token), companions.config_file);
    }
  for (const auto* others : {&companions.extra, &companions.additional})
    for (const AddedToken& token : *others) list.put_anywhere(token, companions.config_file);
  for (const auto& [role, content] : companions.roles_of_map)
    if (list.knows(content)) contents.try_emplace(role, content);
  return contents;
}

Json begin_end_template(const Companions& companions, AddedTokenList& list,
                        const std::map<std::string, std::string>& roles) {
  const auto token_if = [&](const char* flag, const char* role) {
    const auto found = roles.find(role);
    return companions.flag(flag, false) && found != roles.end() ? found->second : "";
  };
  const std::string bos = token_if("add_bos_token", "bos_token"),
                    eos = token_if("add_eos_token", "eos_token");
  if (bos.empty() && eos.empty()) return nullptr;
  Json single = Json::array(), pair = Json::array(), tokens = Json::object();
  const auto put = [&](Json& parts, const std::string& token, int type) {
    if (token.empty()) return;
    parts.push_back({{"SpecialToken", {{"id", token}, {"type_id", type}}}});
    tokens[token] = {{"id", token},
                     {"ids", Json::array({list.put_anywhere({.content = token}, "")})},
                     {"tokens", Json::array({token})}};
  };
  const auto put_text = [&](Json& parts, const char* name, int type) {
    put(parts, bos, type);
    parts.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    put(parts, eos, type);
  };
  put_text(single, "A", 0);
  put_text(pair, "A", 0);
  put_text(pair, "B", 1);
  return {{"type", "TemplateProcessing"},
          {"single", single},
          {"pair", pair},
          {"special_tokens", tokens}};
}

}  // namespace weft

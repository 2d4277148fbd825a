// Tokenizers from and to one tokenizer.json.
#include <algorithm>

#include "core/check.h"
#include "core/rng.h"
#include "text/files/companions.h"
#include "text/json_values.h"
#include "text/tokenizer_impl.h"

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

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& origin) {
  Json json;
  try {
    json = parse_json(text);
  } catch (const Json::exception&) {  // said below
  }
  CHECK_USER(json.is_object(), "{}: the tokenizer is not valid JSON", origin);
  auto t = parse_tokenizer(json, origin);
  t->finish(origin);
  return Tokenizer(t);
}

namespace {

std::string dump(const OrderedJson& json) {
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

OrderedJson part_or_null(const auto& part) { return part ? part->to_json() : OrderedJson(); }

OrderedJson describe(const Tokenizer::Impl& t) {
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = to_json(t.truncation);
  json["padding"] = to_json(t.padding);
  json["added_tokens"] = OrderedJson::array();
  for (const AddedToken& token : t.added.tokens()) json["added_tokens"].push_back(to_json(token));
  json["normalizer"] = part_or_null(t.normalizer);
  json["pre_tokenizer"] = part_or_null(t.pre_tokenizer);
  json["post_processor"] = part_or_null(t.post_processor);
  json["decoder"] = part_or_null(t.decoder);
  json["model"] = t.model->to_json();
  return json;
}

// A template of the bare texts, as transformers 5 writes it into GPT-2's tokenizer.json.
bool adds_nothing(const OrderedJson& post) {
  const auto text = [](const char* id, int type) {
    return Json{{"Sequence", {{"id", id}, {"type_id", type}}}};
  };
  const Json json = Json::parse(post.dump());
  if (!json.is_object()) return true;
  if (json.value("type", "") == "ByteLevel") return true;
  return json.value("type", "") == "TemplateProcessing" &&
         json.value("single", Json()) == Json::array({text("A", 0)}) &&
         json.value("pair", Json()) == Json::array({text("A", 0), text("B", 1)});
}

}  // namespace

std::string Tokenizer::to_json() const {
  const Impl& t = *impl_;
  OrderedJson json = describe(t);
  OrderedJson weft = OrderedJson::object();
  for (const auto& [role, content] : t.special_tokens) weft[role] = content;
  if (const auto eos = eos_id(); eos && !weft.contains("eos_token"))
    weft["eos_token"] = token(*eos);
  for (const auto& [name, text] : t.chat_templates) weft["chat_templates"][name] = text;
  if (t.clean_up) weft["clean_up_tokenization_spaces"] = true;
  if (!weft.empty()) json["weft"] = std::move(weft);
  return dump(json);
}

// Of what decides about ids and texts, in the form that stands for all files that mean the same.
// Token files keep this number: its form for byte-level and character tokenizers must stay as it
// is.
std::string Tokenizer::hash() const {
  const Impl& t = *impl_;
  OrderedJson json = describe(t);
  json["truncation"] = json["padding"] = nullptr;
  if (!t.normalizer) {  // then the flag matters only where some tokens have it and some do not
    const auto is_normalized = [](const AddedToken& a) { return a.normalized; };
    const auto& added = t.added.tokens();
    if (std::all_of(added.begin(), added.end(), is_normalized))
      for (OrderedJson& token : json["added_tokens"]) token["normalized"] = false;
  }
  const OrderedJson level = {{"type", "ByteLevel"},
                             {"add_prefix_space", true},
                             {"trim_offsets", true},
                             {"use_regex", true}};
  OrderedJson& pre = json["pre_tokenizer"];
  const bool plain_bytes = t.bytes && pre["type"] == "ByteLevel";
  if (plain_bytes) pre["trim_offsets"] = true;
  if (adds_nothing(json["post_processor"])) {
    json["post_processor"] = nullptr;
    if (plain_bytes)
      json["post_processor"] = {{"type", "ByteLevel"},
                                {"add_prefix_space", true},
                                {"trim_offsets", false},
                                {"use_regex", true}};
  }
  if (json["decoder"].is_object() && json["decoder"]["type"] == "ByteLevel")
    json["decoder"] = plain_bytes ? pre : level;
  if (t.bytes || t.characters) {  // no text needs an unknown token, since every byte has one
    json["model"]["unk_token"] = nullptr;
    json["model"]["fuse_unk"] = false;
    OrderedJson vocab = OrderedJson::object();
    auto& entries =
        static_cast<OrderedJson::object_t::Container&>(vocab.get_ref<OrderedJson::object_t&>());
    for (std::size_t i = 0; i < t.tokens.size(); ++i)
      if (!t.tokens[i].empty()) entries.emplace_back(t.tokens[i], i);
    json["model"]["vocab"] = std::move(vocab);
  }
  if (const auto eos = eos_id()) json["weft"] = {{"eos_token", token(*eos)}};
  const std::string text = dump(json);
  std::uint64_t a = 1, b = 2;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<std::uint8_t>(text[i]);
    a = mix64(a ^ byte);
    b = mix64(b + byte + i);
  }
  return fmt::format("{:016x}{:016x}", a, b);
}

}  // namespace weft

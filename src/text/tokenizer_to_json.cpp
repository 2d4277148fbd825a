// A tokenizer as the canonical tokenizer.json, and the hash of what it means.
#include <fmt/format.h>

#include <algorithm>

#include "core/rng.h"
#include "text/tokenizer_impl.h"

namespace weft {
namespace {

std::string dump(const OrderedJson& json) { return json_text(json); }

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
  const Json json = parse_json(json_text(post));
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

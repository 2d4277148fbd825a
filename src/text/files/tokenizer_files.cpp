#include "text/files/tokenizer_files.h"

#include <algorithm>

#include "core/check.h"
#include "io/files.h"
#include "io/weights/gguf.h"
#include "text/files/companions.h"
#include "text/files/gguf_tokenizer.h"
#include "text/files/sentencepiece_tokenizer.h"
#include "text/files/tokenizer_json.h"
#include "text/files/vocabulary_files.h"
#include "text/token_list.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

bool is_there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error);
}

// A string, or a list of {"name", "template"}.
void read_chat_template(Tokenizer::Impl& t, const Json& value, const std::string& origin) {
  if (value.is_null()) return;
  if (value.is_string()) {
    t.chat_templates["default"] = value.get<std::string>();
    return;
  }
  CHECK_USER(value.is_array(),
             "{}: chat_template is {}; allowed: a string, a list of names and templates", origin,
             value.type_name());
  for (const Json& entry : value) {
    CHECK_USER(entry.is_object(), "{}: chat_template has an entry without a name", origin);
    const JsonReader reader(entry, origin + ": chat_template");
    CHECK_USER(reader.has("name") && reader.has("template"),
               "{}: chat_template has an entry without a name or a template", origin);
    t.chat_templates[reader.string("name", "")] = reader.string("template", "");
  }
}

void read_config(Tokenizer::Impl& t, const Json& config, const std::string& origin) {
  t.clean_up =
      t.clean_up || JsonReader(config, origin).boolean("clean_up_tokenization_spaces", false);
  read_chat_template(t, config.value("chat_template", Json()), origin);
}

// What stands beside the vocabulary, apart from tokens and their roles.
void read_rest(Tokenizer::Impl& t, const Companions& companions) {
  read_config(t, companions.config, companions.config_file);
  if (const fs::path file = companions.dir / "chat_template.jinja"; is_there(file))
    t.chat_templates["default"] = read_text_file(file);
}

// A tokenizer that names no end token ends texts as config.json beside it says: eos_token_id, a
// number or a list. (transformers' own generate() takes it from there too.)
void end_as_the_model(Tokenizer::Impl& t, const Json& model) {
  const Json eos = model.value("eos_token_id", Json());
  for (const Json& id : eos.is_array() ? eos : Json::array({eos})) {
    if (!is_token_id(id) || id.get<std::size_t>() >= t.tokens.size()) continue;
    const std::string& token = t.tokens[id.get<std::size_t>()];
    if (!token.empty() && t.ids.contains(token)) t.special_tokens.try_emplace("eos_token", token);
  }
}

bool has_vocabulary(const fs::path& dir) {
  return (is_there(dir / "vocab.json") && is_there(dir / "merges.txt")) ||
         is_there(dir / "vocab.txt");
}

}  // namespace

bool has_tokenizer(const fs::path& path) {
  if (GgufReader::is_gguf(path))
    return GgufReader(path).metadata().contains("tokenizer.ggml.model");
  return is_there(path / "tokenizer.json") || has_vocabulary(path) ||
         is_there(path / "tokenizer.model");
}

Tokenizer load_tokenizer(const fs::path& path) {
  std::error_code error;
  const bool is_dir = fs::is_directory(path, error);
  const fs::path dir = is_dir ? path : path.parent_path();
  std::shared_ptr<Tokenizer::Impl> t;
  std::string origin = path.string();
  if (!is_dir && GgufReader::is_gguf(path)) {
    const GgufReader file(path);
    return reading_json(origin, [&] {
      t = parse_tokenizer(tokenizer_json_of_gguf(file.metadata(), origin), origin);
      const Json config = tokenizer_config_of_gguf(file.metadata(), origin);
      for (const char* role : kSpecialRoles)
        if (config.contains(role)) t->special_tokens[role] = config[role].get<std::string>();
      read_config(*t, config, origin);
      t->finish(origin);
      return Tokenizer(t);
    });
  }
  const Companions companions = read_companions(dir);
  if (!is_dir || is_there(dir / "tokenizer.json")) {
    const fs::path file = is_dir ? dir / "tokenizer.json" : path;
    origin = file.string();
    t = parse_tokenizer(read_json_object(file), origin, &companions);
  } else if (has_vocabulary(dir)) {
    origin = is_there(dir / "vocab.json") && is_there(dir / "merges.txt")
                 ? (dir / "vocab.json").string() + " and merges.txt"
                 : (dir / "vocab.txt").string();
    t = parse_tokenizer(
        reading_json(origin, [&] { return tokenizer_json_of_vocabulary(companions); }), origin);
  } else {
    CHECK_USER(is_there(dir / "tokenizer.model"),
               "{}: has no tokenizer (neither tokenizer.json nor vocab.json and merges.txt, "
               "vocab.txt or tokenizer.model); name one with --tokenizer",
               path.string());
    origin = (dir / "tokenizer.model").string();
    t = parse_tokenizer(tokenizer_json_of_sentencepiece(dir / "tokenizer.model", companions),
                        origin);
  }
  reading_json(path.string(), [&] { read_rest(*t, companions); });
  t->finish(origin);
  if (!Tokenizer(t).eos_id()) end_as_the_model(*t, companions.model);
  return Tokenizer(t);
}

Tokenizer tokenizer_from_json(std::string_view text, const std::string& origin) {
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

// For the class that would read the vocabulary without tokenizer.json.
void describe_class(const Tokenizer::Impl& t, OrderedJson& config) {
  const OrderedJson pre = t.pre_tokenizer ? t.pre_tokenizer->to_json() : OrderedJson();
  if (pre.is_object() && pre["type"] == "ByteLevel")
    config["add_prefix_space"] = pre["add_prefix_space"];
  const OrderedJson normalizer = t.normalizer ? t.normalizer->to_json() : OrderedJson();
  if (!normalizer.is_object() || normalizer["type"] != "BertNormalizer") return;
  config["do_lower_case"] = normalizer["lowercase"];
  config["strip_accents"] = normalizer["strip_accents"];
  config["tokenize_chinese_chars"] = normalizer["handle_chinese_chars"];
}

}  // namespace

void save_tokenizer(const Tokenizer& tokenizer, const fs::path& dir) {
  const Tokenizer::Impl& t = tokenizer.impl();
  make_folder(dir);
  OrderedJson json = parse_ordered_json(tokenizer.to_json());
  json.erase("weft");  // Hugging Face keeps these in tokenizer_config.json
  write_file_atomically(dir / "tokenizer.json", json_text(json, 1) + "\n");
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"},
                        {"clean_up_tokenization_spaces", t.clean_up}},
              map = OrderedJson::object();
  for (const auto& [role, content] : t.special_tokens) config[role] = map[role] = content;
  // GPT-2's end token is its first and its unknown token too.
  if (const auto eos = tokenizer.eos_id(); eos && (t.bytes || t.characters))
    for (const char* role : {"bos_token", "eos_token", "unk_token"})
      if (!map.contains(role)) config[role] = map[role] = tokenizer.token(*eos);
  describe_class(t, config);
  OrderedJson by_id = OrderedJson::object();
  for (const AddedToken& added : t.added.tokens()) {
    OrderedJson entry = to_json(added);
    entry.erase("id");
    static_cast<OrderedJson::object_t::Container&>(by_id.get_ref<OrderedJson::object_t&>())
        .emplace_back(std::to_string(added.id), std::move(entry));
  }
  config["added_tokens_decoder"] = std::move(by_id);
  if (t.chat_templates.size() == 1 && t.chat_templates.contains("default")) {
    config["chat_template"] = t.chat_templates.at("default");
  } else if (!t.chat_templates.empty()) {
    for (const auto& [name, text] : t.chat_templates)
      config["chat_template"].push_back({{"name", name}, {"template", text}});
  }
  const auto as_text = [](const OrderedJson& value) { return json_text(value, 2) + "\n"; };
  write_file_atomically(dir / "tokenizer_config.json", as_text(config));
  write_file_atomically(dir / "special_tokens_map.json", as_text(map));
  if (t.bytes) {
    write_file_atomically(dir / "vocab.json", json_text(json["model"]["vocab"]));
    std::string merges = "#version: 0.2\n";
    for (const auto& [left, right] : t.bytes->merges()) merges += left + " " + right + "\n";
    write_file_atomically(dir / "merges.txt", merges);
  }
  if (t.model->kind() == "WordPiece") {
    std::string lines;
    for (const std::string& token : t.tokens) lines += token + "\n";
    write_file_atomically(dir / "vocab.txt", lines);
  }
}

}  // namespace weft

// Tokenizers from and to files: tokenizer.json, or GPT-2's vocab.json + merges.txt.
#include <algorithm>
#include <charconv>
#include <sstream>

#include "core/check.h"
#include "io/json.h"
#include "text/tokenizer_impl.h"

namespace weft {
namespace {

constexpr std::int64_t kMaxId = 1 << 26;

std::string type_of(const Json& object) {
  return object.is_object() && object.contains("type") && object["type"].is_string() ? object["type"].get<std::string>() : object.dump().substr(0, 60);
}

void set_token(Tokenizer::Impl& t, const std::string& token, const Json& id, const std::string& origin) {
  CHECK_USER(id.is_number_unsigned() && id.get<std::uint64_t>() < kMaxId, "{}: token '{}' has id {}; allowed: 0 to {}", origin, token, id.dump().substr(0, 40),
             kMaxId - 1);
  const auto at = id.get<std::size_t>();
  if (at >= t.tokens.size()) t.tokens.resize(at + 1);
  CHECK_USER(t.tokens[at].empty(), "{}: tokens '{}' and '{}' both have id {}", origin, t.tokens[at], token, at);
  t.tokens[at] = token;
}

void read_vocab(Tokenizer::Impl& t, const Json& vocab, const std::string& origin) {
  CHECK_USER(vocab.is_object(), "{}: the vocabulary is not an object of tokens and ids", origin);
  for (const auto& [token, id] : vocab.items()) set_token(t, token, id, origin);
}

void add_merge(Tokenizer::Impl& t, const std::string& line, const std::string& origin) {
  const std::size_t space = line.find(' ');
  CHECK_USER(space != std::string::npos && space > 0 && space + 1 < line.size(), "{}: the merge '{}' is not two tokens", origin, line.substr(0, 60));
  t.merges.emplace_back(line.substr(0, space), line.substr(space + 1));
}

void read_model(Tokenizer::Impl& t, const Json& model, const std::string& origin) {
  CHECK_USER(model.is_object(), "{}: has no model", origin);
  const std::string type = model.value("type", "BPE");
  CHECK_USER(type == "BPE", "{}: model type {} is not supported; allowed: BPE", origin, type);
  // unk_token may be any: no text needs it, since every byte has a token.
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json value = model.value(key, Json());
    CHECK_USER(value.is_null() || value == "", "{}: model.{} is {}; not supported, only null is", origin, key, value.dump());
  }
  const Json dropout = model.value("dropout", Json());
  CHECK_USER(dropout.is_null() || dropout == 0.0, "{}: model.dropout is {}; not supported, only null is", origin, dropout.dump());
  CHECK_USER(model.contains("vocab"), "{}: model.vocab is missing", origin);
  read_vocab(t, model["vocab"], origin);
  const Json merges = model.value("merges", Json::array());
  CHECK_USER(merges.is_array(), "{}: model.merges is not a list", origin);
  for (const Json& merge : merges) {
    if (merge.is_string()) {
      add_merge(t, merge.get<std::string>(), origin);
    } else {
      CHECK_USER(merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string(), "{}: the merge {} is not two tokens", origin,
                 merge.dump().substr(0, 60));
      t.merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    }
  }
  t.ignore_merges = model.value("ignore_merges", false);
}

void add_token(Tokenizer::Impl& t, AddedToken token, const std::string& origin) {
  CHECK_USER(!token.content.empty(), "{}: an added token has no content", origin);
  if (static_cast<std::size_t>(token.id) < t.tokens.size()) {
    const std::string& there = t.tokens[static_cast<std::size_t>(token.id)];
    CHECK_USER(there.empty() || there == token.content, "{}: added token '{}' has id {}, which is '{}' in the vocabulary", origin, token.content, token.id, there);
  }
  for (const AddedToken& other : t.added) {
    if (other.id == token.id && other.content == token.content) return;  // told twice, by two files
    CHECK_USER(other.id != token.id && other.content != token.content, "{}: added tokens '{}' (id {}) and '{}' (id {}) are in each other's way", origin,
               other.content, other.id, token.content, token.id);
  }
  t.added.push_back(std::move(token));
}

AddedToken read_added_token(const Json& entry, std::int64_t id, const std::string& origin) {
  const JsonReader reader(entry, origin + ": added_tokens");
  CHECK_USER(entry.is_object() && entry.contains("content") && entry["content"].is_string(), "{}: an added token has no content", origin);
  const auto content = entry["content"].get<std::string>();
  for (const char* flag : {"lstrip", "rstrip", "single_word"})
    CHECK_USER(!reader.boolean(flag, false), "{}: added token '{}' has {}: true; not supported yet", origin, content, flag);
  if (id < 0) id = reader.integer("id", 0, kMaxId - 1);
  return {static_cast<std::int32_t>(id), content, reader.boolean("special", false), reader.boolean("normalized", false)};
}

void read_added(Tokenizer::Impl& t, const Json& added, const std::string& origin) {
  CHECK_USER(added.is_null() || added.is_array(), "{}: added_tokens is not a list", origin);
  for (const Json& entry : added) add_token(t, read_added_token(entry, -1, origin), origin);
}

// "allowed" is told with what was found, so that a reader of the error knows which tokenizers this weft runs.
void check_decoder(const Json& decoder, TokenizerKind kind, const std::string& origin) {
  if (kind == TokenizerKind::byte_level) {
    CHECK_USER(decoder.is_object() && type_of(decoder) == "ByteLevel", "{}: decoder {} is not supported; allowed: ByteLevel", origin, type_of(decoder));
    return;
  }
  const bool is_sequence = decoder.is_object() && type_of(decoder) == "Sequence" && decoder.contains("decoders");
  CHECK_USER(is_sequence, "{}: decoder {} is not supported; allowed for characters: Sequence of ByteFallback and Fuse", origin, type_of(decoder));
  std::string found;
  for (const Json& part : decoder["decoders"]) found += (found.empty() ? "" : ", ") + type_of(part);
  CHECK_USER(found == "ByteFallback, Fuse", "{}: decoder Sequence of {} is not supported; allowed for characters: Sequence of ByteFallback and Fuse", origin,
             found);
}

// A template of the bare texts, as transformers 5 writes it into GPT-2's tokenizer.json.
bool adds_nothing(const Json& post) {
  const auto text = [](const char* id, int type) { return Json{{"Sequence", {{"id", id}, {"type_id", type}}}}; };
  return type_of(post) == "TemplateProcessing" && post.value("single", Json()) == Json::array({text("A", 0)}) &&
         post.value("pair", Json()) == Json::array({text("A", 0), text("B", 1)});
}

// The pre-tokenizer, normalizer and decoder say which of the two kinds this is.
void read_kind(Tokenizer::Impl& t, const Json& json, const std::string& origin) {
  const Json normalizer = json.value("normalizer", Json()), pre = json.value("pre_tokenizer", Json()), post = json.value("post_processor", Json());
  CHECK_USER(normalizer.is_null(), "{}: normalizer {} is not supported; allowed: null", origin, type_of(normalizer));
  const Json model = json.value("model", Json::object());
  if (pre.is_null()) {
    CHECK_USER(model.is_object() && model.value("byte_fallback", false) && model.value("merges", Json::array()).empty(),
               "{}: without a pre-tokenizer only character vocabularies (byte_fallback true, no merges) are supported", origin);
    t.kind = TokenizerKind::characters;
  } else {
    CHECK_USER(type_of(pre) == "ByteLevel", "{}: pre_tokenizer {} is not supported; allowed: ByteLevel, null", origin, type_of(pre));
    CHECK_USER(pre.value("use_regex", true), "{}: pre_tokenizer.use_regex is false; allowed: true", origin);
    CHECK_USER(!model.is_object() || !model.value("byte_fallback", false), "{}: model.byte_fallback is true beside ByteLevel; allowed: false", origin);
    t.add_prefix_space = pre.value("add_prefix_space", true);
  }
  check_decoder(json.value("decoder", Json()), t.kind, origin);
  CHECK_USER(post.is_null() || type_of(post) == "ByteLevel" || adds_nothing(post),
             "{}: post_processor {} is not supported; allowed: ByteLevel, TemplateProcessing without special tokens, null", origin, type_of(post));
}

std::shared_ptr<Tokenizer::Impl> parse(const Json& json, const std::string& origin) {
  auto t = std::make_shared<Tokenizer::Impl>();
  try {
    read_kind(*t, json, origin);
    read_model(*t, json.value("model", Json()), origin);
    read_added(*t, json.value("added_tokens", Json()), origin);
  } catch (const Json::exception& error) {
    user_error("{}: is not a tokenizer.json ({})", origin, error.what());
  }
  const Json weft = json.value("weft", Json());
  if (weft.is_object() && weft.contains("eos_token") && weft["eos_token"].is_string()) t->eos = weft["eos_token"].get<std::string>();
  return t;
}

// "eos_token" is a string or an added-token object.
std::string special_content(const Json& object, const char* key) {
  if (!object.is_object() || !object.contains(key)) return "";
  const Json& value = object[key];
  if (value.is_string()) return value.get<std::string>();
  return value.is_object() && value.contains("content") && value["content"].is_string() ? value["content"].get<std::string>() : "";
}

// What the class that Hugging Face builds from vocab.json and merges.txt takes from tokenizer_config.json and added_tokens.json.
void read_config(Tokenizer::Impl& t, const std::filesystem::path& dir) {
  std::error_code error;
  if (const auto file = dir / "added_tokens.json"; std::filesystem::exists(file, error)) {
    const Json list = read_json_object(file);
    for (const auto& [content, id] : list.items()) {
      CHECK_USER(id.is_number_unsigned() && id.get<std::uint64_t>() < kMaxId, "{}: token '{}' has id {}; allowed: 0 to {}", file.string(), content, id.dump(),
                 kMaxId - 1);
      add_token(t, {id.get<std::int32_t>(), content, false, false}, file.string());
    }
  }
  const auto file = dir / "tokenizer_config.json";
  if (!std::filesystem::exists(file, error)) return;
  const Json config = read_json_object(file);
  t.add_prefix_space = JsonReader(config, file.string()).boolean("add_prefix_space", false);
  const Json added = config.value("added_tokens_decoder", Json::object());
  CHECK_USER(added.is_object(), "{}: added_tokens_decoder is not an object of ids and tokens", file.string());
  for (const auto& [id, entry] : added.items()) {
    std::int64_t number = -1;
    const auto [end, bad] = std::from_chars(id.data(), id.data() + id.size(), number);
    CHECK_USER(bad == std::errc() && end == id.data() + id.size() && number >= 0 && number < kMaxId, "{}: added_tokens_decoder has id '{}'; allowed: 0 to {}",
               file.string(), id, kMaxId - 1);
    AddedToken token = read_added_token(entry, number, file.string());
    std::erase_if(t.added, [&](const AddedToken& other) { return other.id == token.id && other.content == token.content; });  // this file knows more
    add_token(t, std::move(token), file.string());
  }
}

// GPT-2's own files: no list of added tokens, so <|endoftext|> is known by name.
std::shared_ptr<Tokenizer::Impl> load_vocab_and_merges(const std::filesystem::path& dir) {
  auto t = std::make_shared<Tokenizer::Impl>();
  const std::string vocab_file = (dir / "vocab.json").string(), merges_file = (dir / "merges.txt").string();
  read_vocab(*t, read_json_object(vocab_file), vocab_file);
  std::istringstream lines(read_text_file(merges_file));
  std::string line;
  for (bool first = true; std::getline(lines, line); first = false) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (line.empty() || (first && line.starts_with("#version"))) continue;
    add_merge(*t, line, merges_file);
  }
  for (std::size_t i = 0; i < t->tokens.size(); ++i)
    if (t->tokens[i] == "<|endoftext|>") t->added.push_back({static_cast<std::int32_t>(i), t->tokens[i], true, false});
  read_config(*t, dir);
  std::sort(t->added.begin(), t->added.end(), [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  return t;
}

}  // namespace

bool Tokenizer::present(const std::filesystem::path& dir) {
  std::error_code error;
  return std::filesystem::exists(dir / "tokenizer.json", error) ||
         (std::filesystem::exists(dir / "vocab.json", error) && std::filesystem::exists(dir / "merges.txt", error));
}

Tokenizer Tokenizer::load(const std::filesystem::path& path) {
  std::error_code error;
  const bool is_dir = std::filesystem::is_directory(path, error);
  const std::filesystem::path dir = is_dir ? path : path.parent_path(), json = is_dir ? path / "tokenizer.json" : path;
  std::shared_ptr<Impl> t;
  std::string origin = json.string();
  if (!is_dir || std::filesystem::exists(json, error)) {
    t = parse(read_json_object(json), origin);
  } else {
    CHECK_USER(std::filesystem::exists(dir / "vocab.json", error) && std::filesystem::exists(dir / "merges.txt", error),
               "{}: has no tokenizer (neither tokenizer.json nor vocab.json and merges.txt); name one with --tokenizer", path.string());
    t = load_vocab_and_merges(dir);
    origin = (dir / "vocab.json").string() + " and merges.txt";
  }
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"})
    if (t->eos.empty() && std::filesystem::exists(dir / name, error)) t->eos = special_content(read_json_object(dir / name), "eos_token");
  t->finish(origin);
  return Tokenizer(t);
}

Tokenizer Tokenizer::from_json(std::string_view text, const std::string& origin) {
  Json json;
  try {
    json = parse_json(text);
  } catch (const Json::exception&) {  // said below
  }
  CHECK_USER(json.is_object(), "{}: the tokenizer is not valid JSON", origin);
  auto t = parse(json, origin);
  t->finish(origin);
  return Tokenizer(t);
}

std::string Tokenizer::to_json() const {
  const Impl& t = *impl_;
  const bool bytes = t.kind == TokenizerKind::byte_level;
  OrderedJson json;
  json["version"] = "1.0";
  json["truncation"] = nullptr;
  json["padding"] = nullptr;
  json["added_tokens"] = OrderedJson::array();
  // Without a normalizer the flag matters only where some tokens have it and some do not.
  const auto is_normalized = [](const AddedToken& a) { return a.normalized; };
  const bool mixed = std::any_of(t.added.begin(), t.added.end(), is_normalized) && !std::all_of(t.added.begin(), t.added.end(), is_normalized);
  for (const AddedToken& a : t.added)
    json["added_tokens"].push_back({{"id", a.id}, {"content", a.content}, {"single_word", false}, {"lstrip", false}, {"rstrip", false},
                                    {"normalized", mixed && a.normalized}, {"special", a.special}});
  json["normalizer"] = nullptr;
  if (bytes) {
    const OrderedJson level = {{"type", "ByteLevel"}, {"add_prefix_space", t.add_prefix_space}, {"trim_offsets", true}, {"use_regex", true}};
    json["pre_tokenizer"] = level;
    json["post_processor"] = {{"type", "ByteLevel"}, {"add_prefix_space", true}, {"trim_offsets", false}, {"use_regex", true}};
    json["decoder"] = level;
  } else {
    json["pre_tokenizer"] = nullptr;
    json["post_processor"] = nullptr;
    json["decoder"] = {{"type", "Sequence"}, {"decoders", {{{"type", "ByteFallback"}}, {{"type", "Fuse"}}}}};
  }
  OrderedJson model = {{"type", "BPE"}, {"dropout", nullptr}, {"unk_token", nullptr}, {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr}, {"fuse_unk", false}, {"byte_fallback", !bytes}, {"ignore_merges", t.ignore_merges}};
  model["vocab"] = OrderedJson::object();
  for (std::size_t i = 0; i < t.tokens.size(); ++i)
    if (!t.tokens[i].empty()) model["vocab"].get_ref<OrderedJson::object_t&>().emplace_back(t.tokens[i], i);
  model["merges"] = OrderedJson::array();
  for (const auto& [left, right] : t.merges) model["merges"].push_back(left + " " + right);
  json["model"] = std::move(model);
  if (const auto eos = eos_id()) json["weft"] = {{"eos_token", token(*eos)}};
  return json.dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
}

void Tokenizer::save(const std::filesystem::path& dir) const {
  make_folder(dir);
  OrderedJson json = OrderedJson::parse(to_json());
  json.erase("weft");  // Hugging Face keeps the end token in tokenizer_config.json
  write_file_atomically(dir / "tokenizer.json", json.dump(1) + "\n");
  const auto eos = eos_id();
  OrderedJson config = {{"tokenizer_class", "PreTrainedTokenizerFast"}, {"clean_up_tokenization_spaces", false}}, map = OrderedJson::object();
  if (eos)
    for (const char* key : {"bos_token", "eos_token", "unk_token"}) config[key] = map[key] = token(*eos);
  config["add_prefix_space"] = impl_->add_prefix_space;
  for (OrderedJson added : json["added_tokens"]) {
    const std::string id = added["id"].dump();
    added.erase("id");
    config["added_tokens_decoder"][id] = std::move(added);
  }
  write_file_atomically(dir / "tokenizer_config.json", config.dump(2) + "\n");
  write_file_atomically(dir / "special_tokens_map.json", map.dump(2) + "\n");
  if (impl_->kind != TokenizerKind::byte_level) return;
  write_file_atomically(dir / "vocab.json", json["model"]["vocab"].dump());
  std::string merges = "#version: 0.2\n";
  for (const auto& [left, right] : impl_->merges) merges += left + " " + right + "\n";
  write_file_atomically(dir / "merges.txt", merges);
}

}  // namespace weft

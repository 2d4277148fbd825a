// Directories without tokenizer.json: what Hugging Face's tokenizer classes make of vocab.json +
// merges.txt and of vocab.txt.
#include <charconv>
#include <sstream>

#include "core/check.h"
#include "text/token_list.h"
#include "text/tokenizer_impl.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

constexpr std::int64_t kMaxId = (1 << 24) - 1;

Json read_if_there(const fs::path& file) {
  std::error_code error;
  return fs::exists(file, error) ? read_json_object(file) : Json::object();
}

// Tokens beside the vocabulary's: of added_tokens.json, and of tokenizer_config.json, which knows
// more of them.
class AddedList {
 public:
  explicit AddedList(const Json& vocab) {
    for (const auto& [content, id] : vocab.items())
      if (id.is_number_integer()) vocab_.emplace(id.get<std::int64_t>(), content);
  }
  void put(AddedToken token, const std::string& file) {
    const auto own = vocab_.find(token.id);
    CHECK_USER(own == vocab_.end() || own->second == token.content,
               "{}: token '{}' has id {}, which is '{}' in the vocabulary", file, token.content,
               token.id, own->second);
    const auto [by_content, is_new] = ids_.emplace(token.content, token.id);
    CHECK_USER(by_content->second == token.id, "{}: token '{}' has two ids, {} and {}", file,
               token.content, by_content->second, token.id);
    const auto there = list_.find(token.id);
    CHECK_USER(there == list_.end() || !is_new, "{}: tokens '{}' and '{}' both have id {}", file,
               there->second.content, token.content, token.id);
    list_[token.id] = std::move(token);
  }
  void read(const fs::path& dir, const Json& config) {
    const std::string file = (dir / "added_tokens.json").string(),
                      config_file = (dir / "tokenizer_config.json").string();
    const Json list = read_if_there(file);
    for (const auto& [content, id] : list.items()) {
      CHECK_USER(
          id.is_number_unsigned() && id.get<std::uint64_t>() <= static_cast<std::uint64_t>(kMaxId),
          "{}: token '{}' has id {}; allowed: 0 to {}", file, content, id.dump().substr(0, 40),
          kMaxId);
      put({.id = id.get<std::int32_t>(), .content = content, .special = false}, file);
    }
    const Json added = config.value("added_tokens_decoder", Json::object());
    CHECK_USER(added.is_object(), "{}: added_tokens_decoder is not an object of ids and tokens",
               config_file);
    for (const auto& [id, entry] : added.items()) {
      std::int64_t number = -1;
      const auto [end, bad] = std::from_chars(id.data(), id.data() + id.size(), number);
      CHECK_USER(
          bad == std::errc() && end == id.data() + id.size() && number >= 0 && number <= kMaxId,
          "{}: added_tokens_decoder has id '{}'; allowed: 0 to {}", config_file, id.substr(0, 40),
          kMaxId);
      put(read_added_token(entry, number, config_file), config_file);
    }
  }
  Json json() const {
    Json out = Json::array();
    for (const auto& [id, token] : list_) out.push_back(Json::parse(to_json(token).dump()));
    return out;
  }

 private:
  std::map<std::int64_t, std::string> vocab_;
  std::map<std::string, std::int32_t> ids_;
  std::map<std::int32_t, AddedToken> list_;  // by id
};

std::string class_of_config(const Json& config, const fs::path& dir) {
  std::string name =
      JsonReader(config, (dir / "tokenizer_config.json").string()).string("tokenizer_class", "");
  if (name.ends_with("Fast")) name.resize(name.size() - 4);
  return name;
}

Json text_of(const char* id, int type) { return {{"Sequence", {{"id", id}, {"type_id", type}}}}; }
Json token_of(const std::string& content, int type) {
  return {{"SpecialToken", {{"id", content}, {"type_id", type}}}};
}

// "<cls> $A <eos>", and of a pair "<cls> $A <eos> $B <eos>".
Json template_of(const std::string& first, const std::string& last, const Json& vocab,
                 int second_type) {
  Json tokens = Json::object();
  for (const std::string& content : {first, last})
    tokens[content] = {{"id", content},
                       {"ids", Json::array({vocab[content]})},
                       {"tokens", Json::array({content})}};
  return {{"type", "TemplateProcessing"},
          {"single", Json::array({token_of(first, 0), text_of("A", 0), token_of(last, 0)})},
          {"pair", Json::array({token_of(first, 0), text_of("A", 0), token_of(last, 0),
                                text_of("B", second_type), token_of(last, second_type)})},
          {"special_tokens", tokens}};
}

// The special token of a role: its entry in tokenizer_config.json, else in special_tokens_map.json;
// a text, or an object with flags.
Json special_entry(const Json& config, const Json& map, const char* role, const char* otherwise) {
  for (const Json* json : {&config, &map}) {
    const Json value = json->value(role, Json());
    if (value.is_string() || (value.is_object() && value.value("content", Json()).is_string()))
      return value;
  }
  return otherwise;
}
std::string special_of(const Json& config, const Json& map, const char* role,
                       const char* otherwise) {
  const Json entry = special_entry(config, map, role, otherwise);
  return (entry.is_object() ? entry["content"] : entry).get<std::string>();
}

// GPT-2's class and those that are made as it is.
Json of_merges(const fs::path& dir, const Json& config) {
  const std::string vocab_file = (dir / "vocab.json").string(),
                    merges_file = (dir / "merges.txt").string(),
                    name = class_of_config(config, dir);
  CHECK_USER(name.empty() || name == "GPT2Tokenizer" || name == "PreTrainedTokenizer" ||
                 name == "Qwen2Tokenizer" || name == "RobertaTokenizer",
             "{}: tokenizer_class {} is not known with vocab.json and merges.txt alone; allowed: "
             "GPT2Tokenizer, Qwen2Tokenizer, RobertaTokenizer (or give a tokenizer.json)",
             (dir / "tokenizer_config.json").string(), name);
  const Json vocab = read_json_object(vocab_file);
  Json merges = Json::array();
  std::istringstream lines(read_text_file(merges_file));
  std::string line;
  for (bool first = true; std::getline(lines, line); first = false) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    if (!line.empty() && !(first && line.starts_with("#version"))) merges.push_back(line);
  }
  AddedList added(vocab);
  if (const auto end = vocab.find("<|endoftext|>"); end != vocab.end() && is_token_id(*end))
    added.put({.id = end->get<std::int32_t>(), .content = "<|endoftext|>"},
              vocab_file);  // known by name: these files have no list
  Json roles;               // RoBERTa's special tokens are in its vocabulary
  if (name == "RobertaTokenizer") {
    const Json map = read_if_there(dir / "special_tokens_map.json");
    constexpr std::pair<const char*, const char*> kUsual[] = {
        {"bos_token", "<s>"},    {"eos_token", "</s>"},  {"unk_token", "<unk>"},
        {"sep_token", "</s>"},   {"pad_token", "<pad>"}, {"cls_token", "<s>"},
        {"mask_token", "<mask>"}};
    for (const auto& [role, usual] : kUsual) {
      const std::string token = special_of(config, map, role, usual);
      if (const auto own = vocab.find(token); own != vocab.end() && is_token_id(*own)) {
        const Json entry = special_entry(config, map, role, usual);
        AddedToken as = {.id = own->get<std::int32_t>(), .content = token};
        if (entry.is_object()) as = read_added_token(entry, as.id, vocab_file);
        as.special = true;
        added.put(as, vocab_file);
        roles[role] = token;
      }
    }
    for (const auto& [role, usual] :
         {std::pair("cls_token", "<s>"), std::pair("sep_token", "</s>")})
      CHECK_USER(roles.contains(role), "{}: has no {}, which RobertaTokenizer needs", vocab_file,
                 special_of(config, map, role, usual));
  }
  added.read(dir, config);
  const bool prefix = JsonReader(config, (dir / "tokenizer_config.json").string())
                          .boolean("add_prefix_space", false);
  Json level = {{"type", "ByteLevel"},
                {"add_prefix_space", prefix},
                {"trim_offsets", true},
                {"use_regex", true}},
       pre = level, post = level, normalizer;
  post["trim_offsets"] = false;
  if (name == "Qwen2Tokenizer") {
    level["use_regex"] = false;
    normalizer = {{"type", "NFC"}};
    const char* regex =
        R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", regex}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    pre = {{"type", "Sequence"}, {"pretokenizers", Json::array({split, level})}};
  }
  if (name == "RobertaTokenizer") {
    const std::string cls = roles["cls_token"], sep = roles["sep_token"];
    post = {{"type", "RobertaProcessing"},
            {"sep", Json::array({sep, vocab[sep]})},
            {"cls", Json::array({cls, vocab[cls]})},
            {"trim_offsets", true},
            {"add_prefix_space", prefix}};
  }
  return {{"added_tokens", added.json()},
          {"normalizer", normalizer},
          {"pre_tokenizer", pre},
          {"post_processor", post},
          {"decoder", level},
          {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}}},
          {"weft", roles}};
}

// A token a line, by number; of equal lines the last counts.
Json vocab_of_lines(const fs::path& file) {
  Json vocab = Json::object();
  std::istringstream lines(read_text_file(file));
  std::string line;
  for (std::int64_t id = 0; std::getline(lines, line); ++id) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    CHECK_USER(id <= kMaxId, "{}: has more than {} lines", file.string(), kMaxId + 1);
    try {
      Json(line).dump();
    } catch (const Json::exception&) {
      user_error("{}: line {} is not UTF-8", file.string(), id + 1);
    }
    if (!line.empty()) vocab[line] = id;
  }
  return vocab;
}

// All of the vocabulary is cut out of the text as it is; what is left falls into words, each
// unknown. Python's white space has four control characters more.
Json of_esm(const fs::path& dir, const Json& config, const Json& vocab) {
  const Json map = read_if_there(dir / "special_tokens_map.json");
  const std::string cls = special_of(config, map, "cls_token", "<cls>"),
                    eos = special_of(config, map, "eos_token", "<eos>"),
                    unk = special_of(config, map, "unk_token", "<unk>"),
                    pad = special_of(config, map, "pad_token", "<pad>"),
                    mask = special_of(config, map, "mask_token", "<mask>");
  for (const std::string& token : {cls, eos, unk})
    CHECK_USER(vocab.contains(token), "{}: has no {}, which EsmTokenizer needs",
               (dir / "vocab.txt").string(), token);
  Json added = Json::array();
  for (const auto& [token, id] : vocab.items()) {
    const bool special =
        token == cls || token == eos || token == unk || token == pad || token == mask;
    added.push_back({{"id", id}, {"content", token}, {"special", special}, {"normalized", false}});
  }
  const Json separators = {{"type", "Split"},
                           {"pattern", {{"Regex", R"([\x1c-\x1f])"}}},
                           {"behavior", "Removed"},
                           {"invert", false}};
  const Json words = {{"type", "Sequence"},
                      {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, separators})}};
  return {{"added_tokens", added},
          {"pre_tokenizer", words},
          {"post_processor", template_of(cls, eos, vocab, 0)},
          {"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", unk}}},
          {"weft",
           {{"cls_token", cls},
            {"eos_token", eos},
            {"unk_token", unk},
            {"pad_token", pad},
            {"mask_token", mask}}}};
}

Json of_bert(const fs::path& dir, const Json& config, const Json& vocab) {
  const Json map = read_if_there(dir / "special_tokens_map.json");
  const std::string cls = special_of(config, map, "cls_token", "[CLS]"),
                    sep = special_of(config, map, "sep_token", "[SEP]"),
                    unk = special_of(config, map, "unk_token", "[UNK]"),
                    pad = special_of(config, map, "pad_token", "[PAD]"),
                    mask = special_of(config, map, "mask_token", "[MASK]");
  for (const std::string& token : {cls, sep, unk})
    CHECK_USER(vocab.contains(token), "{}: has no {}, which BertTokenizer needs",
               (dir / "vocab.txt").string(), token);
  AddedList added(vocab);
  for (const std::string& token : {pad, unk, cls, sep, mask})
    if (vocab.contains(token))
      added.put({.id = vocab[token].get<std::int32_t>(), .content = token},
                (dir / "vocab.txt").string());
  added.read(dir, config);
  const JsonReader reader(config, (dir / "tokenizer_config.json").string());
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", reader.boolean("tokenize_chinese_chars", true)},
                           {"strip_accents", config.value("strip_accents", Json())},
                           {"lowercase", reader.boolean("do_lower_case", true)}};
  return {{"added_tokens", added.json()},
          {"normalizer", normalizer},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", template_of(cls, sep, vocab, 1)},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"vocab", vocab},
            {"unk_token", unk},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100}}},
          {"weft",
           {{"cls_token", cls},
            {"sep_token", sep},
            {"unk_token", unk},
            {"pad_token", pad},
            {"mask_token", mask}}}};
}

}  // namespace

Json tokenizer_json_of_vocabulary(const fs::path& dir) {
  const Json config = read_if_there(dir / "tokenizer_config.json");
  std::error_code error;
  if (fs::exists(dir / "vocab.json", error) && fs::exists(dir / "merges.txt", error))
    return of_merges(dir, config);
  const Json vocab = vocab_of_lines(dir / "vocab.txt");
  const std::string name = class_of_config(config, dir);
  const bool esm = name == "EsmTokenizer" ||
                   (name.empty() && vocab.contains("<cls>") && !vocab.contains("[CLS]"));
  return esm ? of_esm(dir, config, vocab) : of_bert(dir, config, vocab);
}

}  // namespace weft

#include "text/files/vocabulary_files.h"

#include <algorithm>
#include <sstream>

#include "core/check.h"
#include "core/utf8.h"
#include "io/files.h"
#include "text/characters/unicode.h"
#include "text/json_values.h"
#include "text/token_list.h"
#include "text/tokenizer_impl.h"

namespace weft {
namespace {

namespace fs = std::filesystem;

using Roles = std::vector<std::pair<const char*, std::string>>;

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

Json json_of(const AddedTokenList& list) {
  Json out = Json::array();
  for (const AddedToken& token : list.tokens())
    out.push_back(parse_json(json_text(to_json(token))));
  return out;
}

Json json_of(const std::map<std::string, std::string>& roles) {
  Json out = Json::object();
  for (const auto& [role, content] : roles) out[role] = content;
  return out;
}

// The class to follow: one that is named must be among those that are known; a model's type whose
// class reads other files says nothing.
std::string class_among(const Companions& c, const std::string& files,
                        std::initializer_list<const char*> allowed) {
  std::string names;
  for (const char* name : allowed) {
    if (c.class_name == name) return name;
    names += (names.empty() ? "" : ", ") + std::string(name);
  }
  CHECK_USER(!c.class_is_named || c.class_name.empty(),
             "{}: tokenizer_class {} is not known with {} alone; allowed: {} (or give a "
             "tokenizer.json)",
             c.config_file, in_message(c.class_name), files, names);
  return "";
}

// A class's special tokens where the files say nothing.
Roles defaults_of_merges(const std::string& name, const Json& vocab) {
  const std::string end = "<|endoftext|>";
  if (name == "RobertaTokenizer")
    return {{"bos_token", "<s>"},    {"eos_token", "</s>"},  {"unk_token", "<unk>"},
            {"sep_token", "</s>"},   {"pad_token", "<pad>"}, {"cls_token", "<s>"},
            {"mask_token", "<mask>"}};
  if (name == "Qwen2Tokenizer") return {{"eos_token", end}, {"unk_token", end}, {"pad_token", end}};
  if (name.empty() && !vocab.contains(end)) return {};
  Roles roles = {{"bos_token", end}, {"eos_token", end}, {"unk_token", end}};
  if (name == "GPTNeoXTokenizer") roles.emplace_back("pad_token", "<|padding|>");
  return roles;
}

Json merges_of_file(const fs::path& file) {
  Json merges = Json::array();
  std::istringstream lines(read_text_file(file));
  std::string line;
  for (bool first = true; std::getline(lines, line); first = false) {
    if (!line.empty() && line.back() == '\r') line.pop_back();
    CHECK_USER(made_utf8(line) == line, "{}: '{}' is not UTF-8", file.string(),
               in_message(made_utf8(line)));
    if (!line.empty() && !(first && line.starts_with("#version"))) merges.push_back(line);
  }
  return merges;
}

// GPT-2's class and those that are made as it is.
Json of_merges(const Companions& c) {
  const std::string vocab_file = (c.dir / "vocab.json").string(),
                    name = class_among(c, "vocab.json and merges.txt",
                                       {"GPT2Tokenizer", "GPTNeoXTokenizer", "Qwen2Tokenizer",
                                        "RobertaTokenizer"});
  const Json vocab = read_json_object(vocab_file);
  const TokenList tokens = TokenList::from_map(vocab, vocab_file);
  AddedTokenList added(tokens.tokens(), vocab_file);
  const auto roles = put_companions(added, c, defaults_of_merges(name, vocab));
  const bool prefix = c.flag("add_prefix_space", false);
  Json level = {{"type", "ByteLevel"},
                {"add_prefix_space", prefix},
                {"trim_offsets", true},
                {"use_regex", true}},
       pre = level, post = level, normalizer;
  post["trim_offsets"] = false;
  if (const Json begin_end = begin_end_template(c, added, roles); !begin_end.is_null())
    post = begin_end;
  if (name == "GPTNeoXTokenizer") normalizer = {{"type", "NFC"}};
  if (name == "Qwen2Tokenizer") {
    level["use_regex"] = false;
    normalizer = {{"type", "NFC"}};
    const char* regex = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                        R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
    const Json split = {{"type", "Split"},
                        {"pattern", {{"Regex", regex}}},
                        {"behavior", "Isolated"},
                        {"invert", false}};
    pre = {{"type", "Sequence"}, {"pretokenizers", Json::array({split, level})}};
  }
  if (name == "RobertaTokenizer") {
    const auto ends = [&](const char* role) {
      CHECK_USER(roles.contains(role), "{}: {} is null, but RobertaTokenizer needs one",
                 c.config_file, role);
      const std::string& token = roles.at(role);
      return Json::array({token, added.put_anywhere({.content = token}, vocab_file)});
    };
    post = {{"type", "RobertaProcessing"},
            {"sep", ends("sep_token")},
            {"cls", ends("cls_token")},
            {"trim_offsets", c.flag("trim_offsets", true)},
            {"add_prefix_space", prefix}};
  }
  return {{"added_tokens", json_of(added)},
          {"normalizer", normalizer},
          {"pre_tokenizer", pre},
          {"post_processor", post},
          {"decoder", level},
          {"model",
           {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges_of_file(c.dir / "merges.txt")}}},
          {"weft", json_of(roles)}};
}

// A token a line, by number; of equal lines the last counts.
Json vocab_of_lines(const fs::path& file, bool esm) {
  Json vocab = Json::object();
  std::istringstream lines(read_text_file(file));
  std::string line;
  for (std::int64_t id = 0; std::getline(lines, line); ++id) {
    CHECK_USER(id <= kMaxTokenId, "{}: has more than {} lines", file.string(), kMaxTokenId + 1);
    CHECK_USER(made_utf8(line) == line, "{}: line {} is not UTF-8", file.string(), id + 1);
    const std::string token(stripped(line, esm, true));
    if (!token.empty()) vocab[token] = id;
  }
  CHECK_USER(!vocab.empty(), "{}: holds no tokens", file.string());
  return vocab;
}

void need_tokens(const Companions& c, const Json& vocab,
                 const std::map<std::string, std::string>& roles,
                 std::initializer_list<const char*> needed, const char* class_name) {
  for (const char* role : needed) {
    const std::string token = roles.contains(role) ? roles.at(role) : "";
    CHECK_USER(vocab.contains(token), "{}: has no {}, which {} needs",
               (c.dir / "vocab.txt").string(), token.empty() ? role : token, class_name);
  }
}

// All of the vocabulary is cut out of the text as it is; what is left falls into words, each
// unknown. Python's white space has four control characters more.
Json of_esm(const Companions& c, const Json& vocab) {
  const std::string file = (c.dir / "vocab.txt").string();
  const TokenList tokens = TokenList::from_map(vocab, file);
  AddedTokenList added(tokens.tokens(), file);
  const auto roles = put_companions(added, c,
                                    {{"cls_token", "<cls>"},
                                     {"eos_token", "<eos>"},
                                     {"unk_token", "<unk>"},
                                     {"pad_token", "<pad>"},
                                     {"mask_token", "<mask>"}});
  need_tokens(c, vocab, roles, {"cls_token", "eos_token", "unk_token"}, "EsmTokenizer");
  for (const auto& [token, id] : vocab.items())
    added.put_anywhere({.content = token, .special = false}, file);
  const Json separators = {{"type", "Split"},
                           {"pattern", {{"Regex", R"([\x1c-\x1f])"}}},
                           {"behavior", "Removed"},
                           {"invert", false}};
  const Json words = {{"type", "Sequence"},
                      {"pretokenizers", Json::array({{{"type", "WhitespaceSplit"}}, separators})}};
  return {
      {"added_tokens", json_of(added)},
      {"pre_tokenizer", words},
      {"post_processor", template_of(roles.at("cls_token"), roles.at("eos_token"), vocab, 0)},
      {"model", {{"type", "WordLevel"}, {"vocab", vocab}, {"unk_token", roles.at("unk_token")}}},
      {"weft", json_of(roles)}};
}

Json of_bert(const Companions& c, const Json& vocab) {
  const std::string file = (c.dir / "vocab.txt").string();
  const TokenList tokens = TokenList::from_map(vocab, file);
  AddedTokenList added(tokens.tokens(), file);
  const auto roles = put_companions(added, c,
                                    {{"unk_token", "[UNK]"},
                                     {"sep_token", "[SEP]"},
                                     {"pad_token", "[PAD]"},
                                     {"cls_token", "[CLS]"},
                                     {"mask_token", "[MASK]"}});
  need_tokens(c, vocab, roles, {"cls_token", "sep_token", "unk_token"}, "BertTokenizer");
  const Json strip = c.config.value("strip_accents", Json());
  CHECK_USER(strip.is_null() || strip.is_boolean(),
             "{}: strip_accents is {}; allowed: true, false, null", c.config_file,
             in_message(json_text(strip)));
  const Json normalizer = {{"type", "BertNormalizer"},
                           {"clean_text", true},
                           {"handle_chinese_chars", c.flag("tokenize_chinese_chars", true)},
                           {"strip_accents", strip},
                           {"lowercase", c.flag("do_lower_case", true)}};
  return {{"added_tokens", json_of(added)},
          {"normalizer", normalizer},
          {"pre_tokenizer", {{"type", "BertPreTokenizer"}}},
          {"post_processor", template_of(roles.at("cls_token"), roles.at("sep_token"), vocab, 1)},
          {"decoder", {{"type", "WordPiece"}, {"prefix", "##"}, {"cleanup", true}}},
          {"model",
           {{"type", "WordPiece"},
            {"vocab", vocab},
            {"unk_token", roles.at("unk_token")},
            {"continuing_subword_prefix", "##"},
            {"max_input_chars_per_word", 100}}},
          {"weft", json_of(roles)}};
}

}  // namespace

Json tokenizer_json_of_vocabulary(const Companions& c) {
  std::error_code error;
  if (fs::exists(c.dir / "vocab.json", error) && fs::exists(c.dir / "merges.txt", error))
    return of_merges(c);
  const fs::path file = c.dir / "vocab.txt";
  const Json vocab = vocab_of_lines(file, false);
  const std::string name = class_among(c, "vocab.txt",
                                       {"BertTokenizer", "DistilBertTokenizer", "ElectraTokenizer",
                                        "MobileBertTokenizer", "EsmTokenizer"});
  const bool looks = vocab.contains("<cls>") && !vocab.contains("[CLS]"),
             esm = name == "EsmTokenizer" ? c.class_is_named || looks : name.empty() && looks;
  return esm ? of_esm(c, vocab_of_lines(file, true)) : of_bert(c, vocab);
}

}  // namespace weft

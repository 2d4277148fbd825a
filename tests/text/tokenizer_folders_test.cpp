// Tokenizer folders as users bring them: what AutoTokenizer makes of them
// (tests/data/make_tokenizer_folders.py), and what contradicts itself.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/check.h"
#include "io/json.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
using Ids = std::vector<std::int32_t>;
const fs::path kData = WEFT_TEST_DATA;

class Folder {
 public:
  Folder() { fs::create_directories(path); }
  ~Folder() { fs::remove_all(path); }
  void put(const std::string& name, const std::string& content) const {
    if (content.starts_with("@"))
      fs::copy_file(kData / content.substr(1), path / name, fs::copy_options::overwrite_existing);
    else
      std::ofstream(path / name, std::ios::binary) << content;
  }
  const fs::path path =
      fs::temp_directory_path() / ("weft_tokenizer_folder_" + std::to_string(getpid()));
};

const Json& golden() {
  static const Json all = read_json_object(kData / "tokenizer_folders.json");
  return all;
}

void expect_as_the_reference(const Tokenizer& t, const Json& expected) {
  EXPECT_EQ(t.vocab_size(), expected["len"].get<std::int64_t>());
  for (const auto& [role, value] : expected["roles"].items()) {
    ASSERT_TRUE(t.special_tokens().contains(role)) << role;
    EXPECT_EQ(t.special_tokens().at(role), value[0].get<std::string>()) << role;
    EXPECT_EQ(t.special_id(role).value_or(-1), value[1].get<std::int32_t>()) << role;
  }
  for (std::size_t i = 0; i < golden()["texts"].size(); ++i) {
    const auto text = golden()["texts"][i].get<std::string>();
    const Json& want = expected["texts"][i];
    const Ids ids = t.encode(text).ids;
    EXPECT_EQ(ids, want[0].get<Ids>()) << text;
    EXPECT_EQ(t.encode(text, false).ids, want[1].get<Ids>()) << text;
    EXPECT_EQ(t.decode(want[0].get<Ids>()), want[2].get<std::string>()) << text;
    EXPECT_EQ(t.decode(want[0].get<Ids>(), true), want[3].get<std::string>()) << text;
  }
  EXPECT_EQ(t.encode_pair("a old", "house").ids, expected["pair"].get<Ids>());
}

TEST(TokenizerFolders, GiveTheReferencesIdsAndRoles) {
  ASSERT_GE(golden()["cases"].size(), 40u);
  for (const Json& c : golden()["cases"]) {
    SCOPED_TRACE(c["name"].get<std::string>());
    const Folder folder;
    for (const auto& [name, content] : c["files"].items())
      folder.put(name, content.get<std::string>());
    const Tokenizer t = load_tokenizer(folder.path);
    expect_as_the_reference(t, c);
    // As a checkpoint holds it, and as an export writes it.
    expect_as_the_reference(tokenizer_from_json(t.to_json(), "again"), c);
    save_tokenizer(t, folder.path / "again");
    const Tokenizer again = load_tokenizer(folder.path / "again");
    EXPECT_EQ(again.hash(), t.hash());
    EXPECT_EQ(again.vocab_size(), t.vocab_size());
  }
}

Json wordlevel() { return read_json_object(kData / "tokenizers" / "wordlevel" / "tokenizer.json"); }

std::string error_of(const std::map<std::string, std::string>& files) {
  const Folder folder;
  for (const auto& [name, content] : files) folder.put(name, content);
  try {
    load_tokenizer(folder.path);
  } catch (const UserError& error) {
    return error.what();
  }
  return "nothing is wrong";
}

void expect_words(const std::string& said, const std::vector<std::string>& words) {
  for (const std::string& word : words) EXPECT_NE(said.find(word), std::string::npos) << said;
}

// One id for two texts, or two ids for one text: both values, and the files they stand in.
TEST(TokenizerFolders, ContradictionsAreRefused) {
  const std::string spm = "@sentencepiece/bpe_llama.model";
  const auto decoder = [](const char* id, const char* content) {
    return Json{{"added_tokens_decoder", {{id, {{"content", content}, {"special", true}}}}}};
  };
  expect_words(error_of({{"tokenizer.model", spm},
                         {"added_tokens.json", R"({"<a>": 400})"},
                         {"tokenizer_config.json", json_text(decoder("400", "<b>"))}}),
               {"'<a>' has id 400", "'<b>'", "added_tokens.json", "tokenizer_config.json"});
  expect_words(error_of({{"tokenizer.model", spm},
                         {"added_tokens.json", R"({"<a>": 400})"},
                         {"tokenizer_config.json", json_text(decoder("401", "<a>"))}}),
               {"'<a>' has id 400", "but 401", "added_tokens.json", "tokenizer_config.json"});
  expect_words(error_of({{"tokenizer.model", spm}, {"added_tokens.json", R"({"<a>": 5})"}}),
               {"'<a>' has id 5", "in the vocabulary", "tokenizer.model"});
  expect_words(error_of({{"tokenizer.model", spm}, {"added_tokens.json", R"({"</s>": 400})"}}),
               {"'</s>' has id 400, but 2", "tokenizer.model"});
  expect_words(
      error_of({{"tokenizer.model", spm}, {"added_tokens.json", R"({"a": 401, "b": 401})"}}),
      {"401"});
  const std::string json = json_text(wordlevel());
  const auto behind = std::to_string(tokenizer_from_json(json, "words").vocab_size());
  expect_words(error_of({{"tokenizer.json", json},
                         {"tokenizer_config.json", json_text(decoder("0", "<other>"))}}),
               {"'<other>' has id 0", "tokenizer.json", "tokenizer_config.json"});
  expect_words(
      error_of({{"tokenizer.json", json},
                {"added_tokens.json", "{\"<a>\": " + behind + ", \"<b>\": " + behind + "}"}}),
      {"'<b>' has id " + behind, "'<a>'"});
  expect_words(error_of({{"vocab.txt", "[UNK]\n[CLS]\n[SEP]\na\n"},
                         {"added_tokens.json", R"({"[CLS]": 9})"}}),
               {"'[CLS]' has id 9, but 1"});
}

// Ids stay what the files say.
TEST(TokenizerFolders, HolesStay) {
  const Folder folder;
  folder.put("tokenizer.model", "@sentencepiece/bpe_llama.model");
  folder.put("tokenizer_config.json",
             R"({"tokenizer_class": "LlamaTokenizer", "pad_token": "<p>"})");
  folder.put("added_tokens.json", R"({"<|turn|>": 410, "<|done|>": 420})");
  const Tokenizer t = load_tokenizer(folder.path);
  EXPECT_EQ(t.ids("<|turn|><|done|><p>"), (Ids{410, 420, 421}));
  EXPECT_EQ(t.vocab_size(), 422);
  EXPECT_EQ(t.token(411), "");
  EXPECT_EQ(t.decode(Ids{411, 410, 5000}), "<|turn|>");
}

TEST(TokenizerFolders, EndsAsTheModelsConfigSays) {
  const std::string json = R"({"model": {"type": "WordLevel", "vocab": {"[sep]": 0, "[un]": 1,
      "a": 2}, "unk_token": "[un]"}, "pre_tokenizer": {"type": "Whitespace"}})";
  for (const auto& [config, end] :
       {std::pair(R"({"eos_token_id": 0})", 0), std::pair(R"({"eos_token_id": [7, 2, 1]})", 2),
        std::pair(R"({"eos_token_id": 7})", -1), std::pair(R"({"eos_token_id": "x"})", -1),
        std::pair(R"({"eos_token_id": -1})", -1), std::pair("{}", -1)}) {
    const Folder folder;
    folder.put("tokenizer.json", json);
    folder.put("config.json", config);
    EXPECT_EQ(load_tokenizer(folder.path).eos_id().value_or(-1), end) << config;
  }
  const Folder folder;  // what the tokenizer says itself counts
  folder.put("tokenizer.json", json);
  folder.put("config.json", R"({"eos_token_id": 0})");
  folder.put("special_tokens_map.json", R"({"eos_token": "a"})");
  EXPECT_EQ(load_tokenizer(folder.path).eos_id(), 2);
}

TEST(TokenizerFolders, SayWhatIsWrongWithFileAndKey) {
  const std::string json = json_text(wordlevel());
  const auto config = [&](const std::string& text) {
    return error_of({{"tokenizer.json", json}, {"tokenizer_config.json", text}});
  };
  expect_words(config(R"({"eos_token": 3})"), {"tokenizer_config.json: eos_token is 3"});
  expect_words(config(R"({"eos_token": {"lstrip": true}})"),
               {"tokenizer_config.json", "eos_token"});
  expect_words(config(R"({"added_tokens_decoder": []})"),
               {"tokenizer_config.json: added_tokens_dec"});
  expect_words(config(R"({"added_tokens_decoder": {"-1": {"content": "a"}}})"), {"'-1'", "0 to"});
  expect_words(config(R"({"added_tokens_decoder": {"999": 1}})"), {"added_tokens_decoder: 999"});
  expect_words(config(R"({"added_tokens_decoder": {"999": {"content": "q", "rstrip": 1}}})"),
               {"tokenizer_config.json", "rstrip is 1"});
  expect_words(config(R"({"extra_special_tokens": 1})"), {"extra_special_tokens is 1"});
  expect_words(config(R"({"tokenizer_class": []})"), {"tokenizer_config.json: tokenizer_class"});
  expect_words(config("[]"), {"tokenizer_config.json", "not an object"});
  expect_words(config("{\"a\": 1e999}"), {"tokenizer_config.json", "not valid JSON"});
  const auto beside = [&](const char* file, const std::string& text) {
    return error_of({{"tokenizer.json", json}, {file, text}});
  };
  expect_words(beside("special_tokens_map.json", R"({"pad_token": ["a"]})"),
               {"special_tokens_map.json: pad_token"});
  expect_words(beside("added_tokens.json", R"({"<a>": "5"})"), {"added_tokens.json", "'<a>'"});
  expect_words(beside("added_tokens.json", R"({"<a>": 99999999999999999999})"),
               {"added_tokens.json", "'<a>'"});
  const std::string spm = "@sentencepiece/bpe_llama.model";
  for (const char* flag : {"add_bos_token", "add_prefix_space", "legacy"})
    expect_words(
        error_of({{"tokenizer.model", spm},
                  {"tokenizer_config.json",
                   json_text(Json{{"tokenizer_class", "LlamaTokenizer"}, {flag, "yes"}})}}),
        {"tokenizer_config.json: " + std::string(flag) + " is \"yes\""});
  expect_words(error_of({{"tokenizer.model", spm},
                         {"tokenizer_config.json", R"({"tokenizer_class": "T5Tokenizer"})"}}),
               {"T5Tokenizer", "LlamaTokenizer"});
  const std::string vocab = "[UNK]\n[CLS]\n[SEP]\na\n";
  expect_words(error_of({{"vocab.txt", vocab},
                         {"tokenizer_config.json", R"({"tokenizer_class": "MPNetTokenizer"})"}}),
               {"MPNetTokenizer", "BertTokenizer"});
  expect_words(
      error_of({{"vocab.txt", vocab}, {"tokenizer_config.json", R"({"strip_accents": 1})"}}),
      {"strip_accents is 1"});
  expect_words(error_of({{"vocab.txt", "a\n\xFF\n"}}), {"vocab.txt: line 2 is not UTF-8"});
  expect_words(error_of({{"vocab.txt", "\n"}}), {"vocab.txt: holds no tokens"});
}

}  // namespace
}  // namespace weft

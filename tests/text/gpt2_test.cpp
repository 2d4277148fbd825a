// GPT-2's own files: the reference's ids, offsets and lossy text, through a cut of the real
// vocabulary (tests/data/make_gpt2_words.py).
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "core/check.h"
#include "core/utf8.h"
#include "io/json.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
const fs::path kWords = fs::path(WEFT_TEST_DATA) / "gpt2_words";
using Ids = std::vector<std::int32_t>;

TEST(Gpt2, TheLessonsSentenceHasItsTwentyIds) {
  const Tokenizer t = load_tokenizer(kWords);
  const std::string text =
      "Counselor, please adjust your Zoom filter to appear as a human, rather than as a cat";
  const Ids ids = t.ids(text);
  EXPECT_EQ(ids, (Ids{31053, 741, 273, 11,   3387, 4532, 534, 40305, 8106, 284,
                      1656,  355, 257, 1692, 11,   2138, 621, 355,   257,  3797}));
  EXPECT_EQ(t.decode(ids), text);
  EXPECT_EQ(t.token(40305), "ĠZoom");
  EXPECT_EQ(t.eos_id(), 50256);
  EXPECT_EQ(t.vocab_size(), 50257);
}

TEST(Gpt2, GivesTheReferencesIds) {
  const Tokenizer t = load_tokenizer(kWords);
  const Json golden = read_json_object(kWords / "golden.json");
  ASSERT_GT(golden["cases"].size(), 15u);
  for (const Json& entry : golden["cases"]) {
    const auto text = entry["text"].get<std::string>();
    const Encoding e = t.encode(text);
    EXPECT_EQ(e.ids, entry["ids"].get<Ids>()) << text;
    EXPECT_EQ(t.ids(text), e.ids);
    EXPECT_EQ(t.decode(e.ids), text);
  }
}

// Ids that end or begin amid a character: one U+FFFD for each broken beginning, as Rust and Python
// show them.
TEST(Gpt2, BrokenCharactersAreShownAsTheReferenceShowsThem) {
  const Tokenizer t = load_tokenizer(kWords);
  const Json golden = read_json_object(kWords / "golden.json");
  ASSERT_GT(golden["broken"].size(), 30u);
  for (const Json& entry : golden["broken"])
    EXPECT_EQ(made_utf8(t.decode(entry[0].get<Ids>())), entry[1].get<std::string>()) << entry;
  const std::pair<const char*, int> shown[] = {
      {"\xF0\x9F\x91", 1},     {"\xF0\x9F", 1}, {"\xE0\x80", 2},         {"\xED\xA0\x80", 3},
      {"\xF4\x90\x80\x80", 4}, {"\xC0\xAF", 2}, {"\xE6\x97\xE6\x97", 2}, {"\xFF", 1},
      {"\xF1\x80\x80\xE1", 2}};
  for (const auto& [bytes, n] : shown) {
    std::string expected;
    for (int i = 0; i < n; ++i) expected += "\xEF\xBF\xBD";
    EXPECT_EQ(made_utf8(std::string("a") + bytes + "b"), "a" + expected + "b");
  }
}

struct Folder {
  fs::path path;
  explicit Folder(const std::string& name)
      : path(fs::temp_directory_path() / ("weft_gpt2_" + name)) {
    fs::remove_all(path);
    fs::create_directories(path);
    for (const char* file : {"vocab.json", "merges.txt"}) fs::copy_file(kWords / file, path / file);
  }
  ~Folder() { fs::remove_all(path); }
  void put(const char* file, const std::string& content) const {
    std::ofstream(path / file) << content;
  }
};

TEST(Gpt2, TokenizerConfigAddsItsShare) {
  const Folder folder("config");
  folder.put("added_tokens.json", R"({"<pad>": 50257})");
  folder.put("tokenizer_config.json",
             R"({"add_prefix_space": true, "eos_token": {"content": "<|endoftext|>"}, )"
             R"("added_tokens_decoder": {
    "50256": {"content": "<|endoftext|>", "special": true, "normalized": true}, )"
             R"("50257": {"content": "<pad>", "special": true},
    "50258": {"content": "text|>", "special": false, "normalized": false}}})");
  const Tokenizer t = load_tokenizer(folder.path), plain = load_tokenizer(kWords);
  EXPECT_EQ(t.ids("cat"), plain.ids(" cat"));
  EXPECT_EQ(t.ids(" cat"), plain.ids(" cat"));
  EXPECT_EQ(t.ids("\ncat"), plain.ids(" \ncat"));  // before all but a space, white space included
  EXPECT_EQ(t.encode("\ncat").offsets[0], (std::pair<std::int64_t, std::int64_t>{0, 1}));
  EXPECT_EQ(t.ids("a<pad>"), (Ids{plain.ids(" a")[0], 50257}));
  EXPECT_TRUE(t.is_special(50257));
  EXPECT_EQ(t.ids("<|endoftext|>").back(),
            50258);  // tokens that are not normalized are looked for first
  EXPECT_NE(t.hash(), plain.hash());
  save_tokenizer(t, folder.path / "again");
  EXPECT_EQ(load_tokenizer(folder.path / "again").hash(), t.hash());
  fs::remove(folder.path / "again" / "tokenizer.json");
  EXPECT_EQ(load_tokenizer(folder.path / "again").hash(), t.hash());
}

// RobertaTokenizer's special tokens are in its vocabulary, and are found in texts.
TEST(Gpt2, RobertasSpecialTokensAreKnownByName) {
  const Folder folder("roberta");
  Json vocab = read_json_object(kWords / "vocab.json");
  for (const char* token : {"<s>", "<pad>", "</s>", "<unk>", "<mask>"})
    vocab[token] = 50257 + vocab.size();
  folder.put("vocab.json", json_text(vocab));
  folder.put("tokenizer_config.json", R"({"tokenizer_class": "RobertaTokenizer"})");
  const Tokenizer t = load_tokenizer(folder.path);
  const std::int32_t begin = *t.id("<s>"), end = *t.id("</s>"), mask = *t.id("<mask>");
  const Ids cat = load_tokenizer(kWords).ids("cat");
  ASSERT_EQ(cat.size(), 1u);
  EXPECT_EQ(t.encode("cat<mask>cat").ids, (Ids{begin, cat[0], mask, cat[0], end}));
  EXPECT_EQ(t.encode_pair("cat", "<pad>").ids, (Ids{begin, cat[0], end, end, *t.id("<pad>"), end}));
  EXPECT_EQ(t.mask_id(), mask);
  EXPECT_EQ(t.decode(t.encode("cat").ids, true), "cat");
  // As older transformers saved it: with its flags.
  folder.put("tokenizer_config.json",
             R"({"tokenizer_class": "RobertaTokenizer", "mask_token": {"content": "<mask>", )"
             R"("lstrip": true}})");
  EXPECT_EQ(load_tokenizer(folder.path).encode("cat <mask>cat").ids,
            (Ids{begin, cat[0], mask, cat[0], end}));
}

TEST(Gpt2, FilesThatDisagreeAreRefused) {
  const auto refused = [](const char* file, const std::string& content, const std::string& word) {
    const Folder folder("bad");
    folder.put(file, content);
    try {
      load_tokenizer(folder.path);
      ADD_FAILURE() << content;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find(file), std::string::npos) << error.what();
    }
  };
  refused("added_tokens.json", R"({"<pad>": 64})", "id 64");
  refused("added_tokens.json", R"({"<pad>": -1})", "<pad>");
  refused("tokenizer_config.json", R"({"add_prefix_space": 3})", "add_prefix_space");
  refused("tokenizer_config.json", R"({"added_tokens_decoder": {"x": {"content": "<pad>"}}})",
          "'x'");
  refused("tokenizer_config.json",
          R"({"added_tokens_decoder": {"50257": {"content": "<pad>", "lstrip": 3}}})", "lstrip");
  refused("tokenizer_config.json",
          R"({"added_tokens_decoder": {"50257": {"content": "<a>"}, "50258": {"content": "<a>"}}})",
          "<a>");
  refused("merges.txt", "#version: 0.2\nq zz\n", "q zz");
}

// A rare added token must not be looked for from every frequent one to the end of the text.
TEST(Gpt2, ManyAddedTokensInALongTextTakeNoQuadraticTime) {
  const Folder folder("many");
  folder.put("added_tokens.json", R"({"<pad>": 50257, "<mask>": 50258})");
  const Tokenizer t = load_tokenizer(folder.path);
  std::string text;
  for (int i = 0; i < 200'000; ++i) text += "<|endoftext|>a";
  EXPECT_EQ(t.ids(text + "<mask>").size(), 400'001u);
}

// Of all ways to cut random bytes into ids; most are invalid UTF-8.
TEST(Gpt2, AnyBytesSurviveAndStreamWhole) {
  const Tokenizer t = load_tokenizer(kWords);
  std::mt19937 generator(17);
  const std::string pieces[] = {"\xF0\x9F\x91\xA9",
                                "\xE6\x97\xA5",
                                "\xC3\xA9",
                                "cat",
                                " ",
                                "\n",
                                "\xF0\x9F",
                                "\xE6",
                                "\x80",
                                "\xFF",
                                "<|endoftext|>",
                                "\xED\xA0\x80"};
  for (int i = 0; i < 5000; ++i) {
    std::string text;
    for (std::size_t k = generator() % 12; k > 0; --k)
      text += generator() % 3 ? pieces[generator() % std::size(pieces)]
                              : std::string(1, static_cast<char>(generator() & 0xFF));
    const Ids ids = t.ids(text);
    ASSERT_EQ(t.decode(ids), text);
    StreamDecoder decoder(t, false);
    std::string all, shown;
    for (const std::int32_t id : ids) {
      const std::string part = decoder.push(id);
      all += part;
      shown += made_utf8(part);
    }
    const std::string last = decoder.finish();
    ASSERT_EQ(all + last, text);
    ASSERT_EQ(shown + made_utf8(last),
              made_utf8(text));  // so no part began or ended amid a character
  }
}

}  // namespace
}  // namespace weft

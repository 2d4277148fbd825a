// SentencePiece's models and normalizer tables against the reference
// (tests/data/make_sentencepiece.py), and broken ones.
#include "text/files/sentencepiece_tokenizer.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "core/check.h"
#include "core/rng.h"
#include "src/io/files.h"
#include "text/characters/charsmap.h"

namespace weft {
namespace {

const std::filesystem::path kData = std::filesystem::path(WEFT_TEST_DATA) / "sentencepiece";

class SentencePiece : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::create_directories(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }
  OrderedJson convert(const std::string& bytes) const {
    std::ofstream(folder_ / "tokenizer.model", std::ios::binary) << bytes;
    return tokenizer_json_of_sentencepiece(folder_ / "tokenizer.model");
  }
  void refused(const std::string& bytes, const std::string& word) const {
    try {
      convert(bytes);
      ADD_FAILURE() << word;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("tokenizer.model"), std::string::npos)
          << error.what();
    }
  }

 private:
  std::filesystem::path folder_ =
      std::filesystem::temp_directory_path() / ("weft_sentencepiece_" + std::to_string(getpid()));
};

TEST_F(SentencePiece, GivesTheReferencesTokenizerJson) {
  const Json golden = read_json_object(kData / "golden.json");
  ASSERT_EQ(golden["tokenizers"].size(), 6u);
  for (const auto& [name, expected] : golden["tokenizers"].items()) {
    SCOPED_TRACE(name);
    Json got = parse_json(json_text(tokenizer_json_of_sentencepiece(kData / (name + ".model"))));
    EXPECT_EQ(got["weft"]["eos_token"], "</s>");
    got.erase("weft");
    for (const auto& [key, value] : expected.items()) EXPECT_EQ(got[key], value) << key;
    EXPECT_EQ(got.size(), expected.size());
  }
}

TEST(Charsmap, NormalizesAsTheReference) {
  const Json golden = read_json_object(kData / "golden.json");
  ASSERT_EQ(golden["tables"].size(), 2u);
  std::size_t changed = 0;
  for (const auto& [name, cases] : golden["tables"].items()) {
    const auto base64 =
        golden["tokenizers"][name]["normalizer"]["normalizers"][0]["precompiled_charsmap"]
            .get<std::string>();
    const std::string bytes = bytes_of_base64(base64, "test.json");
    EXPECT_EQ(base64_of_bytes(bytes), base64);
    const Charsmap table(bytes, "test.json");
    for (const Json& c : cases) {
      const auto text = c[0].get<std::string>();
      std::vector<Change> changes;
      table.apply(text, changes);
      std::string out;
      std::size_t n = 0;
      for (const Change& change : changes) {
        out += change.replacement;
        n += change.bytes;
      }
      EXPECT_EQ(out, c[1].get<std::string>()) << text;
      EXPECT_EQ(n, text.size());
      changed += out != text;
    }
  }
  EXPECT_GT(changed, 40u);
}

TEST_F(SentencePiece, BrokenModelsAreUserErrors) {
  const std::string whole = read_text_file(kData / "unigram_table.model");
  std::size_t n_refused = 0, n_read = 0;
  const auto read = [&](const std::string& bytes) {
    try {
      convert(bytes);
      ++n_read;
    } catch (const UserError&) {
      ++n_refused;
    }
  };
  for (std::size_t n = 0; n < whole.size(); ++n) read(whole.substr(0, n));
  for (std::uint64_t i = 0; i < 3000; ++i) {
    std::string bytes = whole;
    for (std::uint64_t k = 0; k <= i % 4; ++k)
      bytes[mix64(i * 8 + k) % bytes.size()] = static_cast<char>(mix64(i * 8 + k + 4));
    read(bytes);
  }
  EXPECT_GT(n_refused, whole.size() / 2);
  EXPECT_GT(n_read, 100u);
}

TEST_F(SentencePiece, SaysWhatIsWrong) {
  const auto field = [](char key, const std::string& content) {
    return std::string{key, static_cast<char>(content.size())} + content;
  };
  const std::string unk = field('\x0A', "\x0A\x05<unk>\x18\x02"),
                    a = field('\x0A',
                              "\x0A\x01"
                              "a"),
                    b = field('\x0A',
                              "\x0A\x01"
                              "b");
  EXPECT_EQ(convert(unk + a + b)["model"]["type"], "Unigram");
  refused("", "no tokens");
  refused("just a text", "no SentencePiece model");
  refused(unk + a + b + "\x12\x02\x18\x03", "type 3");
  refused(unk + a + b + std::string("\x12\x03\xC0\x01\x01", 5), "treat_whitespace_as_suffix");
  refused(unk + a + b + std::string("\x12\x03\xC0\x02\x07", 5), "unk_id is 7");
  refused(unk + a + b + "\x12\x03\xD0\x02\x07", "eos_id");
  refused(field('\x0A', "\x0A\x01\xFF"), "UTF-8");
  refused(field('\x0A', std::string("\x0A\x00", 2)), "0 bytes");
  refused(field('\x0A',
                "\x0A\x01"
                "a\x18\x09"),
          "type 9");
  refused(field('\x0A', std::string("\x0A\x01"
                                    "a\x15\x00\x00\x80\x7F",
                                    8)),
          "not finite");
  refused("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", "cut off");
  refused("\x0A\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\x7F", "64 bits");
  refused(unk + a + b +
              field('\x1A',
                    "\x12\x02"
                    "ab"),
          "normalizer's table");
}

// A table from anywhere: what its trie points at may be anything.
TEST(Charsmap, BrokenTablesDoNoHarm) {
  const Json golden = read_json_object(kData / "golden.json");
  const std::string whole = bytes_of_base64(
      golden["tokenizers"]["bpe_table"]["normalizer"]["normalizers"][0]["precompiled_charsmap"]
          .get<std::string>(),
      "test.json");
  std::size_t n_read = 0;
  for (std::uint64_t i = 0; i < 3000; ++i) {
    std::string bytes = whole;
    for (std::uint64_t k = 0; k <= i % 8; ++k)
      bytes[mix64(i * 8 + k) % bytes.size()] = static_cast<char>(mix64(i * 8 + k + 4));
    if (i % 3 == 0) bytes.resize(mix64(i) % bytes.size());
    std::vector<Change> changes;
    try {
      Charsmap(bytes, "some.json").apply("Ａﬁ e\xCC\x81 \xFF\xE6 Ω\xCC\x88 abc", changes);
    } catch (const UserError&) {
      continue;
    }
    ++n_read;
    std::size_t n = 0;
    for (const Change& change : changes) n += change.bytes;
    EXPECT_EQ(n, std::string_view("Ａﬁ e\xCC\x81 \xFF\xE6 Ω\xCC\x88 abc").size());
  }
  EXPECT_GT(n_read, 100u);
  for (const char* text : {"abc", "ab!=", "====", "a==="})
    EXPECT_THROW(bytes_of_base64(text, "some.json"), UserError) << text;
}

}  // namespace
}  // namespace weft

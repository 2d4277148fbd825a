#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "core/check.h"
#include "core/utf8.h"
#include "io/documents.h"
#include "io/json.h"
#include "text/files/tokenizer_files.h"
#include "text/learn/trainer.h"

namespace weft {
namespace {

namespace fs = std::filesystem;
const fs::path kData = fs::path(WEFT_TEST_DATA) / "tokenizer";

fs::path scratch(const std::string& name) {
  const fs::path dir = fs::temp_directory_path() / ("weft_text_" + name);
  fs::remove_all(dir);
  fs::create_directories(dir);
  return dir;
}

std::string random_bytes(std::mt19937& generator, std::size_t n) {
  std::string s;
  for (std::size_t i = 0; i < n; ++i) s += static_cast<char>(generator() & 0xFF);
  return s;
}

TEST(ByteLevelBpe, GivesTheReferencesIds) {
  const Tokenizer t = load_tokenizer(kData);
  const Json golden = read_json_object(kData / "golden.json");
  ASSERT_GT(golden["cases"].size(), 400u);
  for (const Json& entry : golden["cases"]) {
    const auto text = entry[0].get<std::string>();
    const Encoding e = t.encode(text);
    EXPECT_EQ(e.ids, entry[1].get<std::vector<std::int32_t>>()) << entry[0];
    EXPECT_EQ(t.decode(e.ids), text);
    ASSERT_EQ(e.ids.size(), e.offsets.size());
    std::int64_t end = 0;
    for (std::size_t i = 0; i < e.ids.size(); ++i) {
      EXPECT_EQ(e.offsets[i].first, end);
      end = e.offsets[i].second;
      EXPECT_EQ(text.substr(static_cast<std::size_t>(e.offsets[i].first),
                            static_cast<std::size_t>(end - e.offsets[i].first)),
                t.token_bytes(e.ids[i]));
    }
    EXPECT_EQ(end, static_cast<std::int64_t>(text.size()));
  }
}

TEST(Trainer, LearnsTheReferencesVocabularyAndMerges) {
  TokenizerTrainer trainer({.kind = "bpe", .vocab_size = 600});
  read_documents((kData / "corpus.txt").string(), {}, [&](Document&& d) { trainer.add(d.text); });
  const Tokenizer mine = trainer.finish(), reference = load_tokenizer(kData);
  const Json a = parse_json(mine.to_json()), b = parse_json(reference.to_json());
  EXPECT_EQ(a["model"]["merges"], b["model"]["merges"]);
  EXPECT_EQ(a["model"]["vocab"], b["model"]["vocab"]);
  EXPECT_EQ(mine.hash(), reference.hash());
}

TEST(Tokenizer, AnyBytesSurvive) {
  std::mt19937 generator(1);
  TokenizerTrainer trainer({.kind = "char", .vocab_size = 300});
  trainer.add("hello wörld, 東京");
  for (const Tokenizer& t : {load_tokenizer(kData), trainer.finish()})
    for (int i = 0; i < 2000; ++i) {
      const std::string text = random_bytes(generator, generator() % 40);
      EXPECT_EQ(t.decode(t.encode(text).ids), text);
    }
}

TEST(CharTokenizer, HasAnIdACharacterAndSpellsTheRestInBytes) {
  TokenizerTrainer trainer({.kind = "char", .vocab_size = 262});
  trainer.add("aaaabbbcc日日");
  const Tokenizer t = trainer.finish();
  EXPECT_EQ(t.vocab_size(), 261);  // the end token, 256 bytes, a b 日 c
  EXPECT_EQ(t.encode("ab").ids, (std::vector<std::int32_t>{257, 258}));
  EXPECT_EQ(t.encode("z").ids, (std::vector<std::int32_t>{1 + 'z'}));
  EXPECT_EQ(t.encode("é").ids.size(), 2u);
  EXPECT_EQ(t.eos_id(), 0);
}

TEST(Tokenizer, SavesAndLoadsEqual) {
  TokenizerTrainer chars({.kind = "char", .vocab_size = 300});
  chars.add("MKTAYIAKQR");
  for (const Tokenizer& t : {load_tokenizer(kData), chars.finish()}) {
    const fs::path dir = scratch("save");
    save_tokenizer(t, dir);
    const Tokenizer back = load_tokenizer(dir);
    EXPECT_EQ(back.hash(), t.hash());
    EXPECT_EQ(back.eos_id(), t.eos_id());
    if (t.kind() != "byte-level BPE") continue;
    fs::remove(dir / "tokenizer.json");  // then GPT-2's two files serve
    EXPECT_EQ(load_tokenizer(dir).hash(), t.hash());
  }
}

TEST(Tokenizer, AWordOfADocumentsLengthTakesNoQuadraticTime) {
  const Tokenizer t = load_tokenizer(kData);
  std::string text(2'000'000, 'a');
  for (std::size_t i = 0; i < text.size(); i += 7) text[i] = 'b';
  const Encoding e = t.encode(text);
  EXPECT_EQ(t.decode(e.ids), text);
}

TEST(StreamDecoder, NeverEmitsHalfACharacter) {
  const Tokenizer t = load_tokenizer(kData);
  const std::string text = "日本 👩‍👧 naïve \xFF\xF0\x9F end";
  StreamDecoder decoder(t);
  std::string all;
  for (std::int32_t id : t.encode(text).ids) {
    const std::string part = decoder.push(id);
    if ((all + part).find('\xFF') == std::string::npos) {
      EXPECT_EQ(made_utf8(part), part);
    }
    all += part;
  }
  EXPECT_EQ(all + decoder.finish(), text);
}

// What a damaged or foreign file gets: one sentence that names the file and what it does not know.
void refused(const std::string& good, const std::function<void(Json&)>& change,
             const std::string& word) {
  Json json = parse_json(good);
  change(json);
  try {
    tokenizer_from_json(json_text(json), "t.json");
    ADD_FAILURE() << word;
  } catch (const UserError& error) {
    EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    EXPECT_EQ(std::string(error.what()).find("t.json: "), 0u) << error.what();
  }
}

TEST(Tokenizer, RefusesConstructsItDoesNotKnow) {
  const std::string good = load_tokenizer(kData).to_json();
  for (const char* part : {"normalizer", "pre_tokenizer", "model", "decoder", "post_processor"})
    refused(
        good, [&](Json& j) { j[part]["type"] = "Unheard"; }, "Unheard");
  refused(
      good,
      [](Json& j) {
        j["pre_tokenizer"] = {{"type", "UnicodeScripts"}};
      },
      "UnicodeScripts");
  refused(
      good, [](Json& j) { j["pre_tokenizer"]["use_regex"] = 3; }, "use_regex");
  refused(
      good,
      [](Json& j) {
        j["pre_tokenizer"] = {
            {"type", "Split"}, {"pattern", {{"Regex", "[a&&b]"}}}, {"behavior", "Isolated"}};
      },
      "&&");
  refused(
      good,
      [](Json& j) {
        j["pre_tokenizer"] = {
            {"type", "Split"}, {"pattern", {{"Regex", "(a"}}}, {"behavior", "Isolated"}};
      },
      "(a");
  refused(
      good,
      [](Json& j) {
        j["pre_tokenizer"] = {
            {"type", "Split"}, {"pattern", {{"String", "a"}}}, {"behavior", "Mixed"}};
      },
      "Mixed");
  refused(
      good, [](Json& j) { j["model"]["dropout"] = 0.1; }, "dropout");
  const Json a = parse_json(R"({"Sequence": {"id": "A", "type_id": 0}})"),
             b = parse_json(R"({"Sequence": {"id": "B", "type_id": 1}})");
  Json json = parse_json(good);  // transformers' own GPT-2
  json["post_processor"] = {{"type", "TemplateProcessing"},
                            {"single", Json::array({a})},
                            {"pair", Json::array({a, b})},
                            {"special_tokens", Json::object()}};
  EXPECT_EQ(tokenizer_from_json(json_text(json), "t.json").hash(), load_tokenizer(kData).hash());
}

TEST(Tokenizer, RefusesFilesThatContradictThemselves) {
  const std::string good = load_tokenizer(kData).to_json();
  refused(
      good, [](Json& j) { j["model"]["vocab"]["zzz"] = -3; }, "zzz");
  refused(
      good, [](Json& j) { j["model"]["vocab"]["zzz"] = 1e12; }, "zzz");
  refused(
      good, [](Json& j) { j["model"]["vocab"]["zzz"] = 5; }, "both have id 5");
  refused(
      good, [](Json& j) { j["model"]["merges"].push_back("qq zz"); }, "qq zz");
  refused(
      good, [](Json& j) { j["model"]["merges"].push_back("qq"); }, "not two tokens");
  refused(
      good, [](Json& j) { j.erase("model"); }, "model");
  refused(
      good, [](Json& j) { j["model"]["type"] = 3; }, "model: type is 3");
  refused(
      good, [](Json& j) { j["added_tokens"][0]["id"] = 3; }, "id 3");
  refused(
      good,
      [](Json& j) {
        j["post_processor"] = {
            {"type", "BertProcessing"}, {"sep", {"[SEP]", 600}}, {"cls", {"[CLS]", 0}}};
      },
      "id 600");
  refused(
      good,
      [](Json& j) {
        j["added_tokens"].push_back({{"id", 700}, {"content", "<|endoftext|>"}});
      },
      "<|endoftext|>");
}

TEST(Tokenizer, DamagedFilesNeverCrash) {
  std::mt19937 generator(3);
  const std::string good = load_tokenizer(kData).to_json();
  for (int i = 0; i < 200; ++i) {
    std::string bad = good;
    if (i % 4 == 0)
      bad.resize(generator() % bad.size());
    else
      bad[generator() % bad.size()] = static_cast<char>(generator() & 0xFF);
    try {
      tokenizer_from_json(bad, "t.json").encode("hello");
    } catch (const UserError&) {
    }
  }
}

}  // namespace
}  // namespace weft

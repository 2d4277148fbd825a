// WordPiece, WordLevel and Unigram against the reference (tests/data/make_parts.py), and files that
// are not models.
#include "text/token_model.h"

#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <tuple>

#include "core/check.h"

namespace weft {
namespace {

const std::filesystem::path kData = WEFT_TEST_DATA;

std::unique_ptr<TokenModel> read(const Json& model) {
  const std::string type = model["type"];
  return type == "WordPiece" ? read_wordpiece(model, "test.json")
         : type == "Unigram" ? read_unigram(model, "test.json")
                             : read_word_level(model, "test.json");
}

using Tokens = std::vector<std::tuple<std::int64_t, std::int64_t, std::int64_t>>;
Tokens encode(const TokenModel& model, std::string_view piece) {
  std::vector<PieceToken> out = {{-7, 0, 0}};  // appended to, not replaced
  model.encode(piece, out);
  EXPECT_EQ(out[0].id, -7);
  Tokens tokens;
  for (std::size_t i = 1; i < out.size(); ++i)
    tokens.emplace_back(out[i].id, out[i].begin, out[i].end);
  return tokens;
}

TEST(TokenModel, EncodesAsTheReference) {
  const Json golden = read_json_object(kData / "parts.json");
  std::size_t n = 0;
  for (const Json& entry : golden["models"]) {
    const auto model = read(entry["model"]);
    const auto again = read(parse_json(json_text(model->to_json())));
    EXPECT_EQ(model->kind(), entry["model"]["type"]);
    EXPECT_EQ(parse_json(json_text(model->to_json())), entry["model"]);
    for (const Json& c : entry["cases"]) {
      Tokens expected;
      for (const Json& t : c[1]) expected.emplace_back(t[0], t[1], t[2]);
      EXPECT_EQ(encode(*model, c[0].get<std::string>()), expected)
          << brief(entry["model"], 300) << "\n"
          << c[0];
      EXPECT_EQ(encode(*again, c[0].get<std::string>()), expected);
      ++n;
    }
  }
  EXPECT_GT(n, 1000u);
}

// Paths of the same tokens in another order are as good; which one wins hangs on the last bit of a
// score, which the reference reads its own way.
TEST(TokenModel, ScoresAreReadAsTheReferenceReadsThem) {
  const Json json = parse_json(
      R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["_", -2.717862129211426], )"
      R"(["------------", -11.049247741699219],
                                    ["----------------", -6.011274337768555]]})");
  const auto unigram = read_unigram(json, "test.json");
  EXPECT_EQ(encode(*unigram, "_" + std::string(40, '-')),
            (Tokens{{1, 0, 1}, {2, 1, 13}, {3, 13, 29}, {2, 29, 41}}));
  EXPECT_EQ(unigram->to_json()["vocab"][2][1].get<double>(),
            -11.049247741699219);  // and written as it was
}

// A whole document as one piece takes time that grows with its length, not with its square.
TEST(TokenModel, LongPiecesTakeLinearTime) {
  std::string document;
  while (document.size() < 4'000'000) document += "abcab";
  const auto unigram = read_unigram(
      parse_json(
          R"({"unk_id": 0, "vocab": [["<unk>", 0], ["a", -1], ["ab", -1.5], ["abcab", -9]]})"),
      "test.json");
  std::vector<PieceToken> out;
  unigram->encode(document, out);
  EXPECT_EQ(out.back().end, document.size());
  out.clear();
  // Each step of the greedy search sees a token end early and goes no further.
  const auto wordpiece =
      read_wordpiece({{"vocab", {{"[UNK]", 0}, {"a", 1}, {"##b", 2}, {"##c", 3}, {"##a", 4}}},
                      {"max_input_chars_per_word", 5'000'000}},
                     "test.json");
  wordpiece->encode(document, out);
  EXPECT_EQ(out.size(), document.size());
}

TEST(TokenModel, BrokenBytesDoNoHarm) {
  const auto unigram =
      read_unigram(parse_json(R"({"unk_id": 0, "vocab": [["<unk>", 0], ["a", -1]]})"), "test.json");
  EXPECT_EQ(encode(*unigram, "a\xFF\xE6\x97"), (Tokens{{1, 0, 1}, {0, 1, 4}}));
  const auto wordpiece = read_wordpiece({{"vocab", {{"[UNK]", 0}, {"a", 1}}}}, "test.json");
  EXPECT_EQ(encode(*wordpiece, "a\xFF"), (Tokens{{0, 0, 2}}));
}

TEST(TokenModel, RefusesWhatIsNoModel) {
  const auto refused = [](const char* json, const std::string& word) {
    const Json model = parse_json(json);
    for (const auto& reader : {read_wordpiece, read_unigram, read_word_level}) {
      if (model.contains("vocab") && model["vocab"].is_structured() &&
          model["vocab"].is_array() != (reader == read_unigram))
        continue;
      try {
        std::vector<PieceToken> out;
        reader(model, "some.json")->encode("q", out);
        ADD_FAILURE() << model;
      } catch (const UserError& error) {
        EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
        EXPECT_NE(std::string(error.what()).find("some.json"), std::string::npos) << error.what();
      }
    }
  };
  refused(R"({})", "vocab");
  refused(R"({"vocab": 7})", "vocab");
  refused(R"({"vocab": []})", "vocab");
  refused(R"({"vocab": {"a": -1}})", "'a' has id -1");
  refused(R"({"vocab": {"a": 1099511627776}})", "'a' has id");
  refused(R"({"vocab": {"a": "0"}})", "'a' has id");
  refused(R"({"vocab": {"a": 1, "b": 1}})", "both have id 1");
  refused(R"({"vocab": {"a": 0}, "unk_token": 3})", "unk_token");
  refused(R"({"vocab": {"a": 0}, "unk_token": "<u>"})", "<u>");
  refused(R"({"vocab": [["a"]]})", "model.vocab");
  refused(R"({"vocab": [["a", 1, 2]]})", "model.vocab");
  refused(R"({"vocab": [[1.0, "a"]]})", "model.vocab");
  refused(R"({"vocab": [["a", 0], ["b", 0]], "unk_id": 2})", "unk_id");
  refused(R"({"vocab": [["a", 0]], "unk_id": -1})", "unk_id");
  refused(R"({"vocab": [["a", 0]], "byte_fallback": 1})", "byte_fallback");
  refused(R"({"vocab": [["a", 0]]})", "unk_id");
}

}  // namespace
}  // namespace weft

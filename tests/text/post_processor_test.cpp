// Post-processors against the reference (tests/data/make_parts.py), and files that are none.
#include "text/post_processor.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/check.h"

namespace weft {
namespace {

const std::filesystem::path kData = WEFT_TEST_DATA;

Encoding read_encoding(const Json& json) {
  Encoding e;
  json["ids"].get_to(e.ids);
  json["type_ids"].get_to(e.type_ids);
  for (const Json& o : json["offsets"]) e.offsets.emplace_back(o[0], o[1]);
  json["added"].get_to(e.added);
  e.mask.assign(e.ids.size(), 1);
  return e;
}

TEST(PostProcessor, ProcessesAsTheReference) {
  const Json golden = read_json_object(kData / "parts.json");
  std::vector<TokenSpaces> spaces(
      20, spaces_of_token("<unk>"));  // make_parts.py: the vocabulary, ids 20 to 29
  for (const char* token : {"Ġa", "a", "ĠĠ", "Ġ", "Ċ", "b", "Ġb", "ĠĠĠ", "x", "ĊĠ"})
    spaces.push_back(spaces_of_token(token));
  std::size_t n = 0;
  for (const Json& entry : golden["post_processors"]) {
    SCOPED_TRACE(json_text(entry["post_processor"]));
    const auto first = read_post_processor(entry["post_processor"], "test.json");
    EXPECT_EQ(parse_json(json_text(first->to_json())), entry["post_processor"]);
    const auto post = read_post_processor(parse_json(json_text(first->to_json())), "test.json");
    EXPECT_EQ(post->n_added(false), entry["n_added"][0].get<std::int64_t>());
    EXPECT_EQ(post->n_added(true), entry["n_added"][1].get<std::int64_t>());
    for (const Json& c : entry["cases"]) {
      const bool pair = c["texts"].size() == 2;
      std::optional<Encoding> second;
      if (pair) second = read_encoding(c["before"][1]);
      const std::string a = c["texts"][0], b = pair ? c["texts"][1].get<std::string>() : "";
      const Encoding got = post->process(read_encoding(c["before"][0]), std::move(second), c["add"],
                                         a, b, spaces),
                     expected = read_encoding(c["after"]);
      EXPECT_EQ(got.ids, expected.ids) << json_text(c);
      EXPECT_EQ(got.type_ids, expected.type_ids) << json_text(c);
      EXPECT_EQ(got.offsets, expected.offsets) << json_text(c);
      EXPECT_EQ(got.added, expected.added) << json_text(c);
      EXPECT_EQ(got.mask, expected.mask) << json_text(c);
      ++n;
    }
  }
  EXPECT_GT(n, 500u);
}

TEST(PostProcessor, RefusesWhatIsNone) {
  const auto refused = [](const char* json, const std::string& word) {
    try {
      read_post_processor(parse_json(json), "some.json");
      ADD_FAILURE() << json;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("some.json"), std::string::npos) << error.what();
    }
  };
  refused("3", "object");
  refused("{}", "(none)");
  refused(R"({"type": "Unheard"})", "Unheard");
  refused(R"({"type": 1})", "type");
  refused(R"({"type": "BertProcessing"})", "sep");
  refused(R"({"type": "BertProcessing", "sep": ["x", -1], "cls": ["y", 1]})", "sep");
  refused(R"({"type": "RobertaProcessing", "sep": ["x", 1], "cls": ["y", 1, 2]})", "cls");
  refused(R"({"type": "ByteLevel", "trim_offsets": "yes"})", "trim_offsets");
  refused(R"({"type": "Sequence"})", "processors");
  refused(R"({"type": "Sequence", "processors": [{"type": "Unheard"}]})", "Unheard");
  refused(R"({"type": "TemplateProcessing"})", "single");
  refused(R"({"type": "TemplateProcessing", "single": [], "pair": [7]})", "7");
  refused(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "C", "type_id": 0}}], )"
          R"("pair": []})",
          "'C'");
  refused(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "B", "type_id": 0}}], )"
          R"("pair": []})",
          "text B");
  refused(R"({"type": "TemplateProcessing", "single": [{"Sequence": {"id": "A", "type_id": -1}}], )"
          R"("pair": []})",
          "type_id");
  refused(
      R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "X", "type_id": 0}}], )"
      R"("pair": []})",
      "'X'");
  refused(R"({"type": "TemplateProcessing", "single": [], "pair": [], )"
          R"("special_tokens": {"X": {"id": "X", "ids": [1], "tokens": []}}})",
          "'X'");
  refused(R"({"type": "TemplateProcessing", "single": [], "pair": [], )"
          R"("special_tokens": {"X": {"id": "X", "ids": [-1], "tokens": ["X"]}}})",
          "'X'");
}

}  // namespace
}  // namespace weft

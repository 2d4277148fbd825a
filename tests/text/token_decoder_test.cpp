// Decoders against the reference (tests/data/make_parts.py), and files that are none.
#include "text/token_decoder.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/check.h"

namespace weft {
namespace {

const std::filesystem::path kData = WEFT_TEST_DATA;

std::string decode(const TokenDecoder& decoder, std::vector<std::string> tokens) {
  std::string text;
  for (const std::string& part : decoder.chain(std::move(tokens))) text += part;
  return text;
}

TEST(TokenDecoder, DecodesAsTheReference) {
  const Json golden = read_json_object(kData / "parts.json");
  std::size_t n = 0;
  for (const Json& entry : golden["decoders"]) {
    SCOPED_TRACE(json_text(entry["decoder"]));
    const auto first = read_token_decoder(entry["decoder"], "test.json");
    EXPECT_EQ(parse_json(json_text(first->to_json())), entry["decoder"]);
    const auto decoder = read_token_decoder(parse_json(json_text(first->to_json())), "test.json");
    EXPECT_NO_THROW(decoder->chain({}));
    for (const Json& c : entry["cases"]) {
      EXPECT_EQ(decode(*decoder, c[0].get<std::vector<std::string>>()), c[1].get<std::string>())
          << c[0];
      ++n;
    }
  }
  EXPECT_GT(n, 500u);
  EXPECT_EQ(read_token_decoder(nullptr, "test.json"), nullptr);
}

TEST(TokenDecoder, KeepsBytesAndShortTokens) {
  EXPECT_EQ(decode(*read_token_decoder({{"type", "ByteLevel"}}, "test.json"), {"\xC3\x83", "a b"}),
            "\xC3"
            "a b");
  // The reference stops with an error here.
  const auto strip = read_token_decoder(
      {{"type", "Strip"}, {"content", "a"}, {"start", 2}, {"stop", 2}}, "test.json");
  EXPECT_EQ(decode(*strip, {"aaa", "a", "", "aabaa"}), "b");
  const auto replace = read_token_decoder(
      {{"type", "Replace"}, {"pattern", {{"Regex", "."}}}, {"content", "-"}}, "test.json");
  EXPECT_EQ(decode(*replace, {"\xFF"
                              "a"}),
            "\xFF-");
}

TEST(TokenDecoder, RefusesWhatIsNone) {
  const auto refused = [](const char* json, const std::string& word) {
    try {
      read_token_decoder(parse_json(json), "some.json");
      ADD_FAILURE() << json;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
      EXPECT_NE(std::string(error.what()).find("some.json"), std::string::npos) << error.what();
    }
  };
  refused("[]", "object");
  refused("{}", "(none)");
  refused(R"({"type": "Unheard"})", "Unheard");
  refused(R"({"type": "Metaspace", "replacement": "ab"})", "replacement");
  refused(R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "last"})", "last");
  refused(R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first", )"
          R"("add_prefix_space": false})",
          "first");
  refused(R"({"type": "Replace", "pattern": {"String": "a"}})", "content");
  refused(R"({"type": "Replace", "pattern": {"Glob": "a"}, "content": ""})", "Glob");
  refused(R"({"type": "Replace", "pattern": {"Regex": "(a"}, "content": ""})", "(a");
  refused(R"({"type": "Strip", "content": " "})", "start");
  refused(R"({"type": "Strip", "content": "", "start": 1, "stop": 1})", "content");
  refused(R"({"type": "Sequence", "decoders": 1})", "decoders");
  refused(R"({"type": "Sequence", "decoders": [{"type": "Unheard"}]})", "Unheard");
}

}  // namespace
}  // namespace weft

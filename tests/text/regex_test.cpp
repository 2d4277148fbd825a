// Regular expressions of a tokenizer.json: what one may cost, and that all parts of a tokenizer
// mean the same by one.
#include "text/characters/regex.h"

#include <gtest/gtest.h>

#include <chrono>

#include "core/check.h"
#include "io/json.h"
#include "text/files/tokenizer_files.h"
#include "text/tokenizer.h"

namespace weft {
namespace {

std::size_t n_matches(const Regex& regex, std::string_view text) {
  std::size_t n = 0;
  each_match(regex, text, [&](std::size_t, std::size_t) { ++n; });
  return n;
}

std::string error_of(const char* pattern, const std::string& text) {
  try {
    n_matches(Regex(pattern, "some.json: normalizer"), text);
  } catch (const UserError& error) {
    return error.what();
  }
  return "";
}

// Exponential at one place, and quadratic over the places, where each is cheap.
TEST(Regex, HostilePatternsEndWithASentence) {
  std::string exponential(61, 'a');
  exponential.back() = 'b';
  const auto begin = std::chrono::steady_clock::now();
  for (const char* pattern : {"(a+)+$", "(a|aa)+$", "(a*)*[cd]", "(?:a?){60}a{60}[cd]"}) {
    const std::string said = error_of(pattern, exponential);
    EXPECT_EQ(said.find("some.json: normalizer: the regex '"), 0u) << pattern << ": " << said;
    EXPECT_NE(said.find("for a text of 61 bytes"), std::string::npos) << said;
    EXPECT_EQ(said.find("PCRE2"), std::string::npos) << said;
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(20));
  const std::string said = error_of("[ab]*[cd]", std::string(400'000, 'a'));
  EXPECT_NE(said.find("takes too"), std::string::npos) << said;
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::seconds(90));
}

// What tokenizers have in use: long runs, of white space above all, and few matches in much text.
TEST(Regex, LongTextsAreNoHarm) {
  const Regex llama(R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
                    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)",
                    "test");
  const std::size_t n = 3'000'000;
  std::string spaces(n, ' '), lines(n, 'x');
  spaces.push_back('a');
  lines.push_back('\n');
  lines.append(n, 'y');
  EXPECT_EQ(n_matches(llama, spaces), 2u);
  EXPECT_EQ(n_matches(llama, std::string(n, 'a')), 1u);
  EXPECT_EQ(n_matches(llama, std::string(n, '.')), 1u);
  EXPECT_EQ(n_matches(Regex("(?:ab|c)+", "test"), std::string(n, 'c')), 1u);
  EXPECT_EQ(n_matches(Regex("\\n+", "test"), lines), 1u);
}

// U+180E is no white space, and a word has marks and connectors, whichever part looks for them.
TEST(Regex, NormalizerSplitAndDecoderMeanTheSame) {
  const auto tokenizer = [](const char* pattern) {
    const Json replace = {{"type", "Replace"}, {"pattern", {{"Regex", pattern}}}, {"content", "#"}};
    Json json = {{"model",
                  {{"type", "WordLevel"},
                   {"vocab", {{"#", 0}, {"a_\u0301", 1}, {"\u180e", 2}, {"a1f", 3}, {"?", 4}}},
                   {"unk_token", "?"}}},
                 {"decoder", replace}};
    return std::pair(json, replace);
  };
  const std::pair<const char*, const char*> cases[] = {
      {R"(\s)", "\u180e"}, {R"(\w+)", "a_\u0301"}, {R"(\h+)", "a1f"}, {R"(\bx\b)", "\u180e"}};
  for (const auto& [pattern, text] : cases) {
    SCOPED_TRACE(pattern);
    auto [json, replace] = tokenizer(pattern);
    const std::string decoded =
        tokenizer_from_json(json_text(json), "test")
            .decode(std::vector<std::int32_t>{
                tokenizer_from_json(json_text(json), "test").id(text).value()});
    json.erase("decoder");
    json["normalizer"] = replace;
    const Tokenizer normalizing = tokenizer_from_json(json_text(json), "test");
    const auto ids = normalizing.ids(text);
    ASSERT_EQ(ids.size(), 1u);
    EXPECT_EQ(normalizing.token(ids[0]), decoded);
  }
}

}  // namespace
}  // namespace weft

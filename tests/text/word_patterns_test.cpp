// The words that are matched by hand against PCRE2 running the same pattern, on random texts.
#include "text/characters/word_patterns.h"

#include <gtest/gtest.h>

#include <random>

#include "text/characters/byte_level.h"
#include "text/characters/regex.h"
#include "text/characters/unicode.h"

namespace weft {
namespace {

constexpr const char* kGpt2 =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt2Short =
    R"('(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3})"
    R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 = R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N})"
                               R"(| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

class Texts {
 public:
  explicit Texts(unsigned seed) : generator_(seed) {}
  std::string next() {
    // One kind of character after another, so that runs and their borders are met as often as
    // single ones.
    static const std::vector<std::string> kPieces = {" ",
                                                     " ",
                                                     "\n",
                                                     "\r",
                                                     "\r\n",
                                                     "\t",
                                                     "\v",
                                                     "\x1c",
                                                     "\xC2\x85",
                                                     "\xC2\xA0",
                                                     "\xE1\xA0\x8E",
                                                     "\xE2\x80\x83",
                                                     "\xE2\x80\x8B",
                                                     "\xE3\x80\x80",
                                                     "'s",
                                                     "'S",
                                                     "'t",
                                                     "'RE",
                                                     "'ve",
                                                     "'Ll",
                                                     "'d",
                                                     "'m",
                                                     "'\xC5\xBF",
                                                     "'",
                                                     "'l",
                                                     "'r",
                                                     "\xE2\x80\x99s",
                                                     "a",
                                                     "Z",
                                                     "\xC3\xA9",
                                                     "e\xCC\x81",
                                                     "\xE6\x97\xA5",
                                                     "\xD9\xA3",
                                                     "\xC2\xBD",
                                                     "\xE2\x85\xA7",
                                                     "7",
                                                     "123",
                                                     "4567",
                                                     ".",
                                                     "!?",
                                                     "_",
                                                     "$",
                                                     "\xF0\x9F\x8E\x89",
                                                     "\xCC\x81",
                                                     "\xEF\xBF\xBD",
                                                     std::string(1, '\0'),
                                                     "\x7F"};
    std::string text;
    for (std::size_t n = random(14); n > 0; --n) {
      if (random(4) == 0)
        append_utf8(text, code());
      else
        for (std::size_t times = 1 + (random(5) == 0 ? random(6) : 0), i = 0,
                         which = random(kPieces.size());
             i < times; ++i)
          text += kPieces[which];
    }
    return text;
  }

 private:
  std::size_t random(std::size_t below) { return generator_() % below; }
  std::uint32_t code() {
    static constexpr std::uint32_t kEnds[] = {0x80, 0x300, 0x3000, 0xD800, 0x20000, 0x110000};
    std::uint32_t code = static_cast<std::uint32_t>(random(kEnds[random(std::size(kEnds))]));
    return code >= 0xD800 && code < 0xE000 ? 0xFFFD : code;
  }
  std::mt19937 generator_;
};

TEST(WordPatterns, CutAsPcre2Does) {
  struct Case {
    const char* name;
    const char* regex;
    WordEnd word_end;
  };
  const Case cases[] = {{"ByteLevel", kGpt2, gpt2_word_end},
                        {"GPT-2", kGpt2, known_word_pattern(kGpt2)},
                        {"GPT-2, short", kGpt2Short, known_word_pattern(kGpt2Short)},
                        {"Llama 3", kLlama3, known_word_pattern(kLlama3)},
                        {"Qwen 2", kQwen2, known_word_pattern(kQwen2)}};
  for (const auto& [name, pattern, word_end] : cases) {
    ASSERT_NE(word_end, nullptr) << name;
    const Regex regex(pattern, "test");
    Texts texts(11);
    std::size_t n_words = 0;
    for (int i = 0; i < 40'000; ++i) {
      const std::string text = texts.next();
      std::vector<std::size_t> expected, ends;
      RegexScan scan(regex);
      scan.begin(text);
      for (std::size_t begin = 0, end = 0; scan.next(begin, end);) {
        ASSERT_EQ(begin, expected.empty() ? 0 : expected.back())
            << name << ": the pattern leaves something out";
        expected.push_back(end);
      }
      for (std::size_t at = 0; at < text.size(); at = ends.back())
        ends.push_back(word_end(text, at));
      ASSERT_EQ(ends, expected) << name << ", text " << i << ": '" << text << "'";
      n_words += ends.size();
    }
    EXPECT_GT(n_words, 200'000u) << name;
  }
  EXPECT_EQ(known_word_pattern(fmt::format("{}|x", kLlama3)), nullptr);
}

}  // namespace
}  // namespace weft

// Tokens, places and words of texts as a page shows them.
#include "inspect/attention_text.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "text/files/tokenizer_files.h"

namespace weft {
namespace {

using Strings = std::vector<std::string>;
using Numbers = std::vector<std::int64_t>;
using Offsets = std::vector<std::pair<std::int64_t, std::int64_t>>;

AttentionText shown(const std::string& tokenizer, const std::string& text,
                    const std::optional<std::string>& pair = std::nullopt) {
  const Tokenizer t =
      load_tokenizer(std::filesystem::path(WEFT_TEST_DATA) / "tokenizers" / tokenizer);
  return attention_text(t, "7", text, pair, t.encode(text, pair, {}).front());
}

TEST(AttentionText, KeepsSpacesAndJoinsSubwords) {
  const AttentionText t = shown("gpt2", "No, unhappily so.");
  EXPECT_EQ(t.name, "7");
  EXPECT_EQ(t.text, "No, unhappily so.");
  std::string joined;
  for (const std::string& token : t.tokens) joined += token;
  EXPECT_EQ(joined, t.text);
  ASSERT_EQ(t.words.size(), t.tokens.size());
  EXPECT_EQ(t.offsets.front().first, 0);
  EXPECT_EQ(t.offsets.back(), (std::pair<std::int64_t, std::int64_t>{16, 17}));
  EXPECT_EQ(t.words.back(), 4) << "No | , | unhappily | so | .";
  EXPECT_FALSE(t.pair_from);
}

TEST(AttentionText, OfAPairCountsThroughBoth) {
  const AttentionText t = shown("bert_uncased", "the héron", "a cat");
  EXPECT_EQ(t.text, "the héron\na cat");
  ASSERT_TRUE(t.pair_from);
  const auto first = static_cast<std::size_t>(*t.pair_from);
  EXPECT_EQ(t.tokens[first - 1], "[SEP]");
  EXPECT_EQ(t.offsets[first - 1], (std::pair<std::int64_t, std::int64_t>{-1, -1}));
  EXPECT_EQ(t.offsets.front(), (std::pair<std::int64_t, std::int64_t>{-1, -1}));
  EXPECT_EQ(t.offsets[first].first, 10) << "characters, not bytes";
  EXPECT_EQ(t.offsets[t.offsets.size() - 2].second, 15);
  EXPECT_EQ(t.words[1], 1);                       // the, behind [CLS]
  EXPECT_EQ(t.words[first - 1], 3);               // [SEP], behind héron
  EXPECT_EQ(t.words.back(), t.words[first] + 2);  // a, cat, [SEP]
}

// Whether the token spells the space (GPT-2), marks it (Llama), or the tokenizer passes over it.
TEST(AttentionText, ASpaceStandsWhereTheTextHasOne) {
  for (const std::string name : {"gpt2", "bert_uncased", "llama2", "roberta"}) {
    const AttentionText t = shown(name, "a cat, so");
    std::string joined;
    for (std::size_t i = 0; i < t.tokens.size(); ++i)
      if (t.offsets[i].first >= 0) joined += t.tokens[i];
    if (joined.starts_with(' ')) joined.erase(0, 1);  // Llama's mark, a token by itself here
    EXPECT_EQ(joined, "a cat, so") << name;
  }
}

// What has no white space is no single word.
TEST(AttentionText, AResidueIsAWord) {
  const AttentionText t = shown("esm", "MKTAY");
  EXPECT_EQ(t.tokens, (Strings{"<cls>", "M", "K", "T", "A", "Y", "<eos>"}));
  EXPECT_EQ(t.words, (Numbers{0, 1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(t.offsets, (Offsets{{-1, -1}, {0, 1}, {1, 2}, {2, 3}, {3, 4}, {4, 5}, {-1, -1}}));
}

// A character of several tokens is one word, and each shows that it is a part.
TEST(AttentionText, PiecesOfACharacterStayTogether) {
  const AttentionText t = shown("gpt2", "a 🌋!");
  ASSERT_GE(t.tokens.size(), 4u);
  EXPECT_EQ(t.words.front(), 0);
  EXPECT_EQ(t.words.back(), 2) << "a | 🌋 | !";
  for (std::size_t i = 1; i + 1 < t.words.size(); ++i) EXPECT_EQ(t.words[i], 1) << i;
}

TEST(AttentionText, WordsRiseByOneAtMost) {
  for (const std::string name : {"gpt2", "bert_uncased", "llama3", "llama2", "roberta", "esm"}) {
    const AttentionText t = shown(name, "Don't  stop: it's 3.14\n\tnow — 東京 unbelievably", "B b");
    ASSERT_EQ(t.words.size(), t.ids.size()) << name;
    ASSERT_EQ(t.offsets.size(), t.ids.size()) << name;
    EXPECT_EQ(t.words.front(), 0) << name;
    for (std::size_t i = 1; i < t.words.size(); ++i) {
      EXPECT_GE(t.words[i], t.words[i - 1]) << name;
      EXPECT_LE(t.words[i], t.words[i - 1] + 1) << name;
    }
    for (const auto& [begin, end] : t.offsets) EXPECT_LE(begin, end) << name;
  }
}

}  // namespace
}  // namespace weft

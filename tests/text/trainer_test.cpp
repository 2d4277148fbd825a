// What the trainers learn: the reference's merges, on corpora of which most are degenerate
// (tests/data/make_merges.py).
#include "text/learn/trainer.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "core/check.h"
#include "io/json.h"

namespace weft {
namespace {

const std::filesystem::path kData = WEFT_TEST_DATA;

TEST(Trainer, LearnsTheReferencesMerges) {
  const Json golden = read_json_object(kData / "merges.json");
  ASSERT_GE(golden["corpora"].size(), 20u);
  for (const Json& corpus : golden["corpora"]) {
    SCOPED_TRACE(corpus["name"]);
    TokenizerTrainer trainer(
        {.kind = "bpe",
         .vocab_size = corpus["vocab_size"].get<std::int64_t>(),
         .special_tokens = corpus["special_tokens"].get<std::vector<std::string>>()});
    for (const Json& text : corpus["texts"]) trainer.add(text.get<std::string>());
    const Tokenizer t = trainer.finish();
    EXPECT_EQ(parse_json(t.to_json())["model"]["merges"], corpus["merges"]);
    EXPECT_EQ(t.vocab_size(), corpus["tokens"].get<std::int64_t>());
    for (const Json& text : corpus["texts"])
      EXPECT_EQ(t.decode(t.ids(text.get<std::string>())), text.get<std::string>());
  }
}

TEST(Trainer, CharactersByFrequencyThenCodePoint) {
  TokenizerTrainer trainer({.kind = "char", .vocab_size = 1000});
  trainer.add("bbaa\xFF\n日");
  const Tokenizer t = trainer.finish();
  EXPECT_EQ(t.vocab_size(),
            261);  // no more than there is; the broken byte has its own token already
  EXPECT_EQ(t.ids("ab\n日"), (std::vector<std::int32_t>{257, 258, 259, 260}));
  EXPECT_EQ(t.decode(t.ids("\xFFx")), "\xFFx");
}

TEST(Trainer, NothingIsLearnedFromNothing) {
  for (const char* kind : {"bpe", "char"}) {
    TokenizerTrainer trainer({.kind = kind, .vocab_size = 5000});
    trainer.add("");
    const Tokenizer t = trainer.finish();
    EXPECT_EQ(t.vocab_size(), 257);
    EXPECT_EQ(t.decode(t.ids("any bytes \xF0\x9F")), "any bytes \xF0\x9F");
  }
}

// One word of millions of bytes: linear, not the square of it.
TEST(Trainer, LongRunsTakeNoQuadraticTime) {
  for (const std::string& text : {std::string(3'000'000, 'a'), std::string(3'000'000, ' ')}) {
    TokenizerTrainer trainer({.kind = "bpe", .vocab_size = 300});
    trainer.add(text);
    const Tokenizer t = trainer.finish();
    EXPECT_GT(t.vocab_size(), 270);
    EXPECT_EQ(t.decode(t.ids(text)).size(), text.size());
  }
}

TEST(Trainer, RefusesOptionsThatCannotBe) {
  const auto refused = [](TokenizerTraining options, const std::string& word) {
    try {
      TokenizerTrainer trainer(std::move(options));
      ADD_FAILURE() << word;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  refused({.kind = "unigrams", .vocab_size = 300}, "unigrams");
  refused({.kind = "bpe", .vocab_size = 256}, "257");
  refused({.kind = "bpe", .vocab_size = 1 << 24}, "--vocab-size");
  refused({.vocab_size = 300, .special_tokens = {}}, "--special-tokens");
  refused({.vocab_size = 300, .special_tokens = {"<a>", ""}}, "--special-tokens");
  refused({.vocab_size = 300, .special_tokens = {"<a>", "<b>", "<a>"}}, "'<a>' twice");
  refused({.vocab_size = 300, .special_tokens = {"a"}}, "'a'");
  refused({.vocab_size = 300, .special_tokens = {"Ġ"}}, "'Ġ'");
  refused({.kind = "char", .vocab_size = 300, .special_tokens = {"<0x41>"}}, "<0x41>");
}

}  // namespace
}  // namespace weft

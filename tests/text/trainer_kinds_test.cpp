// What the trainers of WordPiece, Unigram, words, codons and SMILES learn: the reference's
// vocabularies (tests/data/make_trained.py).
#include <gtest/gtest.h>

#include <filesystem>

#include "core/check.h"
#include "io/json.h"
#include "text/learn/trainer.h"

namespace weft {
namespace {

const std::filesystem::path kData = WEFT_TEST_DATA;

OrderedJson train(TokenizerTraining options, const std::vector<std::string>& texts) {
  TokenizerTrainer trainer(std::move(options));
  for (const std::string& text : texts) trainer.add(text);
  return trainer.finish_json();
}

// Scores are equal but for rounding; where the model lost a character, the reference numbers the
// substitutes in the order of a hash table.
void expect_equal_unigrams(const Json& got, const Json& expected) {
  std::map<std::string, double> scores;
  for (const Json& entry : expected) scores[entry[0]] = entry[1];
  EXPECT_EQ(got.size(), expected.size());
  EXPECT_EQ(scores.size(), expected.size());
  for (const Json& entry : got) {
    const auto found = scores.find(entry[0].get<std::string>());
    ASSERT_NE(found, scores.end()) << entry;
    const bool longer = entry[0].get<std::string>().size() > 4;
    EXPECT_NEAR(entry[1].get<double>(), found->second, longer ? 1e-9 : 1e-2) << entry;
  }
  for (std::size_t i = 3; i < got.size(); ++i) EXPECT_GE(got[i - 1][1], got[i][1]);
}

TEST(TrainerKinds, LearnTheReferencesVocabularies) {
  const Json golden = read_json_object(kData / "trained.json");
  ASSERT_GE(golden["cases"].size(), 18u);
  for (const Json& c : golden["cases"]) {
    SCOPED_TRACE(c["kind"].get<std::string>() + " " + json_text(c["vocab_size"]));
    const OrderedJson json = train({.kind = c["kind"],
                                    .vocab_size = c["vocab_size"],
                                    .special_tokens = c["special_tokens"],
                                    .min_frequency = c["min_frequency"],
                                    .limit_alphabet = c["limit_alphabet"]},
                                   c["texts"]);
    const Json vocab = parse_json(json_text(json["model"]["vocab"]));
    if (c["kind"] == "unigram")
      expect_equal_unigrams(vocab, c["vocab"]);
    else
      EXPECT_EQ(vocab, c["vocab"]);
    EXPECT_EQ(json["added_tokens"].size(), c["special_tokens"].size());
  }
}

TEST(TrainerKinds, WordPieceIsAWholeBertTokenizer) {
  const OrderedJson json = train({.kind = "wordpiece",
                                  .vocab_size = 100,
                                  .special_tokens = default_special_tokens("wordpiece")},
                                 {"Über über, ÜBER!"});
  EXPECT_EQ(json["normalizer"]["type"], "BertNormalizer");
  EXPECT_EQ(json["pre_tokenizer"]["type"], "BertPreTokenizer");
  EXPECT_EQ(json["post_processor"]["special_tokens"]["[SEP]"]["ids"], OrderedJson::array({3}));
  EXPECT_EQ(json["decoder"]["prefix"], "##");
  EXPECT_EQ(json["weft"]["eos_token"], "[SEP]");
  EXPECT_TRUE(json["model"]["vocab"].contains("uber"));
  EXPECT_FALSE(json["model"]["vocab"].contains("Uber"));
  // The letters of words, then the letters that continue them, by code point.
  EXPECT_EQ(json["model"]["vocab"]["!"], 5);
  EXPECT_EQ(json["model"]["vocab"]["##b"], 11);
}

std::map<std::string, std::string> roles_of(const OrderedJson& json) {
  return json["weft"].get<std::map<std::string, std::string>>();
}

TEST(TrainerKinds, RolesAreGivenOrKnownByName) {
  using Roles = std::map<std::string, std::string>;
  const auto roles = [](const char* kind, std::vector<std::string> special, Roles given) {
    if (special.empty()) special = default_special_tokens(kind, given);
    return train({.kind = kind, .vocab_size = 600, .special_tokens = special, .roles = given},
                 {"ACG TTT"});
  };
  EXPECT_EQ(roles_of(roles("wordpiece", {"[SEP]", "[PAD]", "[UNK]", "[CLS]", "[MASK]"}, {})),
            (Roles{{"unk_token", "[UNK]"},
                   {"cls_token", "[CLS]"},
                   {"sep_token", "[SEP]"},
                   {"eos_token", "[SEP]"},
                   {"pad_token", "[PAD]"},
                   {"mask_token", "[MASK]"}}));
  EXPECT_EQ(roles_of(roles("bpe", {}, {})), (Roles{{"eos_token", "<|endoftext|>"}}));
  // Given ones take the places of the kind's own, and stand behind the special tokens otherwise.
  const OrderedJson wordpiece =
      roles("wordpiece", {}, {{"unk_token", "<u>"}, {"cls_token", "<c>"}, {"sep_token", "<s>"}});
  EXPECT_EQ(wordpiece["model"]["unk_token"], "<u>");
  EXPECT_EQ(wordpiece["added_tokens"].size(), 5u);
  EXPECT_EQ(wordpiece["post_processor"]["special_tokens"]["<c>"]["ids"], OrderedJson::array({2}));
  EXPECT_EQ(roles_of(wordpiece).at("eos_token"), "<s>");
  const OrderedJson codon = roles("codon", {}, {{"mask_token", "<m>"}, {"unk_token", "<x>"}});
  EXPECT_EQ(codon["added_tokens"][1]["content"], "<x>");
  EXPECT_EQ(codon["added_tokens"][2]["content"], "<m>");
  EXPECT_EQ(roles_of(codon),
            (Roles{{"eos_token", "<|endoftext|>"}, {"unk_token", "<x>"}, {"mask_token", "<m>"}}));
  EXPECT_EQ(roles_of(roles("char", {"<e>", "<pad>"}, {{"mask_token", "<pad>"}})),
            (Roles{{"eos_token", "<e>"}, {"pad_token", "<pad>"}, {"mask_token", "<pad>"}}));
}

TEST(TrainerKinds, TheAlphabetIsLimited) {
  const std::vector<std::string> texts = {"aaab aab zz zz zz", "q"};
  const OrderedJson json = train(
      {.kind = "wordpiece", .vocab_size = 50, .special_tokens = {"[UNK]"}, .limit_alphabet = 2},
      texts);
  EXPECT_TRUE(json["model"]["vocab"].contains("a"));
  EXPECT_TRUE(json["model"]["vocab"].contains("z"));
  EXPECT_FALSE(json["model"]["vocab"].contains("b"));
  EXPECT_FALSE(json["model"]["vocab"].contains("q"));
}

TEST(TrainerKinds, CodonsOfDnaAndRna) {
  const auto tokens = [](const std::vector<std::string>& texts, std::int64_t size) {
    return train(
        {.kind = "codon", .vocab_size = size, .special_tokens = default_special_tokens("codon")},
        texts)["model"]["vocab"];
  };
  const OrderedJson dna = tokens({"ATGNNNACGTT", "NNN acgATG"}, 1000);
  EXPECT_EQ(dna.size(), 2u + 5 + 64 + 1);  // special, letters, codons, NNN
  EXPECT_EQ(dna["<unk>"], 1);
  EXPECT_EQ(dna["A"], 2);
  EXPECT_EQ(dna["AAA"], 7);
  EXPECT_EQ(dna["TTT"], 70);
  EXPECT_EQ(dna["NNN"], 71);
  const OrderedJson rna = tokens({"AUGACG"}, 1000);
  EXPECT_TRUE(rna.contains("UUU") && rna.contains("U") && !rna.contains("T") &&
              !rna.contains("TTT"));
  EXPECT_EQ(tokens({""}, 71).size(), 71u);
  const OrderedJson both = tokens({"ATG", "AUGTAU"}, 1000);
  EXPECT_EQ(both.size(), 2u + 6 + 64 + 37 + 1);  // 27 codons have neither T nor U; TAU as found
  EXPECT_THROW(tokens({"ATG", "AUG"}, 80), UserError);
}

TEST(TrainerKinds, NothingIsLearnedFromNothing) {
  for (const char* kind : {"wordpiece", "unigram", "word", "smiles"}) {
    SCOPED_TRACE(kind);
    const std::vector<std::string> special = default_special_tokens(kind);
    for (const char* text : {"", "\xFF\xFE"}) {
      const OrderedJson json =
          train({.kind = kind, .vocab_size = 5000, .special_tokens = special}, {text});
      EXPECT_LE(json["model"]["vocab"].size(),
                special.size() + 2);  // of the broken bytes unigram sees U+FFFD
    }
  }
}

TEST(TrainerKinds, RefuseOptionsThatCannotBe) {
  const auto refused = [](TokenizerTraining options, const std::string& word) {
    try {
      train(std::move(options), {"a b c d e f"});
      ADD_FAILURE() << word;
    } catch (const UserError& error) {
      EXPECT_NE(std::string(error.what()).find(word), std::string::npos) << error.what();
    }
  };
  for (const char* kind : {"wordpiece", "unigram", "word", "codon", "smiles"})
    refused({.kind = kind}, "<unk>");
  refused({.kind = "wordpiece", .vocab_size = 1, .special_tokens = {"[UNK]"}}, "--vocab-size");
  refused({.kind = "wordpiece", .vocab_size = 100, .special_tokens = {"[UNK]", "x"}}, "'x'");
  refused({.kind = "codon", .vocab_size = 70, .special_tokens = {"</s>", "<unk>"}}, "71");
  refused({.kind = "codon", .vocab_size = 100, .special_tokens = {"<unk>", "ACG"}}, "'ACG'");
  refused({.kind = "unigram", .vocab_size = 6, .special_tokens = {"</s>", "<unk>"}},
          "--vocab-size");
  EXPECT_THROW(default_special_tokens("nothing"), UserError);
}

}  // namespace
}  // namespace weft

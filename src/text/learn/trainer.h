// Trains tokenizers. Deterministic: ties are broken as Hugging Face's trainers break them; where
// theirs depend on the order of a hash table (the ids of WordPiece's "##x") by code point.
//
//   bpe        byte level, as GPT-2
//   wordpiece  as BERT: lower case, punctuation apart, "##" before what continues a word
//   unigram    as SentencePiece: NFKC, ▁ for a space, pieces of the likeliest segmentation
//   (expectation maximisation with pruning) word       a token a word (\w+) and a run of other
//   signs; decoding puts spaces between them char       a token a character; bytes for the ones
//   that have none codon      DNA or RNA: a token a triplet of ACGTUN, a letter for each that is
//   left over at the end; a run of any other signs (lower
//              case too) is <unk>, and the reading frame begins anew behind it
//   smiles     a token an atom, bond, ring or branch, by the pattern of Schwaller et al. (2018)
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "core/fields.h"
#include "io/json.h"
#include "text/tokenizer.h"

namespace weft {

Words trainer_kinds();  // the names of the above
constexpr std::int64_t kMaxVocabSize = (1 << 24) - 1;

struct TokenizerTraining {
  std::string kind = "bpe";
  std::int64_t vocab_size = 8192;  // at most; more only where the special tokens and the alphabet
                                   // alone are more (wordpiece, unigram)
  std::vector<std::string> special_tokens = {
      "<|endoftext|>"};  // first ids; the first is the end token, in wordpiece [SEP] is
  // By role: unk_token, mask_token, pad_token, cls_token, sep_token. Tokens that are not among the
  // special ones become so, behind them; a role that is not given is that of the special token with
  // a usual name ([UNK] or <unk>, [MASK] or <mask>, …), if there is one.
  std::map<std::string, std::string> roles = {};
  std::int64_t min_frequency = 2;      // wordpiece: merges seen less often are not learned
  std::int64_t limit_alphabet = 1000;  // wordpiece: the most frequent characters
};

// <|endoftext|>; with <unk> where the kind has unknowns; </s> and <unk> for unigram; [PAD] [UNK]
// [CLS] [SEP] [MASK] for wordpiece. `roles` (as in TokenizerTraining) give the tokens of those
// roles their texts.
std::vector<std::string> default_special_tokens(
    const std::string& kind, const std::map<std::string, std::string>& roles = {});

// Counts one text after another, then learns. `progress` (may be empty) is told the fraction done.
class TokenizerTrainer {
 public:
  explicit TokenizerTrainer(TokenizerTraining options);
  ~TokenizerTrainer();
  void add(std::string_view text);
  // A whole tokenizer.json. Its "weft" key names the end token and the other roles; without it
  // (Tokenizer::save leaves it out) Hugging Face's tokenizers load it too.
  OrderedJson finish_json(const std::function<void(double)>& progress = {});
  Tokenizer finish(const std::function<void(double)>& progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft

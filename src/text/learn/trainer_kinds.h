// The kinds of trainers behind TokenizerTrainer: each says how a text is cut into the pieces to
// count, and learns from the counts.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"
#include "text/learn/trainer.h"

namespace weft {

struct PieceCount {
  std::string text;
  std::int64_t count = 0;
};
using PieceCounts = std::vector<PieceCount>;  // in order of first sight
using Progress = std::function<void(double)>;
using TakePiece = std::function<void(std::string_view)>;

// The parts of a tokenizer.json that depend on the kind; what is not set is null.
struct LearnedTokenizer {
  OrderedJson normalizer, pre_tokenizer, post_processor, decoder, model;
};

struct TrainerKind {
  const char* name;
  std::vector<std::string> special_tokens;       // by default
  bool has_unknowns;                             // and so needs an unknown token
  bool (*reserves)(const std::string& special);  // a token that the tokenizer needs for itself
  std::int64_t own_tokens;                       // that it needs beside the special ones
  void (*cut)(std::string_view text, const TakePiece& take);
  LearnedTokenizer (*learn)(const TokenizerTraining&, const PieceCounts&, const Progress&);
};

// trainer_bytes.cpp
TrainerKind bpe_kind();
TrainerKind char_kind();
// trainer_wordpiece.cpp
TrainerKind wordpiece_kind();
// trainer_unigram.cpp
TrainerKind unigram_kind();
// trainer_words.cpp
TrainerKind word_kind();
TrainerKind codon_kind();
TrainerKind smiles_kind();

// {"token": id, …}
OrderedJson vocab_json(const std::vector<std::string>& tokens);

}  // namespace weft

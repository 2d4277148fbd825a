// SentencePiece's own format (tokenizer.model): a protobuf message, read by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "io/json.h"
#include "text/files/companions.h"

namespace weft {

struct SentencePiece {
  enum Type : std::int64_t {
    kNormal = 1,
    kUnknown = 2,
    kControl = 3,
    kUserDefined = 4,
    kUnused = 5,
    kByte = 6
  };
  std::string text;
  double score = 0;
  std::int64_t type = kNormal;
};

// sentencepiece_model.proto's ModelProto, with its defaults.
struct SentencePieceModel {
  std::vector<SentencePiece> pieces;
  std::int64_t model_type = 1;  // 1: unigram, 2: BPE, 3: word, 4: char
  std::int64_t unk_id = 0, bos_id = 1, eos_id = 2;
  bool byte_fallback = false, whitespace_as_suffix = false;
  std::string charsmap;
  bool add_dummy_prefix = true, remove_extra_whitespaces = true, escape_whitespaces = true;
};

// UserErrors name the file and what is wrong with it: not a SentencePiece model, one of words or
// characters, whitespace as suffix.
SentencePieceModel read_sentencepiece_model(const std::filesystem::path& file);

// The tokenizer.json that transformers 5.24 would make of the file and of what stands beside it.
// Three of its classes are known:
//   LlamaTokenizer   BPE with merges in the order of the ids, whatever the file's own model and
//                    normalizer; add_prefix_space, and `legacy` (false unless it is told): a space
//                    before the text alone, or before each part between added tokens
//   GemmaTokenizer   likewise, without the space
//   any other        (TokenizersBackend) the model by the file's own specification: unigram or BPE
//                    with merges ranked by score, which give SentencePiece's own ids; `legacy` is
//                    true unless it is told
// Begin and end tokens come with add_bos_token and add_eos_token, and are false unless they are
// told (the classes' documentation says otherwise). The other classes of transformers, which number
// the pieces anew (T5, XLM-R, …), are refused by name.
OrderedJson tokenizer_json_of_sentencepiece(const std::filesystem::path& file,
                                            const Companions& companions = {});

}  // namespace weft

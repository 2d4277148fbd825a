// SentencePiece's own format (tokenizer.model): a protobuf message, read by hand.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

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

}  // namespace weft

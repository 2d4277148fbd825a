// Byte-pair encoding as a model of tokenizer.json.
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/merge_table.h"
#include "text/token_model.h"
#include "text/word_table.h"

namespace weft {

class BpeModel final : public TokenModel {
 public:
  BpeModel(const Json& model, const std::string& origin);

  void encode(std::string_view piece, std::vector<PieceToken>& out) const override;
  const std::vector<std::string>& tokens() const override { return tokens_; }
  std::string kind() const override { return reads_bytes_ ? "byte-level BPE" : "BPE"; }
  OrderedJson to_json() const override;

  // With these the model takes bytes for the characters that ByteLevel writes for them.
  bool can_read_bytes()
      const;  // every byte has a token, and no rule of the model tells bytes from characters
  void read_bytes();   // from now on
  void learn_words();  // fills the table of whole words; read_bytes() does so too. Worth it where
                       // texts come in words
  void encode_bytes(std::string_view bytes, std::vector<PieceToken>& out) const;
  // The one token that a whole word becomes, by a single look-up; WordTable::kAbsent where the
  // merges must be asked.
  std::int32_t find_word(std::string_view word) const { return words_.find(word); }

  bool byte_fallback() const { return byte_fallback_; }
  const std::vector<std::pair<std::string, std::string>>& merges() const {
    return merges_;
  }  // as spelled, in rank order

 private:
  void read_vocab(const Json& vocab, const std::string& origin);
  void read_merges(const Json& merges, const std::string& origin);
  void rank_merges(const std::string& origin);
  void begin_symbols(std::string_view piece, std::vector<Symbol>& word) const;
  void append(const std::vector<Symbol>& word, std::size_t size,
              std::vector<PieceToken>& out) const;

  std::vector<std::string> tokens_;
  std::vector<std::pair<std::string, std::string>> merges_;
  std::string prefix_, suffix_;  // continuing_subword_prefix, end_of_word_suffix
  std::optional<std::string> unk_token_;
  std::int32_t unk_ = WordTable::kAbsent;
  bool fuse_unk_ = false, byte_fallback_ = false, ignore_merges_ = false, reads_bytes_ = false;

  WordTable ids_;    // by spelling
  WordTable words_;  // words that merge into one token
  MergeTable table_;
  std::array<std::int32_t, 256> byte_ids_{},
      fallback_ids_{};  // of the characters of bytes; of <0x00> … <0xFF>
};

}  // namespace weft

// What a Tokenizer is made of; shared by what loads it (text/files) and what runs it
// (tokenizer*.cpp).
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <unordered_map>
#include <vector>

#include "text/added_tokens.h"
#include "text/bpe_model.h"
#include "text/normalizer.h"
#include "text/post_processor.h"
#include "text/pre_tokenizer.h"
#include "text/token_decoder.h"
#include "text/token_model.h"
#include "text/tokenizer.h"

namespace weft {

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>()(s); }
};
using IdMap = std::unordered_map<std::string, std::int32_t, StringHash, std::equal_to<>>;

inline constexpr const char* kSpecialRoles[] = {"bos_token", "eos_token", "unk_token", "sep_token",
                                                "pad_token", "cls_token", "mask_token"};

struct Tokenizer::Impl {
  std::unique_ptr<Normalizer> normalizer;       // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // null: none
  std::unique_ptr<TokenModel> model;
  std::unique_ptr<PostProcessor> post_processor;
  std::unique_ptr<TokenDecoder> decoder;  // null: tokens are joined with spaces
  AddedTokens added;
  std::optional<Truncation> truncation;
  std::optional<Padding> padding;
  // From the files beside tokenizer.json, or its "weft" key.
  std::map<std::string, std::string> special_tokens;  // contents by role
  std::map<std::string, std::string> chat_templates;  // by name
  bool clean_up = false;  // clean_up_tokenization_spaces, of a model that it applies to

  // Made by finish() from the above.
  std::vector<std::string> tokens;    // by id, as spelled, added ones included; empty: a hole
  std::vector<std::string> decoded;   // what the decoder is given for each: the same, but added
                                      // tokens that are normalized come normalized
  std::vector<TokenSpaces> spaces;    // by id
  IdMap ids;                          // by spelling
  std::vector<std::uint8_t> special;  // by id
  const BpeModel* bytes = nullptr;    // the model, where ByteLevel comes last and it reads bytes
  bool characters = false;  // as weft trains them: one token a character, bytes for all others
  enum class Decoding {
    bytes,
    chain,
    whole
  } decoding =
      Decoding::chain;  // how far decoding goes token by token; bytes: each token's are known
  bool byte_fallback = false;         // the decoder joins runs of <0x00> … <0xFF>
  std::vector<std::string> bytes_of;  // Decoding::bytes: by id

  void finish(const std::string& origin);
  std::string chain(std::vector<std::string> tokens) const;  // the decoder's text
  const std::string& token_bytes(std::int32_t id) const;

 private:
  void choose_decoding();
  mutable std::once_flag once_;
  mutable std::vector<std::string>
      learned_bytes_;  // token_bytes of other kinds, made when first asked for
};

// A byte token <0x00> … <0xFF>, or -1.
int byte_of_token(std::string_view token);

}  // namespace weft

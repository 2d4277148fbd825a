// Text to token ids and back, with results identical to Hugging Face tokenizers. Driven by
// tokenizer.json; text/files/tokenizer_files.h loads one, or makes one of what there is.
//
// Text that is not UTF-8: a byte-level BPE (ByteLevel last, a token for every byte) and the
// character tokenizers that weft trains keep any bytes, through encode and decode. For all others
// each broken character (core/utf8.h) is read as U+FFFD.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "text/post_processor.h"
#include "text/truncation.h"

namespace weft {

struct EncodeOptions {
  bool add_special_tokens = true;
  std::optional<Truncation> truncation;  // none: the whole text, whatever the file says
};

class Tokenizer {
 public:
  Encoding encode(std::string_view text, bool add_special_tokens = true) const;
  Encoding encode_pair(std::string_view text, std::string_view pair,
                       bool add_special_tokens = true) const;
  // With truncation, the text's first part and then what overflows. pad() (truncation.h) makes
  // several equally long.
  std::vector<Encoding> encode(std::string_view text, std::optional<std::string_view> pair,
                               const EncodeOptions& options) const;
  std::vector<std::int32_t> ids(std::string_view text)
      const;  // those of the text alone, with nothing around them: a quarter of the memory
  // Cleans up spaces where tokenizer_config.json says clean_up_tokenization_spaces.
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = false) const;

  std::int64_t vocab_size() const;  // largest id + 1
  std::string token(
      std::int32_t id) const;  // as the vocabulary spells it ("Ġhouse"); empty for a hole
  const std::string& token_bytes(
      std::int32_t id) const;  // what it adds to a text that is under way, as bytes (" house")
  std::optional<std::int32_t> id(std::string_view token) const;
  bool is_special(std::int32_t id) const;
  bool is_added(std::int32_t id) const;  // found in a text before the model sees it
  std::string kind() const;              // "byte-level BPE", "characters", "BPE", "WordPiece", …

  // By role: bos_token, eos_token, unk_token, sep_token, pad_token, cls_token, mask_token.
  std::optional<std::int32_t> special_id(std::string_view role) const;
  std::optional<std::int32_t> bos_id() const { return special_id("bos_token"); }
  std::optional<std::int32_t> eos_id() const;  // else <|endoftext|> or </s>
  std::optional<std::int32_t> unk_id() const { return special_id("unk_token"); }
  std::optional<std::int32_t> sep_id() const { return special_id("sep_token"); }
  std::optional<std::int32_t> pad_id() const { return special_id("pad_token"); }
  std::optional<std::int32_t> cls_id() const { return special_id("cls_token"); }
  std::optional<std::int32_t> mask_id() const { return special_id("mask_token"); }
  const std::map<std::string, std::string>& special_tokens() const;  // contents by role
  const std::map<std::string, std::string>& chat_templates()
      const;  // by name; the usual one is "default"
  const std::optional<Truncation>& file_truncation()
      const;  // what the file asks for; applied only where it is passed on
  const std::optional<Padding>& file_padding() const;

  std::string hash() const;     // 32 hex digits: equal for equal ids and texts
  std::string to_json() const;  // canonical tokenizer.json; loads in Hugging Face tokenizers, and
                                // here with special tokens and templates
  // What text/files makes it of (text/tokenizer_impl.h).
  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}
  const Impl& impl() const { return *impl_; }

 private:
  friend class StreamDecoder;
  std::shared_ptr<const Impl> impl_;
};

// decode() one token at a time: what it emits, concatenated, is decode() of all. Holds back what
// later tokens may change: incomplete UTF-8, runs of byte tokens, spaces that may be cleaned up.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true)
      : impl_(tokenizer.impl_), skip_special_(skip_special_tokens) {}
  std::string push(std::int32_t id);
  std::string finish();

 private:
  std::string text_of(std::vector<std::string> tokens);
  std::string cleaned(std::string text, bool last);
  std::shared_ptr<const Tokenizer::Impl> impl_;
  bool skip_special_, started_ = false;
  std::vector<std::string> tokens_;  // whose text is not certain yet
  std::string bytes_, spaces_;  // held back: a character's beginning, text that may be cleaned up
};

}  // namespace weft

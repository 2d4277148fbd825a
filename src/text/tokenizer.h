// Text to token ids and back. Driven by tokenizer.json (or vocab.json + merges.txt); a construct it does not know is a UserError
// naming it. Any bytes survive encode and decode, valid UTF-8 or not.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace weft {

struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::pair<std::int64_t, std::int64_t>> offsets;  // bytes [begin, end) of the text
};

class Tokenizer {
 public:
  // A directory (tokenizer.json, else vocab.json + merges.txt) or a tokenizer.json.
  static Tokenizer load(const std::filesystem::path& path);
  static Tokenizer from_json(std::string_view tokenizer_json, const std::string& origin);
  static bool present(const std::filesystem::path& dir);

  Encoding encode(std::string_view text, bool add_special_tokens = true) const;
  std::vector<std::int32_t> ids(std::string_view text) const;  // the ids alone: a quarter of the memory
  std::string decode(std::span<const std::int32_t> ids, bool skip_special_tokens = false) const;

  std::int64_t vocab_size() const;                          // largest id + 1
  std::string token(std::int32_t id) const;                 // as the vocabulary spells it ("Ġhouse"); empty for a hole
  const std::string& token_bytes(std::int32_t id) const;    // what decoding it alone gives, as bytes (" house")
  std::optional<std::int32_t> id(std::string_view token) const;
  bool is_special(std::int32_t id) const;
  std::optional<std::int32_t> eos_id() const;  // tokenizer_config.json's eos_token, else <|endoftext|> or </s>
  std::string kind() const;                    // "byte-level BPE", "characters"

  std::string hash() const;     // 32 hex digits of the canonical tokenizer.json: equal for equal behaviour
  std::string to_json() const;  // canonical tokenizer.json; loads in Hugging Face tokenizers
  // tokenizer.json, tokenizer_config.json, special_tokens_map.json, and vocab.json + merges.txt for BPE.
  void save(const std::filesystem::path& dir) const;

  struct Impl;
  explicit Tokenizer(std::shared_ptr<const Impl> impl) : impl_(std::move(impl)) {}

 private:
  std::shared_ptr<const Impl> impl_;
};

// Emits whole characters only: incomplete UTF-8 is held back until its bytes arrive or finish() is called.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = true) : tokenizer_(&tokenizer), skip_special_(skip_special_tokens) {}
  std::string push(std::int32_t id);
  std::string finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_;
  std::string held_;
};

// `text` with U+FFFD for what is not UTF-8 (one for each longest broken character): for JSON and terminals.
std::string valid_utf8(std::string_view text);

}  // namespace weft

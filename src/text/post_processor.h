// What is put around a tokenized text or pair: [CLS] $A [SEP] $B:1 [SEP]:1. TemplateProcessing,
// BertProcessing, RobertaProcessing, ByteLevel (trims offsets) and Sequence of tokenizer.json.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "io/json.h"

namespace weft {

// A tokenized text, with everything of it in step. Also what Tokenizer::encode gives.
struct Encoding {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> type_ids;  // 0: first text; 1: second
  std::vector<std::pair<std::int64_t, std::int64_t>>
      offsets;  // bytes [begin, end) of the text a token comes from; (0, 0): put there
  std::vector<std::uint8_t> added;  // 1: put there by the post-processor ("special_tokens_mask")
  std::vector<std::uint8_t> mask;   // 1: a token; 0: padding ("attention_mask")
};

// Characters of white space, ByteLevel's "Ġ" included, at the ends of a token as the vocabulary
// spells it. in_text: an added token, which took white space of the text with it, so that its own
// place there says it.
struct TokenSpaces {
  std::int32_t leading = 0, trailing = 0;
  bool in_text = true;
};

TokenSpaces spaces_of_token(std::string_view token);  // of one that is not added

class PostProcessor {
 public:
  virtual ~PostProcessor() = default;
  virtual std::int64_t n_added(
      bool pair) const = 0;  // tokens that process() adds: truncation leaves room for them
  virtual std::int32_t largest_id()
      const = 0;  // of the tokens that it adds to one text or two; -1: it adds none
  // With add_special_tokens false the texts are joined, types set, offsets trimmed, and nothing is
  // added. For trimming: the original texts, and the spaces of tokens by id (an id past the end is
  // one in_text).
  virtual Encoding process(Encoding first, std::optional<Encoding> second, bool add_special_tokens,
                           std::string_view first_text, std::string_view second_text,
                           std::span<const TokenSpaces> spaces) const = 0;
  virtual OrderedJson to_json() const = 0;
};

// null: the default one, which only joins (second text's type is 1).
std::unique_ptr<PostProcessor> read_post_processor(const Json& json, const std::string& origin);

}  // namespace weft

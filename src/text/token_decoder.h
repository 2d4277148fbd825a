// From tokens as the vocabulary spells them back to text: ByteLevel, WordPiece, Metaspace, Replace,
// ByteFallback, Fuse, Strip, BPEDecoder, CTC and Sequence of tokenizer.json.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/json.h"

namespace weft {

class TokenDecoder {
 public:
  virtual ~TokenDecoder() = default;
  // The reference's decode_chain: the text is the concatenation of what comes out. Bytes stay
  // bytes: what is not UTF-8 is not replaced here except where the reference's decoder itself does
  // so (ByteFallback: one U+FFFD a byte of an invalid run).
  virtual std::vector<std::string> chain(std::vector<std::string> tokens) const = 0;
  virtual OrderedJson to_json() const = 0;
};

// null where the file has none (tokens are then joined with spaces).
std::unique_ptr<TokenDecoder> read_token_decoder(const Json& json, const std::string& origin);

}  // namespace weft

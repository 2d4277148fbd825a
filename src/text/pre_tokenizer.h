// Pre-tokenizers of tokenizer.json: ByteLevel, Split, Metaspace, BertPreTokenizer, Whitespace,
// WhitespaceSplit, Digits, Punctuation, CharDelimiterSplit, FixedLength and Sequence.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "io/json.h"
#include "text/characters/normalized_text.h"

namespace weft {

// Bytes [begin, end) of the text.
struct TextPiece {
  std::size_t begin = 0, end = 0;
};

// A normalized text cut into pieces.
struct PreTokenized {
  NormalizedText text;
  std::vector<TextPiece> pieces;
  bool bytes = false;  // the text is what the bytes were before ByteLevel wrote them as characters:
                       // the model reads bytes
};

class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;
  // Cuts the pieces further and drops empty ones. `leave_bytes`: ByteLevel may leave the bytes as
  // they are and say so in `bytes`.
  virtual void apply(PreTokenized& text, bool leave_bytes) const = 0;  // thread-safe
  virtual bool is_byte_level() const { return false; }  // the last step writes bytes as characters
  virtual bool needs_places() const {
    return false;
  }  // cuts by where a piece stood in the original text
  virtual OrderedJson to_json() const = 0;
};

// null for null; a type it does not know is a UserError naming it.
std::unique_ptr<PreTokenizer> read_pre_tokenizer(const Json& json, const std::string& origin);
// By type, null where the type is none of these: Split, Whitespace, WhitespaceSplit,
// BertPreTokenizer, Digits, Punctuation, CharDelimiterSplit, FixedLength.
std::unique_ptr<PreTokenizer> read_splitter(const std::string& type, const Json& json,
                                            const std::string& origin);

}  // namespace weft

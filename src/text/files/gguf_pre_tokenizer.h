// What tokenizer.ggml.pre stands for in byte-level tokenizers: GGUF keeps a name in place of the
// pre-tokenizer.
#pragma once

#include <string>

#include "io/json.h"

namespace weft {

struct GgufPreTokenizer {
  OrderedJson normalizer;  // as in tokenizer.json; null: none
  OrderedJson pre_tokenizer;
  bool ignore_merges = false;
  bool add_bos = false;  // where the file does not say
};
// UserError with the list where the name is not known.
GgufPreTokenizer gguf_pre_tokenizer(const std::string& name, const std::string& origin);

}  // namespace weft

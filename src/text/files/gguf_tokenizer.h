// Tokenizers from the metadata of a GGUF file (keys tokenizer.*), as the files of a Hugging Face
// directory.
#pragma once

#include <string>

#include "io/json.h"

namespace weft {

// tokenizer.json of the model's own tokenizer, as far as the metadata tell: "gpt2" (byte-level BPE,
// split as tokenizer.ggml.pre says), "llama" (SentencePiece's BPE, its merges found again from the
// scores) and "bert" (WordPiece). UserErrors name `origin`, the key and what is allowed.
OrderedJson tokenizer_json_of_gguf(const Json& metadata, const std::string& origin);

// tokenizer_config.json: the special tokens by their roles, and the chat template.
Json tokenizer_config_of_gguf(const Json& metadata, const std::string& origin);

}  // namespace weft

// SentencePiece's tokenizer.model, for directories without a tokenizer.json.
#pragma once

#include <filesystem>

#include "io/json.h"

namespace weft {

// The tokenizer.json that says the same, as transformers' converters write it: Unigram and BPE
// models, the normalizer by the file's own specification (table, dummy prefix, extra spaces),
// control tokens as special ones, the end token under "weft" (see trainer.h). Merges are ranked by
// score, so that BPE gives SentencePiece's own ids. BPE with byte fallback (Llama, Mistral, Gemma)
// begins texts with the begin token; what else a family puts around texts (T5's </s>) is not in the
// file. UserErrors name the file and what is wrong with it: not a SentencePiece model, one of words
// or characters, whitespace as suffix.
OrderedJson tokenizer_json_of_sentencepiece(const std::filesystem::path& file);

}  // namespace weft

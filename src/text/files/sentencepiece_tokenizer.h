// A tokenizer of SentencePiece's model file.
#pragma once

#include <filesystem>

#include "io/json.h"
#include "text/files/companions.h"

namespace weft {

// The tokenizer.json that transformers 5.24 would make of the file and of what stands beside it.
// Three of its classes are known:
//   LlamaTokenizer   BPE with merges in the order of the ids, whatever the file's own model and
//                    normalizer; add_prefix_space, and `legacy` (false unless it is told): a space
//                    before the text alone, or before each part between added tokens
//   GemmaTokenizer   likewise, without the space
//   any other        (TokenizersBackend) the model by the file's own specification: unigram or BPE
//                    with merges ranked by score, which give SentencePiece's own ids; `legacy` is
//                    true unless it is told
// Begin and end tokens come with add_bos_token and add_eos_token, and are false unless they are
// told (the classes' documentation says otherwise). The other classes of transformers, which number
// the pieces anew (T5, XLM-R, …), are refused by name.
OrderedJson tokenizer_json_of_sentencepiece(const std::filesystem::path& file,
                                            const Companions& companions = {});

}  // namespace weft

// Tokenizers from and to files.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "text/tokenizer.h"

namespace weft {

// A tokenizer.json, a GGUF file, or a directory: its tokenizer.json, else vocab.json + merges.txt,
// else vocab.txt (BERT, ESM), else tokenizer.model; with tokenizer_config.json,
// special_tokens_map.json, added_tokens.json and chat_template.jinja beside them. UserErrors name
// the file; a construct that is not known, too.
Tokenizer load_tokenizer(const std::filesystem::path& path);
bool has_tokenizer(const std::filesystem::path& path);  // a directory or a GGUF file

// The text of a tokenizer.json, of `origin` in errors.
Tokenizer tokenizer_from_json(std::string_view text, const std::string& origin);

// tokenizer.json, tokenizer_config.json, special_tokens_map.json; vocab.json + merges.txt for
// byte-level BPE, vocab.txt for WordPiece.
void save_tokenizer(const Tokenizer& tokenizer, const std::filesystem::path& dir);

}  // namespace weft

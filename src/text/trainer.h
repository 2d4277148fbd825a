// Trains tokenizers. Deterministic: ties are broken as Hugging Face's trainers break them.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "text/tokenizer.h"

namespace weft {

struct TokenizerTraining {
  std::string kind = "bpe";  // "bpe" (byte level) or "char"
  std::int64_t vocab_size = 8192;
  std::vector<std::string> special_tokens = {"<|endoftext|>"};  // first ids; the first is the end token
};

// Counts one text after another, then learns. `progress` (may be empty) is told the fraction done.
class TokenizerTrainer {
 public:
  explicit TokenizerTrainer(TokenizerTraining options);
  ~TokenizerTrainer();
  void add(std::string_view text);
  Tokenizer finish(const std::function<void(double)>& progress = {});

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace weft

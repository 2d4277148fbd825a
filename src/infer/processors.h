// transformers' logits processors, in its order, and the OpenAI protocol's penalties among them:
// what the model's scores are changed to before a token is chosen, and before sampling's warpers
// (infer/choice/warpers.h) cut what may be drawn.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "infer/options.h"

namespace weft {

// Reusable buffers. Tokens that the vocabulary does not hold have no score that could be changed.
class Processors {
 public:
  // Changes the scores (V). `seen`: prompt and new tokens so far, n_prompt of them the prompt.
  // UserError where a penalty leaves no number.
  void apply(std::span<float> scores, const Generation& g, std::span<const std::int32_t> seen,
             std::int64_t n_prompt);

 private:
  void bias(std::int32_t id, float by);
  void bias_sequences(std::span<const SequenceBias> biases, std::span<const std::int32_t> seen);
  // Scores above 0 are divided, others multiplied: by the option's value, or by 1 over it.
  struct Penalty {
    const char* flag;
    double value;
    bool inverse = false;
  };
  void penalise(const Penalty& penalty, std::span<const std::int32_t> tokens);
  void subtract_for_new(const Generation& g, std::span<const std::int32_t> new_tokens);
  // What would repeat n-grams of `source` behind `seen`.
  void forbid_ngrams(std::int64_t size, std::span<const std::int32_t> source,
                     std::span<const std::int32_t> seen);
  void forbid(std::span<const std::int32_t> ids);
  // All others are forbidden, the ids certain.
  void force(std::span<const std::int32_t> ids);
  void remove_invalid();
  void favour_end(const Generation& g, std::int64_t n_new);

  std::span<float> scores_;
  std::vector<std::int32_t> order_;
  std::vector<float> bias_;
};

}  // namespace weft

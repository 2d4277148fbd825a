// From logits to the next token: transformers' processors in transformers' order, then the likeliest token or a draw.
#pragma once

#include <span>
#include <vector>

#include "infer/options.h"

namespace weft {

// Reusable buffers of one vocabulary.
class Sampler {
 public:
  struct Choice {
    std::int32_t id;
    float logprob;  // of the model itself: log softmax of the raw logits
  };

  // `seen`: prompt and new tokens so far, n_prompt of them the prompt. The draw depends on (seed, stream, position) alone; `stream`
  // numbers the continuation among all of the run. Logits are (V); they are not changed.
  Choice choose(std::span<const float> logits, const Generation& g, std::span<const std::int32_t> seen, std::int64_t n_prompt, std::uint64_t stream);

  // The probabilities that a draw would use, after all processors; for tests.
  const std::vector<double>& probabilities() const { return probabilities_; }

 private:
  void process(const Generation& g, std::span<const std::int32_t> seen, std::int64_t n_prompt);
  void warp(const Generation& g);
  void keep_top_k(std::int64_t k);
  void keep_top_p(double p);
  void keep_typical(double mass);
  void softmax();

  std::vector<float> scores_;
  std::vector<double> probabilities_;
  std::vector<std::int32_t> order_;
};

}  // namespace weft

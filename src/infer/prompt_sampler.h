// Continues the same prompts again and again by weights that change in between: a run's in
// training.
#pragma once

#include "infer/engine.h"

namespace weft {

struct SampledPrompts {
  std::string what = "--sample";  // in errors, before the prompt
  std::vector<std::string> prompts;
  std::int64_t n_tokens = 64;  // new ones of each at most; fewer where the context ends
  std::int64_t seed = 0;
};

class PromptSampler {
 public:
  // `trained`: of a causal model, laid out for training. All arguments outlive the sampler, but the
  // prompts. An empty prompt is the begin token. UserError where a prompt has no tokens to begin
  // from, or leaves no room in the context. Collective over a replica.
  PromptSampler(const Context& ctx, const ModelConfig& config, const Parameters& trained,
                const Tokenizer& tokenizer, const SampledPrompts& prompts);

  // What write() takes on this rank beside the trained weights.
  std::size_t bytes() const { return bytes_; }
  // The continuations, in the order of the prompts: drawn at temperature 0.8 from the 200 likeliest
  // tokens, as nanoGPT does, and by fixed-order sums, so that they depend on weights, prompts and
  // seed alone. On every rank of the first data-parallel replica, over which it is collective.
  std::vector<std::string> write();

 private:
  // Tensor parallelism cuts for inference another way, a stage in chunks has other layers, and the
  // bf16 copies are no masters.
  bool has_other_layout() const;

  Context ctx_;
  const ModelConfig& config_;
  const Parameters& trained_;
  const Tokenizer& tokenizer_;
  std::vector<GenerationRequest> requests_;
  std::size_t bytes_ = 0;
};

}  // namespace weft

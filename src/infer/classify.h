// Labels of texts, or of their tokens, and what stands in for a masked token.
#pragma once

#include <functional>
#include <vector>

#include "infer/text_pass.h"

namespace weft {

// done(i, logits): (n_labels) of a text; (n_tokens, n_labels) under a token classifier. Collective
// over a replica.
void classify_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                    std::span<const TokenizedText> texts,
                    const std::function<void(std::size_t, std::span<const float>)>& done);

// As transformers' text-classification: softmax; sigmoid for several labels or a single one; the
// number itself for regression.
std::vector<double> label_probabilities(const ModelConfig& config, std::span<const float> logits);

struct Candidate {
  std::int32_t id = 0;
  double probability = 0;
};

// For each mask_id of a text, in order, its top_k tokens by the softmax over the vocabulary, the
// likeliest first (of equals the smaller id).
void fill_texts(
    const Context& ctx, const ModelConfig& config, const Parameters& parameters,
    std::span<const TokenizedText> texts, std::int32_t mask_id, std::int64_t top_k,
    const std::function<void(std::size_t, const std::vector<std::vector<Candidate>>&)>& done);

}  // namespace weft

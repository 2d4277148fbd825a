// Log-likelihood of texts under a causal model.
#pragma once

#include <functional>
#include <vector>

#include "model/decoder.h"

namespace weft {

// log p of each token given those before it: one entry a token but the first, which nothing predicts. `n_tokens` entries of texts[i]
// are given as done(i, logprobs (n_tokens - 1)). Collective over a replica; done is called on every rank.
void score_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters, std::span<const std::vector<std::int32_t>> texts,
                 const std::function<void(std::size_t, std::span<const float>)>& done);

}  // namespace weft

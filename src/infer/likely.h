// The likeliest tokens at a place of a text, beside the one that stands there.
#pragma once

#include <functional>
#include <span>
#include <vector>

#include "infer/sampler.h"
#include "infer/text_pass.h"

namespace weft {

// Of each token of texts[i] under a causal model, as done(i, logprobs (n_tokens), likely (n_tokens,
// k)): log p given those before it, and the k likeliest tokens in its place. NaN and no ids at the
// first, which nothing predicts. Collective over a replica; done is called on every rank.
using LikelyDone =
    std::function<void(std::size_t, std::span<const float>, std::span<const LikelyToken>)>;
void score_with_likely(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                       std::span<const TokenizedText> texts, std::int64_t k,
                       const LikelyDone& done);
// What it takes beside the weights for texts of the model's whole context; of this rank.
std::size_t score_with_likely_bytes(const Context& ctx, const ModelConfig& config, DType weights);

}  // namespace weft

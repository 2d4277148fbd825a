// Log-likelihood of texts: of each token given those before it under a causal model, given all
// others under a masked one.
#pragma once

#include <functional>
#include <vector>

#include "infer/text_pass.h"

namespace weft {

// log p of each token of texts[i], as done(i, logprobs (n_tokens)); NaN where nothing predicts it:
// the first token of a causal model's text, the tokens that `skipped` names of a masked one's
// (those that the tokenizer puts around it). A masked model reads a text once for every token, that
// token masked (the pseudo-log-likelihood of Salazar et al. 2020). Collective over a replica; done
// is called on every rank.
void score_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                 std::span<const TokenizedText> texts,
                 const std::function<void(std::size_t, std::span<const float>)>& done);
void score_masked_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                        std::span<const TokenizedText> texts,
                        std::span<const std::vector<std::uint8_t>> skipped, std::int32_t mask_id,
                        const std::function<void(std::size_t, std::span<const float>)>& done);

// Texts of any length under a causal model: windows of the model's context, each `stride` tokens
// behind the one before it, give the tokens that the earlier ones did not. done(i, logprobs, loss):
// the loss is that of transformers' guide "Perplexity of fixed-length models", which weighs a later
// window's mean by one token less than it scores.
void score_in_windows(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                      std::span<const TokenizedText> texts, std::int64_t stride,
                      const std::function<void(std::size_t, std::span<const float>, double)>& done);

// -mean of the numbers that are there; NaN where none is.
double mean_loss(std::span<const float> logprobs);

}  // namespace weft

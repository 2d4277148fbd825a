// Vectors of texts: a layer's hidden states, pooled.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "core/fields.h"
#include "infer/text_pass.h"

namespace weft {

enum class TextPooling : std::uint8_t { mean, cls, last, max, none };
constexpr Word<TextPooling> kTextPoolings[] = {{"mean", TextPooling::mean},
                                               {"cls", TextPooling::cls},
                                               {"last", TextPooling::last},
                                               {"max", TextPooling::max},
                                               {"none", TextPooling::none}};

struct EmbedSettings {
  TextPooling pooling = TextPooling::mean;  // over all tokens of a text, those that the tokenizer
                                            // put around it included
  std::int64_t layer = -1;  // as transformers' hidden_states: 0 the embeddings, L or -1 the last
  bool normalize = false;   // to length 1
};

// done(i, vector): (C), or (n_tokens, C) without pooling; a text without tokens gives zeros.
// Collective over a replica.
void embed_texts(const Context& ctx, const ModelConfig& config, const Parameters& parameters,
                 std::span<const TokenizedText> texts, const EmbedSettings& settings,
                 const std::function<void(std::size_t, std::span<const float>)>& done);

}  // namespace weft

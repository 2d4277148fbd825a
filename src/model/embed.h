// From token ids to the stream that enters the first block: token, position and type embeddings,
// their scale, norm and dropout.
#pragma once

#include <span>
#include <vector>

#include "core/staging.h"
#include "model/norm.h"

namespace weft {

// Rows of a batch that are one text, and the place in the text of the first of them.
struct TextRows {
  std::int64_t begin = 0, end = 0, first = 0;
};

struct EmbeddingParameters {
  const LocalParameter *tokens = nullptr, *positions = nullptr, *types = nullptr;  // null: none
  NormParameters norm;
  float scale = 1;  // of token embeddings
};
EmbeddingParameters find_embedding(const Parameters& parameters);  // of the first stage

// The rows of one pass, (B·T) of them.
struct EmbeddingRows {
  Staged ids;        // (N) i32; a masked token that embeds to nothing (ESM) is -1
  Staged positions;  // (N) i32 rows of the position table; empty without one
  Staged types;      // (N) i32; empty without token types
  View raw;          // (B, T, C) before the norm, where there is one
  NormStatistics norm;
};
EmbeddingRows allocate_embedding(Arena& arena, Staging& staging, const ModelConfig& config,
                                 std::int64_t B, std::int64_t T, DType act);

// On the host, after ids (and types) are set: fills the positions and marks masked tokens. The
// caller uploads them. The result is each
// text's scale (empty: all 1): ESM makes up for tokens that are masked and were not when it was
// trained, or the other way round.
std::vector<float> place_tokens(const ModelConfig& config, const EmbeddingRows& rows,
                                std::span<const TextRows> texts);

// x: (B, T, C), written.
void embed(const Context& ctx, const EmbeddingParameters& p, const EmbeddingRows& rows,
           std::span<const TextRows> texts, std::span<const float> scales, const Dropout& drop,
           View x);
// dx: (B, T, C), spent. room: (B, T, C) scratch, where there is a norm.
void embed_backward(const Context& ctx, const EmbeddingParameters& p, const EmbeddingRows& rows,
                    std::span<const TextRows> texts, std::span<const float> scales,
                    const Dropout& drop, View dx, View room);

}  // namespace weft

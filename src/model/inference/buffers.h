// What an InferencePass holds: the views of its passes, and its cache. Of its own files alone.
#pragma once

#include <array>
#include <optional>
#include <utility>
#include <vector>

#include "kernels/cached_plan.h"
#include "model/inference/pass.h"

namespace weft {

// The views of one pass over n rows; laid out anew for each pass in memory planned for the largest.
struct InferencePass::Buffers {
  EmbeddingRows tokens;          // first stage
  Staged pages;                  // (slots, pages_of(S)) i32, where the cache has pages
  Staged text_ends;              // (N + 1) i32: where whole texts begin and end
  std::array<Staged, 2> slices;  // plan_cached's of layers without a window and with one; or empty
  Staged rope_positions;         // (N) i32 …
  Staged rope_table;             // … (N, 2, P/2): a row of the table for each row of the pass
  Staged kept;                   // (R) i32: rows that are asked for, where it may be few …
  View kept_attn, kept_stream;   // … (R, H_tp·D), (R, C): of them in the last layer
  View x, delta;                 // (1, N, C)
  BlockActivations block;
  std::optional<GatherRoom> gather;  // where tp > 1
  View y;                            // (1, N, C)
  NormStatistics final_norm;
  Staged labels;            // (N) i32 of losses()
  Staged rows;              // (N) i32 of hidden states, whose results are asked for
  View loss;                // (N)
  HeadScratch head;         // of losses()
  HeadScratch logits_head;  // of logits()
  LabelScratch labelled;
  View picked, shard, gathered, logits;  // (R, C), (R, padded_vocab), (R·padded_columns), (R, V)
};

// A layer whose keys are in a window, or are not; -1: there is none.
std::int64_t layer_of(const ModelConfig& config, bool has_window);

// What attention is told of a pass of N rows.
CachedShape cached_shape_of(const InferenceShape& shape, std::int64_t N);

// A rank's place in a grid, whatever grid runs this.
struct GridPlace {
  GridShape shape;
  int tp_rank = 0, pp_rank = 0;
};
GridPlace place_of(const Grid& grid);

// Keys and values of each of the rank's layers, as InferencePass::cache_.
std::vector<std::pair<View, View>> lay_out_cache(Arena& arena, const ModelConfig& config,
                                                 const GridPlace& place,
                                                 const InferenceShape& shape);

}  // namespace weft

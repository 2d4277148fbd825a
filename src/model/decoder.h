// A model in inference: rows of several sequences at once through all stages, with cached keys and values.
#pragma once

#include <span>
#include <vector>

#include "model/block.h"
#include "model/head.h"

namespace weft {

struct DecoderShape {
  std::int64_t slots = 1;      // sequences that may be in the cache at once
  std::int64_t S = 0;          // cached tokens of each
  std::int64_t max_rows = 0;   // rows of one forward pass
  std::int64_t max_logit_rows = 0;  // of them, rows whose logits are asked for
};

class Decoder {
 public:
  Decoder(const Context& ctx, const ModelConfig& config, const Parameters& parameters, DecoderShape shape);
  static std::size_t plan_bytes(const ModelConfig& config, const Grid& grid, DecoderShape shape);
  std::size_t bytes() const { return cache_arena_.capacity_bytes() + arena_.capacity_bytes(); }
  const DecoderShape& shape() const { return shape_; }

  // Runs the rows, appends their keys and values to the cache. ids and positions: (N), row by row as `slices` lays them out.
  // Collective over a replica (tp × pp). The result is (N, C), the final norm's output, on the last stage; empty elsewhere.
  ConstView hidden(std::span<const std::int32_t> ids, std::span<const std::int32_t> positions, std::span<const CacheSlice> slices);

  // Copies the first n cached tokens of a slot to another, on this rank: a sequence that goes on in two ways (beam search).
  void copy_slot(std::int64_t from, std::int64_t to, std::int64_t n_tokens);

  // Last stage only, after hidden(). Logits (rows, V) of chosen rows, whole on every tp rank.
  ConstView logits(ConstView hidden, std::span<const std::int64_t> rows);
  // Last stage only: -log p(label) of each row (N) fp32; kIgnoreLabel gives 0.
  ConstView losses(ConstView hidden, std::span<const std::int32_t> labels);

 private:
  struct Buffers;
  static Buffers lay_out(Arena& arena, const ModelConfig& config, const Grid& grid, const DecoderShape& shape, std::int64_t n_rows);

  const Context& ctx_;
  const ModelConfig& config_;
  DecoderShape shape_;
  Range layers_;
  std::vector<BlockParameters> blocks_;
  const LocalParameter *tokens_ = nullptr, *positions_ = nullptr, *final_w_ = nullptr, *final_b_ = nullptr, *head_ = nullptr;
  Arena cache_arena_, arena_;
  std::vector<std::pair<View, View>> cache_;  // keys and values of each layer: (slots, S, Hkv_tp, D)
};

}  // namespace weft

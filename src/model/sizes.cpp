#include "model/sizes.h"

namespace weft {

double training_flops_per_token(const ModelConfig& c, std::int64_t T) {
  return 6.0 * static_cast<double>(count_parameters(c)) + 12.0 * static_cast<double>(c.layers * c.heads * c.head_dim * T);
}

double forward_flops_per_token(const ModelConfig& config, std::int64_t T) { return training_flops_per_token(config, T) / 3; }

std::int64_t decode_weight_bytes(const ModelConfig& c, DType dtype) {
  std::int64_t elems = c.tied_head ? c.vocab * c.width : 0;
  for (const Parameter& p : parameters_of(c))
    if (p.layer != kEmbedding && p.tied_to.empty()) elems += p.shape.elems();
  return elems * static_cast<std::int64_t>(dtype_bytes(dtype));
}

std::int64_t kv_bytes_per_token(const ModelConfig& c, const GridShape& shape, int tp_rank, int pp_rank) {
  return 2 * 4 * stage_layers(c, shape.pp, pp_rank).size() * split_heads(c.heads, c.kv_heads, shape.tp, tp_rank).kv.size() * c.head_dim;
}

}  // namespace weft

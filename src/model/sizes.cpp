#include "model/sizes.h"

namespace weft {

double training_flops_per_token(const ModelConfig& c, std::int64_t T) {
  return 6.0 * static_cast<double>(count_parameters(c)) +
         12.0 * static_cast<double>(c.layers * c.heads * c.head_dim * T);
}

double forward_flops_per_token(const ModelConfig& config, std::int64_t T) {
  return training_flops_per_token(config, T) / 3;
}

double head_flops_per_token(const ModelConfig& config) {
  return 2.0 * static_cast<double>(config.vocab * config.width);
}

std::vector<StageCost> stage_costs(const ModelConfig& c, int pp, std::int64_t T) {
  std::vector<StageCost> costs;
  const auto head = static_cast<double>(c.vocab * c.width);
  for (int s = 0; s < pp; ++s) {
    double layers =
        2.0 * static_cast<double>(stage_layers(c, pp, s).size() * c.heads * c.head_dim * T);
    for (const Parameter& p : parameters_of(c))
      if (p.layer >= 0 && p.layer < kHead && on_stage(p, c, pp, s))
        layers += static_cast<double>(p.shape.elems());
    costs.push_back({layers + (s == pp - 1 ? 3 * head : 0), 2 * layers});
  }
  return costs;
}

std::int64_t decode_weight_bytes(const ModelConfig& c, DType dtype) {
  std::int64_t elems = c.tied_head ? c.vocab * c.width : 0;
  for (const Parameter& p : parameters_of(c))
    if (p.layer != kEmbedding && p.tied_to.empty()) elems += p.shape.elems();
  return elems * static_cast<std::int64_t>(dtype_bytes(dtype));
}

std::int64_t kv_bytes_per_token(const ModelConfig& c, const GridShape& shape, int tp_rank,
                                int pp_rank) {
  return 2 * 4 * stage_layers(c, shape.pp, pp_rank).size() *
         split_heads(c.heads, c.kv_heads, shape.tp, tp_rank).kv.size() * c.head_dim;
}

}  // namespace weft

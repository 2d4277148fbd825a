#include "model/sizes.h"

#include <algorithm>

#include "kernels/work.h"

namespace weft {
namespace {

// Elements of the head's matrices, by which rows are multiplied.
double head_matrix_elems(const ModelConfig& c) {
  double elems = 0;
  for (const Parameter& p : parameters_of(c))
    if (p.layer == kHead && p.shape.rank() == 2) elems += static_cast<double>(p.shape.elems());
  return elems;
}

// Attention's FLOPs of one block where a pair takes so many a dim.
double attention_flops(const ModelConfig& c, std::int64_t layer, const SequenceRows& r,
                       double flops_of_pair) {
  const std::int64_t left = c.has_window(layer) ? c.window - 1 : -1, right = c.causal ? 0 : left;
  const std::int64_t all = r.cached + r.rows;
  double pairs = 0;
  if (c.causal || r.tokens == 0)
    pairs = static_cast<double>(r.n) * attention_pairs(r.cached, r.rows, all, left, right);
  else if (left < 0)  // every row sees every token of its own sequence
    pairs = static_cast<double>(r.rows) * static_cast<double>(r.tokens);
  else
    pairs =
        static_cast<double>(r.n) *
        attention_pairs(r.cached, r.rows, r.tokens / std::max<std::int64_t>(r.n, 1), left, right);
  return flops_of_pair * static_cast<double>(c.heads * c.head_dim) * pairs;
}

struct BlockFlops {
  double linear, attention, attention_backward;  // linear: forward; backward is twice that
  double last;                                   // of linear: the layer that recomputation spares
};

BlockFlops flops_of_block(const ModelConfig& c, std::int64_t layer, const SequenceRows& r) {
  const double rows = static_cast<double>(r.n * r.rows);
  const bool spares = !c.has_output_norms();  // whose last norm needs its input
  return {2 * rows * static_cast<double>(block_matrix_elems(c)),
          attention_flops(c, layer, r, kForwardFlopsOfPair),
          attention_flops(c, layer, r, kBackwardFlopsOfPair),
          spares ? 2 * rows * static_cast<double>(c.width * c.ffn) : 0};
}

double forward_of(const BlockFlops& f) { return f.linear + f.attention; }
double recompute_of(const BlockFlops& f, Recompute recompute) {
  return recompute == Recompute::block ? forward_of(f) - f.last : 0;
}

std::int64_t trained_head_rows(const ModelConfig& c, const SequenceRows& r) {
  return c.head == HeadKind::classify ? r.n : r.n * r.rows;
}

}  // namespace

double customary_flops_per_token(const ModelConfig& c, std::int64_t T) {
  return 6.0 * static_cast<double>(count_parameters(c)) +
         12.0 * static_cast<double>(c.layers * c.heads * c.head_dim * T);
}

std::int64_t block_matrix_elems(const ModelConfig& c) {
  return (c.qkv_rows() + c.heads * c.head_dim + c.up_rows() + c.ffn) * c.width;
}

double block_flops(const ModelConfig& c, std::int64_t layer, const SequenceRows& r) {
  return forward_of(flops_of_block(c, layer, r));
}

double head_flops(const ModelConfig& c, std::int64_t n_rows) {
  return 2.0 * static_cast<double>(n_rows) * head_matrix_elems(c);
}

double forward_flops(const ModelConfig& c, const SequenceRows& r, std::int64_t head_rows) {
  double flops = head_flops(c, head_rows);
  for (std::int64_t l = 0; l < c.layers; ++l) flops += block_flops(c, l, r);
  return flops;
}

double training_flops(const ModelConfig& c, const SequenceRows& r, Recompute recompute) {
  double flops = 3 * head_flops(c, trained_head_rows(c, r));
  for (std::int64_t l = 0; l < c.layers; ++l) {
    const BlockFlops f = flops_of_block(c, l, r);
    flops += forward_of(f) + 2 * f.linear + f.attention_backward + recompute_of(f, recompute);
  }
  return flops;
}

std::vector<StageCost> stage_costs(const ModelConfig& c, int pp, std::int64_t T,
                                   Recompute recompute, int chunks) {
  const SequenceRows one = {.n = 1, .rows = T, .cached = 0, .tokens = 0};
  const int n = pp * chunks;
  std::vector<StageCost> costs;
  for (int v = 0; v < n; ++v) {
    StageCost cost = {0, 0, 0, 0};
    const Range layers = stage_layers(c, pp, v % pp, chunks)[static_cast<std::size_t>(v / pp)];
    for (std::int64_t l = layers.begin; l < layers.end; ++l) {
      const BlockFlops f = flops_of_block(c, l, one);
      cost.forward += forward_of(f);
      cost.backward_input += f.linear + f.attention_backward;
      cost.backward_weight += f.linear;
      cost.recompute += recompute_of(f, recompute);
    }
    if (v == n - 1) cost.forward += 3 * head_flops(c, trained_head_rows(c, one));
    costs.push_back(cost);
  }
  return costs;
}

std::int64_t decode_weight_bytes(const ModelConfig& c, DType dtype, bool with_head) {
  std::int64_t bytes = 0;
  for (const Parameter& p : parameters_of(c))
    if (p.layer != kEmbedding && (with_head || p.layer != kHead))
      bytes += p.shape.elems() *
               static_cast<std::int64_t>(dtype_bytes(p.shape.rank() < 2 ? DType::f32 : dtype));
  return bytes;
}

std::int64_t decode_cache_bytes(const ModelConfig& c, DType dtype, std::int64_t n_tokens) {
  std::int64_t tokens = 0;
  for (std::int64_t l = 0; l < c.layers; ++l)
    tokens += c.has_window(l) ? std::min(n_tokens, c.window) : n_tokens;
  return 2 * static_cast<std::int64_t>(dtype_bytes(dtype)) * c.kv_heads * c.head_dim * tokens;
}

}  // namespace weft

// Norms of queries and keys across tensor-parallel ranks (ModelConfig::qk_norm), on the fused
// projection before it is turned.
#pragma once

#include "core/arena.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft {

struct QkNormParameters {
  const LocalParameter *q = nullptr, *k = nullptr;  // null: there are none
  explicit operator bool() const { return q != nullptr; }
};

// Which of a token's rows this rank norms, and what of the model's they are. No heads: none.
struct QkNormShape {
  HeadNormArgs q, k;
  // G: columns of squares and dots; the model's heads where one norm spans them, else the rank's.
  std::int64_t q_groups = 0, k_groups = 0;
  std::int64_t groups() const { return q_groups + k_groups; }
  bool keeps_raw = true;  // for a backward pass
};
QkNormShape qk_norm_shape(const ModelConfig& config, const Grid& grid, ParameterUse use);

// What backward needs, of N tokens.
struct QkNormActivations {
  View q_raw, k_raw;  // (N, H_tp, D), (N, Hkv_tp, D) before the norm; empty: not kept
  View squares;       // (N·G): the queries' (N, G of q), then the keys'
};
QkNormActivations allocate_qk_norm(Arena& arena, const QkNormShape& shape, std::int64_t N,
                                   std::int64_t D, DType act);

// Norms the queries and keys among qkv (N, H_tp + 2 Hkv_tp, D), in place. Collective over tp where
// a norm spans all heads; every grid gives the bits of one rank.
void norm_qk(const Context& ctx, const QkNormShape& shape, const QkNormParameters& p,
             const QkNormActivations& acts, View qkv);
// d_qkv: in: gradient of what was normed; out: of what came in. dots: (N·G) scratch. Parameter
// gradients accumulate what this rank's heads give. Collective likewise.
void norm_qk_backward(const Context& ctx, const QkNormShape& shape, const QkNormParameters& p,
                      const QkNormActivations& acts, View d_qkv, View dots);

}  // namespace weft

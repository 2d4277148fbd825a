// A model's norm, whichever kind its config says: kernels' add_layer_norm or add_rms_norm, with the
// parameters looked up once.
#pragma once

#include <string>

#include "model/context.h"
#include "model/parameters.h"

namespace weft {

struct NormParameters {
  const LocalParameter* weight = nullptr;  // null: there is no such norm
  const LocalParameter* bias = nullptr;    // null for rms
  NormKind kind = NormKind::layer;
  float offset = 0, eps = 0;  // as ModelConfig's
  explicit operator bool() const { return weight != nullptr; }
};
NormParameters find_norm(const Parameters& parameters,
                         const std::string& name);  // all null where it is not on this rank

// What backward needs of a norm.
struct NormStatistics {
  View mean, rstd;  // (B, T) fp32; mean empty for rms
};
NormStatistics allocate_norm(Arena& arena, const ModelConfig& config, std::int64_t B,
                             std::int64_t T);

// sum = x + drop(delta); y = norm(sum). As kernels' add_layer_norm; y empty: only the sum.
void add_norm(const Context& ctx, View y, View sum, const NormStatistics& statistics, ConstView x,
              ConstView delta, const NormParameters& p, const Dropout& drop);
// sum = x + drop(delta) alone, and its backward.
void add_delta(const Context& ctx, View sum, ConstView x, ConstView delta, const Dropout& drop);
void add_delta_backward(const Context& ctx, View dsum, View ddelta, const Dropout& drop);

// dsum += d(norm)/d(sum)·dy; ddelta (may be empty) = drop'(dsum). Parameter gradients accumulate.
void add_norm_backward(const Context& ctx, View dsum, View ddelta, ConstView dy, ConstView sum,
                       const NormStatistics& statistics, const NormParameters& p,
                       const Dropout& drop);

}  // namespace weft

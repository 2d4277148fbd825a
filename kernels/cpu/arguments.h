// What the loops compiled for each SIMD target are handed by the ops around them.
#pragma once

#include <cstdint>

namespace weft::cpu {

// One row of add_layer_norm; pointers of absent tensors are null.
struct NormRow {
  float *y, *sum, *mean, *rstd;
  const float *x, *delta, *weight, *bias;
  std::int64_t C, sequence, first_elem;  // sequence and first element of the row, for the dropout counter
};

// AdamWArgs with the bias corrections folded in:   w = w·keep - step·m / (sqrt(v)·root + eps)
struct AdamWFactors {
  float grad_scale, beta1, beta2, keep, step, root, eps;
};

}  // namespace weft::cpu

// What the loops compiled for each SIMD target are handed by the ops around them.
#pragma once

#include <cstdint>

namespace weft::cpu {

// What tells an rms norm from a layer norm: no mean is taken, and the weight is used as offset +
// weight.
struct NormKind {
  bool rms = false;
  float offset = 0;
};

// One row of add_layer_norm or add_rms_norm; pointers of absent tensors are null.
struct NormRow {
  float *y, *sum, *mean, *rstd;
  const float *x, *delta, *weight, *bias;
  std::int64_t C, sequence,
      first_elem;  // sequence and first element of the row, for the dropout counter
};

// One row of their backward: dweight and dbias (or null) are the piece's partial sums.
struct NormGradRow {
  float *dsum, *dweight, *dbias;
  const float *dy, *sum, *weight;
  float mean, rstd;
  std::int64_t C;
};

// What the normed heads of a token are multiplied by: offset + weight, of head h from weight +
// h·pitch on (0: the same for all). weight may be null.
struct HeadWeight {
  const float* weight;
  std::int64_t n_heads, D, pitch;
  float offset;
};

// One row of activation_backward or gated_activation_backward; dbias (the piece's partial sums) and
// bias may be null.
struct ActivationGradRow {
  float *dx, *dbias;
  const float *dy, *x, *bias;
};

// AdamWArgs with the bias corrections folded in:   w = w·keep - step·m / (sqrt(v)·root + eps)
struct AdamWFactors {
  float grad_scale, beta1, beta2, keep, step, root, eps;
};

}  // namespace weft::cpu

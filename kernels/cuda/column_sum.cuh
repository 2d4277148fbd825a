// The second stage of sums over rows (gradients of biases and norm weights): kernels leave one
// partial sum a group of rows, these join them.
#pragma once

#include <cstdint>

#include "kernels/ops.h"

namespace weft::cuda {

// first[c] += Σ_g partial[g][0][c];  second[c] += Σ_g partial[g][1][c], in an order that depends on
// `groups` alone. second may be empty; partial: (groups, second ? 2 : 1, columns) fp32.
void add_column_sums(const Gradient& first, const Gradient& second, const float* partial,
                     std::int64_t groups, std::int64_t columns, Stream& stream);

}  // namespace weft::cuda

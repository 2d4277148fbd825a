#pragma once

#include "kernels/ops.h"

namespace weft::cuda {

// out = x + dropout(delta), rounded once; x may be empty (0), and out may be either.
void add_dropout(View out,         // (B, T, C) act
                 ConstView x,      // (B, T, C) act, or empty
                 ConstView delta,  // (B, T, C) act
                 const Dropout& drop, Stream& stream);

}  // namespace weft::cuda

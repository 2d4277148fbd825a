// The order in which a CPU multiplies rows by a matrix fastest: panels of 64 outputs, in which the
// outputs of an input lie side by side. Reading them is reading memory in sequence, and a vector of
// them is multiplied by one number, so that nothing is summed across a vector.
#pragma once

#include <algorithm>

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

constexpr std::int64_t kPanel = 64;  // outputs of a panel; the last one has what is left

// A matrix of linear(): (O, I), or (1, O, I) when it is in panels: what reads no panels then fails
// by its shape.
struct MatrixDims {
  std::int64_t O, I;
};
inline bool is_in_panels(ConstView w) { return w.rank() == 3; }
inline MatrixDims matrix_dims(ConstView w) {
  return is_in_panels(w) ? MatrixDims{w.dim(1), w.dim(2)} : MatrixDims{w.dim(0), w.dim(1)};
}

// Of a panel that begins at output `begin`: element i of output o is
// begin · I + i · width + (o - begin) of the matrix.
inline std::int64_t panel_width(std::int64_t O, std::int64_t begin) {
  return std::min(kPanel, O - begin);
}

// Puts a matrix (O, I) in panels where it lies, on a CPU, and returns it as it lies then: what
// linear() and embedding() read.
View to_panels(View w, Stream& stream);

}  // namespace weft

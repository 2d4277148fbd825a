// The order in which a CPU's matmul library multiplies some rows by a matrix fastest. Of a matrix
// that lies as models hold it the library makes such a copy at each product: of 16 rows, by what
// was measured, half as much time again, of 64 a fifth. A batch of texts that are written is of so
// many.
#pragma once

#include "core/device.h"
#include "core/tensor.h"

namespace weft {

constexpr std::int64_t kPanel = 64;  // outputs of a panel

// A matrix of linear(): (O, I), or in panels (O / kPanel, I, kPanel): output o of input i is at
// (o / kPanel, i, o % kPanel).
struct MatrixDims {
  std::int64_t O, I;
};
inline bool is_in_panels(ConstView w) { return w.rank() == 3; }
inline MatrixDims matrix_dims(ConstView w) {
  return is_in_panels(w) ? MatrixDims{w.dim(0) * w.dim(2), w.dim(1)}
                         : MatrixDims{w.dim(0), w.dim(1)};
}

// Puts an fp32 matrix (O, I) in panels, where it lies, if that serves: on a CPU whose library takes
// them. Returns it as it lies then. Products in fp32 read either; none is made in another
// precision.
View to_panels(View w, Stream& stream);

}  // namespace weft

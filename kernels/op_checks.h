// What ops.cpp and its like ask of views, and the back end that they call.
#pragma once

#include "kernels/backends.h"
#include "kernels/panels.h"

namespace weft::op_checks {

const Backend& backend(const Stream& stream);  // of the stream's device

// Errors naming the op, the view and what was expected.
void expect(const char* op, const char* name, ConstView x, const Dims& shape,
            DType dtype = DType::f32);
void expect_optional(const char* op, const char* name, ConstView x, const Dims& shape,
                     DType dtype = DType::f32);  // or empty
void expect_weight(const char* op, ConstView w, const Dims& shape);
// The same, or in panels.
void expect_matrix(const char* op, ConstView w, const MatrixDims& dims, Precision precision,
                   const Stream& stream);
// The dtype of a call's activations: fp32, or bf16 on a GPU.
DType act_dtype(const char* op, ConstView x, const Stream& stream);

}  // namespace weft::op_checks

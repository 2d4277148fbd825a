#include "kernels/op_checks.h"

namespace weft::op_checks {
namespace {

#define WEFT_CPU_OP(op) .op = cpu::op,
constexpr Backend kCpu = {WEFT_FOR_EACH_OP(WEFT_CPU_OP)};
#undef WEFT_CPU_OP

}  // namespace

const Backend& backend(const Stream& stream) {
  return stream.device().type == DeviceType::cpu ? kCpu : cuda_backend();
}

void expect(const char* op, const char* name, ConstView x, const Dims& shape, DType dtype) {
  CHECK(x.dtype() == dtype && x.shape() == shape, "{}: {} is {} {}, expected {} {}", op, name,
        dtype_name(x.dtype()), x.shape().str(), dtype_name(dtype), shape.str());
}

DType act_dtype(const char* op, ConstView x, const Stream& stream) {
  const DType dtype = x.dtype();
  CHECK(dtype == DType::f32 || (dtype == DType::bf16 && stream.device().type == DeviceType::cuda),
        "{}: activations are {}; supported: {}", op, dtype_name(dtype),
        stream.device().type == DeviceType::cuda ? "fp32, bf16" : "fp32 on the CPU");
  return dtype;
}

void expect_weight(const char* op, ConstView w, const Dims& shape) {
  const DType dtype = w.dtype();
  CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16,
        "{}: weights are {}; supported: fp32, bf16, fp16", op, dtype_name(dtype));
  expect(op, "w", w, shape, dtype);
}

void expect_matrix(const char* op, ConstView w, const MatrixDims& dims, Precision precision,
                   const Stream& stream) {
  if (!is_in_panels(w)) return expect_weight(op, w, {dims.O, dims.I});
  expect_weight(op, w, {1, dims.O, dims.I});
  CHECK(precision != Precision::bf16 && stream.device().type == DeviceType::cpu,
        "{}: a matrix in panels is for products in fp32 on a CPU", op);
}

void expect_optional(const char* op, const char* name, ConstView x, const Dims& shape,
                     DType dtype) {
  if (!x.empty()) expect(op, name, x, shape, dtype);
}

}  // namespace weft::op_checks

// Linear layers: over panels, or where the order of summation is fixed, on the kernel of panels;
// else on the matmul library, or of few rows on the weight-streaming kernel.
#include <algorithm>

#include "core/check.h"
#include "kernels/backends.h"
#include "kernels/cpu/gemm.h"
#include "kernels/cpu/panel_linear.h"
#include "kernels/cpu/parallel.h"
#include "kernels/cpu/small_gemm.h"
#include "kernels/cpu/stream_linear.h"
#include "kernels/panels.h"
#include "kernels/scratch.h"
#include "kernels/work.h"

namespace weft::cpu {
namespace {

// Scratch for several operands of one call.
class Operands {
 public:
  Operands(Stream& stream, std::size_t bytes)
      : next_(static_cast<std::byte*>(stream.scratch(bytes))) {}
  static std::size_t padded(std::size_t bytes) { return (bytes + 63) / 64 * 64; }

  // x itself, or its copy in `dtype`.
  const void* in(ConstView x, DType dtype, Stream& stream) {
    if (x.dtype() == dtype) return x.data();
    View copy(next_, dtype, x.shape());
    next_ += padded(copy.bytes());
    cpu::convert(copy, x, stream);
    return copy.data();
  }
  // x rounded to bf16 and widened again: what a bf16 multiplier would see, for CPUs that have none.
  const void* rounded(ConstView x, Stream& stream) {
    View copy(next_, DType::f32, x.shape());
    next_ += padded(copy.bytes());
    cpu::convert(copy, x, stream);
    if (x.dtype() != DType::bf16)
      round_to_bf16(copy.as<float>(), copy.as<float>(), x.elems(), stream);
    return copy.data();
  }

 private:
  std::byte* next_;
};

std::size_t operand_bytes(std::int64_t a_elems, std::int64_t b_elems) {
  return Operands::padded(static_cast<std::size_t>(a_elems) * 4) +
         Operands::padded(static_cast<std::size_t>(b_elems) * 4);
}

void multiply_f32(float* c, const void* a, const void* b, const float* bias, const GemmShape& shape,
                  Stream& stream) {
  if (!bias && small_gemm_serves(shape))
    small_gemm(c, static_cast<const float*>(a), static_cast<const float*>(b), shape, stream);
  else
    gemm(c, a, b, bias, shape, stream);
}

void multiply(float* c, ConstView a, ConstView b, const float* bias, GemmShape shape,
              Precision precision, Stream& stream) {
  const std::size_t bytes = operand_bytes(a.elems(), b.elems());
  if (precision == Precision::bf16 && a.dtype() == DType::f32 &&
      small_bf16_gemm_serves(shape, b.dtype()))
    return small_bf16_gemm(c, a.as<float>(), b, bias, shape, stream);
  if (precision == Precision::bf16 && gemm_has_bf16()) {
    Operands operands(stream, bytes);
    shape.inputs = DType::bf16;
    const void* a_bf16 = operands.in(a, DType::bf16, stream);
    return gemm(c, a_bf16, operands.in(b, DType::bf16, stream), bias, shape, stream);
  }
  if (precision == Precision::bf16) {
    Operands operands(stream, bytes);
    const void* a_rounded = operands.rounded(a, stream);
    return multiply_f32(c, a_rounded, operands.rounded(b, stream), bias, shape, stream);
  }
  if (a.dtype() == DType::f32 && b.dtype() == DType::f32)
    return multiply_f32(c, a.data(), b.data(), bias, shape, stream);
  Operands operands(stream, bytes);
  const void* a_f32 = operands.in(a, DType::f32, stream);
  multiply_f32(c, a_f32, operands.in(b, DType::f32, stream), bias, shape, stream);
}

void count(Stream& stream, std::int64_t N, std::int64_t O, std::int64_t I) {
  count_matmul_flops(
      stream, 2.0 * static_cast<double>(N) * static_cast<double>(O) * static_cast<double>(I));
}

}  // namespace

std::size_t linear_scratch_bytes(const LinearSizes& s, int n_threads) {
  if (s.panels || s.precision == Precision::fp32_fixed)
    return panel_linear_scratch_bytes(n_threads);
  const bool bf16 = s.precision == Precision::bf16;
  LinearSizes few = s;
  few.N = std::min(s.N, kStreamLinearRows);
  std::size_t bytes = stream_linear_scratch_bytes(few);
  if (!bf16 && s.weight == DType::f32) return bytes;
  for (std::int64_t n = kStreamLinearRows + 1; n <= s.N; ++n) {
    const GemmShape shape = {.M = n, .N = s.O, .K = s.I, .transpose_b = true};
    if (!bf16 || !small_bf16_gemm_serves(shape, s.weight))
      return std::max(bytes,
                      operand_bytes(s.N * s.I, s.O * s.I));  // more rows are not small either
    bytes = std::max(bytes, small_bf16_gemm_scratch_bytes(shape, n_threads));
  }
  return bytes;
}

void linear(View y, ConstView x, ConstView w, ConstView bias, Precision precision, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = matrix_dims(w).O;
  count(stream, N, O, I);
  const float* b = bias.empty() ? nullptr : bias.as<float>();
  if (is_in_panels(w) || precision == Precision::fp32_fixed)
    return panel_linear(y.as<float>(), x.as<float>(), w, b, N, stream);
  if (N <= kStreamLinearRows)
    return stream_linear(y.as<float>(), x.as<float>(), w, b, N, precision, stream);
  multiply(y.as<float>(), x, w, b, {.M = N, .N = O, .K = I, .transpose_b = true}, precision,
           stream);
}

void linear_gelu(View y, View pre, ConstView x, ConstView w, ConstView bias, Precision precision,
                 Stream& stream) {
  cpu::linear(pre, x, w, bias, precision, stream);
  cpu::activation(y, pre, ConstView(), Activation::gelu_tanh, stream);
}

void linear_gelu_backward(View dpre, ConstView dy, ConstView w, ConstView pre, Precision precision,
                          Stream& stream) {
  cpu::linear_backward_input(dpre, dy, w, precision, stream);
  cpu::activation_backward(dpre, View(), dpre, pre, ConstView(), Activation::gelu_tanh, stream);
}

void linear_backward_input(View dx, ConstView dy, ConstView w, Precision precision,
                           Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  count(stream, N, O, w.dim(1));
  multiply(dx.as<float>(), dy, w, nullptr, {.M = N, .N = w.dim(1), .K = O}, precision, stream);
}

void linear_backward_weight(Gradient dw, Gradient dbias, ConstView dy, ConstView x,
                            Precision precision, Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  count(stream, N, O, x.dim(1));
  multiply(dw.sum.as<float>(), dy, x, nullptr,
           {.M = O, .N = x.dim(1), .K = N, .transpose_a = true, .accumulate = dw.accumulate},
           precision, stream);
  if (dbias.empty()) return;
  auto* sums = dbias.sum.as<float>();
  if (!dbias.accumulate) std::fill(sums, sums + O, 0.0f);
  add_column_sums(sums, dy.as<float>(), N, O, stream);
}

}  // namespace weft::cpu

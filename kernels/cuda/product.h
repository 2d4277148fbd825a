// Products of matrices on cuBLASLt, with what follows a linear layer in the same pass.
#pragma once

#include <cstdint>

#include "core/device.h"
#include "core/tensor.h"

namespace weft::cuda {

// What a product's sums go through in fp32 before they are rounded.
enum class Epilogue : std::uint8_t {
  none,
  bias,        // + bias
  gelu,        // + bias, if any: kept as pre; then GELU in its tanh form
  gelu_slope,  // · GELU's slope at slope_at
};

// c (M, N) = op(a) op(b) + accumulate·c, all row-major; a is (M, K) or, transposed, (K, M); b is
// (K, N) or, transposed, (N, K). a and b are of one dtype, fp32 or bf16, c is too or fp32.
struct Product {
  std::int64_t M = 0, N = 0, K = 0;
  bool transpose_a = false, transpose_b = false, accumulate = false;
  Epilogue epilogue = Epilogue::none;
  ConstView bias = {};      // (N), or empty
  View pre = {};            // (M, N) in c's dtype
  ConstView slope_at = {};  // (M, N) in c's dtype
};

// False where cuBLASLt has no such epilogue for these dtypes, dims and addresses: then nothing has
// been enqueued. What it chooses depends on those alone, of addresses on whether they are multiples
// of 2, 4, 8 and 16.
bool try_multiply(View c, ConstView a, ConstView b, const Product& product, Stream& stream);

// Without an epilogue.
void multiply(View c, ConstView a, ConstView b, const Product& product, Stream& stream);

// A stream's workspace for these, taken from its GPU at its first product. It never grows.
constexpr std::size_t kProductWorkspace = std::size_t{32} << 20;

}  // namespace weft::cuda

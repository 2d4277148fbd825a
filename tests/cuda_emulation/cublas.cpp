// The part of cuBLAS that Weft calls, in host memory: matrices are widened to fp32 and multiplied
// by oneDNN.
#include <cublas_v2.h>
#include <oneapi/dnnl/dnnl.h>

#include <bit>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "streams.h"

namespace {

using weft::emulation::Range;

struct Handle {
  int gpu = 0;  // whose current one made it
  cudaStream_t stream = nullptr;
};

// The bytes of a matrix's columns.
void touch(std::vector<Range>& touches, const void* p, cudaDataType type, bool writes,
           std::int64_t rows, std::int64_t columns, std::int64_t ld) {
  const std::size_t bytes = type == CUDA_R_32F ? 4 : 2;
  const auto size = [&](std::int64_t n) { return static_cast<std::size_t>(n) * bytes; };
  const auto begin = reinterpret_cast<std::uintptr_t>(p);
  if (rows == ld) {
    touches.push_back({begin, size(rows * columns), writes});
    return;
  }
  for (std::int64_t c = 0; c < columns; ++c)
    touches.push_back({begin + size(c * ld), size(rows), writes});
}

float widen(const void* p, cudaDataType type, std::size_t i) {
  if (type == CUDA_R_32F) return static_cast<const float*>(p)[i];
  return std::bit_cast<float>(static_cast<std::uint32_t>(static_cast<const std::uint16_t*>(p)[i])
                              << 16);
}

void narrow(void* p, cudaDataType type, std::size_t i, float x) {
  if (type == CUDA_R_32F) {
    static_cast<float*>(p)[i] = x;
    return;
  }
  const auto bits = std::bit_cast<std::uint32_t>(x);
  static_cast<std::uint16_t*>(p)[i] =
      static_cast<std::uint16_t>((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

// A column-major matrix as a dense row-major fp32 one, (rows, columns).
std::vector<float> dense(const void* p, cudaDataType type, bool transposed, std::int64_t rows,
                         std::int64_t columns, std::int64_t ld) {
  std::vector<float> out(static_cast<std::size_t>(rows) * static_cast<std::size_t>(columns));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c) {
      const std::size_t at = transposed
                                 ? static_cast<std::size_t>(r) * static_cast<std::size_t>(ld) +
                                       static_cast<std::size_t>(c)
                                 : static_cast<std::size_t>(c) * static_cast<std::size_t>(ld) +
                                       static_cast<std::size_t>(r);
      out[static_cast<std::size_t>(r) * static_cast<std::size_t>(columns) +
          static_cast<std::size_t>(c)] = widen(p, type, at);
    }
  return out;
}

}  // namespace

extern "C" {

cublasStatus_t cublasCreate_v2(cublasHandle_t* handle) {
  *handle = reinterpret_cast<cublasHandle_t>(new Handle{weft::emulation::current_gpu()});
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasDestroy_v2(cublasHandle_t handle) {
  delete reinterpret_cast<Handle*>(handle);
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetStream_v2(cublasHandle_t handle, cudaStream_t stream) {
  reinterpret_cast<Handle*>(handle)->stream = stream;
  return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasSetMathMode(cublasHandle_t, cublasMath_t) { return CUBLAS_STATUS_SUCCESS; }
const char* cublasGetStatusString(cublasStatus_t) { return "an error of the emulated cuBLAS"; }

cublasStatus_t cublasGemmEx_64(cublasHandle_t handle, cublasOperation_t op_a,
                               cublasOperation_t op_b, std::int64_t m, std::int64_t n,
                               std::int64_t k, const void* alpha_p, const void* a,
                               cudaDataType type_a, std::int64_t lda, const void* b,
                               cudaDataType type_b, std::int64_t ldb, const void* beta_p, void* c,
                               cudaDataType type_c, std::int64_t ldc, cublasComputeType_t,
                               cublasGemmAlgo_t) {
  if (type_a != type_b || (type_a != CUDA_R_32F && type_a != CUDA_R_16BF) ||
      (type_c != CUDA_R_32F && type_c != CUDA_R_16BF))
    return CUBLAS_STATUS_NOT_SUPPORTED;
  const Handle& own = *reinterpret_cast<const Handle*>(handle);
  if (own.gpu != weft::emulation::current_gpu()) {
    weft::emulation::failed("a cuBLAS handle of another GPU than the thread's current one",
                            cudaErrorInvalidResourceHandle);
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  const bool turned_a = op_a == CUBLAS_OP_T, turned_b = op_b == CUBLAS_OP_T;
  weft::emulation::Item item;
  item.name = "a product of matrices";
  touch(item.touches, a, type_a, false, turned_a ? k : m, turned_a ? m : k, lda);
  touch(item.touches, b, type_b, false, turned_b ? n : k, turned_b ? k : n, ldb);
  touch(item.touches, c, type_c, true, m, n, ldc);
  const float alpha = *static_cast<const float*>(alpha_p),
              beta = *static_cast<const float*>(beta_p);
  item.work = [=] {
    const std::vector<float> left = dense(a, type_a, turned_a, m, k, lda),
                             right = dense(b, type_b, turned_b, k, n, ldb);
    std::vector<float> product(static_cast<std::size_t>(m) * static_cast<std::size_t>(n));
    dnnl_sgemm('N', 'N', m, n, k, 1.0f, left.data(), k, right.data(), n, 0.0f, product.data(), n);
    for (std::int64_t column = 0; column < n; ++column)
      for (std::int64_t row = 0; row < m; ++row) {
        const std::size_t at = static_cast<std::size_t>(column) * static_cast<std::size_t>(ldc) +
                               static_cast<std::size_t>(row);
        const float x =
            alpha * product[static_cast<std::size_t>(row) * static_cast<std::size_t>(n) +
                            static_cast<std::size_t>(column)];
        narrow(c, type_c, at, beta == 0 ? x : x + beta * widen(c, type_c, at));
      }
  };
  weft::emulation::enqueue(own.stream, std::move(item));
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

// Products on streams: what they touch, and whose handle they take.
#include <cublasLt.h>
#include <gtest/gtest.h>

#include <vector>

#include "core/arena.h"
#include "core/host_copy.h"
#include "faults.h"

namespace weft {
namespace {

using emulation::fault_of;
using emulation::Schedule;

constexpr Device kGpu = {DeviceType::cuda, 0};

// c (2, 3) = aᵀ b of a (4, 2) and b (4, 3), column-major; a and b are the first columns of wider
// memory, c is every other column of its own.
struct Product {
  Arena arena{"matrices", 4096, kGpu};
  View a = arena.alloc(DType::f32, {2, 4}), b = arena.alloc(DType::f32, {3, 4}),
       c = arena.alloc(DType::f32, {6, 2});
  Stream stream{kGpu}, other{kGpu};
  cublasLtHandle_t handle = nullptr;
  cublasLtMatmulDesc_t operation = nullptr;
  cublasLtMatrixLayout_t left = nullptr, right = nullptr, result = nullptr;
  cublasLtMatmulHeuristicResult_t chosen = {};

  explicit Product(Device device = kGpu) {
    const DeviceGuard current(device);
    cublasLtCreate(&handle);
    cublasLtMatmulDescCreate(&operation, CUBLAS_COMPUTE_32F, CUDA_R_32F);
    const std::int32_t turned = CUBLAS_OP_T;
    cublasLtMatmulDescSetAttribute(operation, CUBLASLT_MATMUL_DESC_TRANSA, &turned, sizeof turned);
    cublasLtMatrixLayoutCreate(&left, CUDA_R_32F, 4, 2, 4);
    cublasLtMatrixLayoutCreate(&right, CUDA_R_32F, 4, 3, 4);
    cublasLtMatrixLayoutCreate(&result, CUDA_R_32F, 2, 3, 4);
    cublasLtMatmulPreference_t preference = nullptr;
    cublasLtMatmulPreferenceCreate(&preference);
    for (const auto align :
         {CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
          CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES}) {
      const std::uint32_t bytes = 16;
      cublasLtMatmulPreferenceSetAttribute(preference, align, &bytes, sizeof bytes);
    }
    int n = 0;
    cublasLtMatmulAlgoGetHeuristic(handle, operation, left, right, result, result, preference, 1,
                                   &chosen, &n);
    cublasLtMatmulPreferenceDestroy(preference);
    const std::vector<float> ones(12, 1.0f);
    copy_bytes(a.data(), ones.data(), a.bytes(), stream);
    copy_bytes(b.data(), ones.data(), b.bytes(), stream);
  }
  ~Product() {
    for (cublasLtMatrixLayout_t layout : {left, right, result}) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulDescDestroy(operation);
    cublasLtDestroy(handle);
  }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void multiply() {
    const float one = 1, zero = 0;
    cublasLtMatmul(handle, operation, &one, a.data(), left, b.data(), right, &zero, c.data(),
                   result, c.data(), result, &chosen.algo, nullptr, 0,
                   static_cast<cudaStream_t>(stream.native()));
    CHECK(cudaPeekAtLastError() == cudaSuccess, "multiplied: {}",
          cudaGetErrorString(cudaPeekAtLastError()));
  }
  void finish() {
    stream.synchronize();
    other.synchronize();
  }
};

class CublasLt : public testing::TestWithParam<Schedule> {};

TEST_P(CublasLt, MultipliesAndTouchesItsColumnsAlone) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Product p;
                       p.multiply();
                       const float value = 9;  // into a column between those of c
                       copy_bytes(p.c.rows(1, 2).data(), &value, sizeof value, p.other);
                       p.finish();
                       HostCopy copy;
                       const float* c = copy.of(p.c, p.stream).as<float>();
                       EXPECT_EQ(c[0], 4);
                       EXPECT_EQ(c[2], 9);
                       EXPECT_EQ(c[9], 4);
                     }),
            "");
}

TEST_P(CublasLt, NeedsAnEventAsAllWorkDoes) {
  EXPECT_NE(fault_of(GetParam(),
                     [] {
                       Product p;
                       p.multiply();
                       const float value = 9;
                       copy_bytes(p.c.rows(4, 5).data(), &value, sizeof value, p.other);
                       p.finish();
                     })
                .find("a product of matrices on stream 1 of GPU 0"),
            std::string::npos);
}

TEST_P(CublasLt, TakesAHandleOfTheCurrentGpu) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Product p({DeviceType::cuda, 1});
                       p.multiply();
                     }),
            "a cuBLASLt handle of another GPU than the thread's current one");
}

INSTANTIATE_TEST_SUITE_P(Schedules, CublasLt, testing::Values(Schedule::late, Schedule::eager));

}  // namespace
}  // namespace weft

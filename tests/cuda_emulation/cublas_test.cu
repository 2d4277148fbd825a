// Products on streams: what they touch, and whose handle they take.
#include <cublas_v2.h>
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
  cublasHandle_t handle = nullptr;

  explicit Product(Device device = kGpu) {
    const DeviceGuard current(device);
    cublasCreate(&handle);
    cublasSetStream(handle, static_cast<cudaStream_t>(stream.native()));
    const std::vector<float> ones(12, 1.0f);
    copy_bytes(a.data(), ones.data(), a.bytes(), stream);
    copy_bytes(b.data(), ones.data(), b.bytes(), stream);
  }
  ~Product() { cublasDestroy(handle); }
  Product(const Product&) = delete;
  Product& operator=(const Product&) = delete;

  void multiply() {
    const float one = 1, zero = 0;
    cublasGemmEx_64(handle, CUBLAS_OP_T, CUBLAS_OP_N, 2, 3, 4, &one, a.data(), CUDA_R_32F, 4,
                    b.data(), CUDA_R_32F, 4, &zero, c.data(), CUDA_R_32F, 4, CUBLAS_COMPUTE_32F,
                    CUBLAS_GEMM_DEFAULT);
    CHECK(cudaPeekAtLastError() == cudaSuccess, "multiplied: {}",
          cudaGetErrorString(cudaPeekAtLastError()));
  }
  void finish() {
    stream.synchronize();
    other.synchronize();
  }
};

class Cublas : public testing::TestWithParam<Schedule> {};

TEST_P(Cublas, MultipliesAndTouchesItsColumnsAlone) {
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

TEST_P(Cublas, NeedsAnEventAsAllWorkDoes) {
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

TEST_P(Cublas, TakesAHandleOfTheCurrentGpu) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Product p({DeviceType::cuda, 1});
                       p.multiply();
                     }),
            "a cuBLAS handle of another GPU than the thread's current one");
}

INSTANTIATE_TEST_SUITE_P(Schedules, Cublas, testing::Values(Schedule::late, Schedule::eager));

}  // namespace
}  // namespace weft

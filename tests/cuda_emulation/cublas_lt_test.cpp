// That the emulated cuBLASLt refuses what the library's documentation excludes.
#include <cublasLt.h>
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace {

constexpr std::int64_t kM = 24, kN = 8, kK = 16;

// D (24, 8) = A (24, 16) B (16, 8) with fp32 matrices, in fp32 memory of the emulated GPU.
class EmulatedCublasLt : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream_, 0), cudaSuccess);
    ASSERT_EQ(cublasLtCreate(&handle_), CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasLtMatmulDescCreate(&operation_, CUBLAS_COMPUTE_32F, CUDA_R_32F),
              CUBLAS_STATUS_SUCCESS);
    ASSERT_EQ(cublasLtMatmulPreferenceCreate(&preference_), CUBLAS_STATUS_SUCCESS);
    for (void** p : {&a_, &b_, &d_, &more_, &workspace_})
      ASSERT_EQ(cudaMalloc(p, std::size_t{1} << 21), cudaSuccess);
    prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{1} << 20);
  }
  void TearDown() override {
    cudaStreamSynchronize(stream_);
    for (cublasLtMatrixLayout_t layout : layouts_) cublasLtMatrixLayoutDestroy(layout);
    cublasLtMatmulPreferenceDestroy(preference_);
    cublasLtMatmulDescDestroy(operation_);
    cublasLtDestroy(handle_);
    for (void* p : {a_, b_, d_, more_, workspace_}) cudaFree(p);
    cudaStreamDestroy(stream_);
  }

  template <class T>
  cublasStatus_t set(cublasLtMatmulDescAttributes_t attribute, T value) {
    return cublasLtMatmulDescSetAttribute(operation_, attribute, &value, sizeof value);
  }
  template <class T>
  void prefer(cublasLtMatmulPreferenceAttributes_t attribute, T value) {
    ASSERT_EQ(cublasLtMatmulPreferenceSetAttribute(preference_, attribute, &value, sizeof value),
              CUBLAS_STATUS_SUCCESS);
  }
  cublasLtMatrixLayout_t layout(cudaDataType type, std::int64_t rows, std::int64_t columns,
                                std::int64_t ld) {
    layouts_.emplace_back();
    cublasLtMatrixLayoutCreate(&layouts_.back(), type, static_cast<std::uint64_t>(rows),
                               static_cast<std::uint64_t>(columns), ld);
    return layouts_.back();
  }
  cublasStatus_t choose(cudaDataType in = CUDA_R_32F, cudaDataType out = CUDA_R_32F,
                        std::int64_t ld = kM) {
    left_ = layout(in, kM, kK, kM);
    right_ = layout(in, kK, kN, kK);
    result_ = layout(out, kM, kN, ld);
    int n = 0;
    const cublasStatus_t status = cublasLtMatmulAlgoGetHeuristic(
        handle_, operation_, left_, right_, result_, result_, preference_, 1, &chosen_, &n);
    EXPECT_EQ(n, status == CUBLAS_STATUS_SUCCESS ? 1 : 0);
    return status;
  }
  cublasStatus_t run(std::size_t a_from = 0, std::size_t workspace_bytes = std::size_t{1} << 20) {
    const float one = 1, zero = 0;
    return cublasLtMatmul(handle_, operation_, &one, static_cast<std::byte*>(a_) + a_from, left_,
                          b_, right_, &zero, d_, result_, d_, result_, &chosen_.algo, workspace_,
                          workspace_bytes, stream_);
  }
  void with_aux(std::uint32_t epilogue, std::size_t from, std::int64_t ld) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue);
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER,
        static_cast<void*>(static_cast<std::byte*>(more_) + from));
    set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, ld);
  }
  void with_bias(std::size_t from) {
    set(CUBLASLT_MATMUL_DESC_EPILOGUE, std::uint32_t{CUBLASLT_EPILOGUE_BIAS});
    set(CUBLASLT_MATMUL_DESC_BIAS_POINTER,
        static_cast<const void*>(static_cast<std::byte*>(more_) + from));
  }

  cudaStream_t stream_ = nullptr;
  cublasLtHandle_t handle_ = nullptr;
  cublasLtMatmulDesc_t operation_ = nullptr;
  cublasLtMatmulPreference_t preference_ = nullptr;
  std::vector<cublasLtMatrixLayout_t> layouts_;
  cublasLtMatrixLayout_t left_ = nullptr, right_ = nullptr, result_ = nullptr;
  void *a_ = nullptr, *b_ = nullptr, *d_ = nullptr, *more_ = nullptr, *workspace_ = nullptr;
  cublasLtMatmulHeuristicResult_t chosen_{};
};

TEST_F(EmulatedCublasLt, RunsWhatWasChosenForItAndNothingElse) {
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(), CUBLAS_STATUS_SUCCESS);
  with_bias(0);
  EXPECT_EQ(run(), CUBLAS_STATUS_INVALID_VALUE);  // chosen without a bias
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(), CUBLAS_STATUS_SUCCESS);
}

TEST_F(EmulatedCublasLt, HoldsCallersToTheAlignmentThatTheyPromised) {
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(16), CUBLAS_STATUS_INVALID_VALUE);  // 256 bytes unless a wish says otherwise
  prefer(CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, std::uint32_t{16});
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(16), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(8), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, WantsTheWorkspaceThatItSaid) {
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(0, chosen_.workspaceSize - 1), CUBLAS_STATUS_INVALID_VALUE);
  prefer(CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, std::uint64_t{0});
  ASSERT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(run(0, 0), CUBLAS_STATUS_SUCCESS);
}

TEST_F(EmulatedCublasLt, RefusesDtypesAndLeadingDimensions) {
  EXPECT_EQ(choose(CUDA_R_16BF, CUDA_R_32F), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(choose(CUDA_R_32F, CUDA_R_16BF), CUBLAS_STATUS_NOT_SUPPORTED);
  EXPECT_EQ(choose(CUDA_R_32F, CUDA_R_32F, kM - 1), CUBLAS_STATUS_INVALID_VALUE);
  EXPECT_EQ(set(CUBLASLT_MATMUL_DESC_TRANSA, std::int64_t{0}), CUBLAS_STATUS_INVALID_VALUE);
}

TEST_F(EmulatedCublasLt, RefusesBiasesOfAnotherDtypeThanTheResult) {
  with_bias(0);
  EXPECT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  set(CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, std::int32_t{CUDA_R_32F});
  EXPECT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
  EXPECT_EQ(choose(CUDA_R_16BF, CUDA_R_16BF), CUBLAS_STATUS_NOT_SUPPORTED);
  with_bias(4);
  EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_SUPPORTED);
}

TEST_F(EmulatedCublasLt, RefusesAnAuxiliaryMatrixThatDoesNotFit) {
  for (const std::uint32_t epilogue :
       {std::uint32_t{CUBLASLT_EPILOGUE_GELU_AUX}, std::uint32_t{CUBLASLT_EPILOGUE_DGELU}}) {
    with_aux(epilogue, 0, kM);
    EXPECT_EQ(choose(), CUBLAS_STATUS_SUCCESS);
    with_aux(epilogue, 0, kM + 4);
    EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_SUPPORTED);
    with_aux(epilogue, 0, kM - 8);
    EXPECT_EQ(choose(), CUBLAS_STATUS_INVALID_VALUE);
    with_aux(epilogue, 8, kM);
    EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_SUPPORTED);
  }
  with_aux(CUBLASLT_EPILOGUE_RELU_AUX, 0, 128);
  EXPECT_EQ(choose(), CUBLAS_STATUS_NOT_SUPPORTED);
}

}  // namespace

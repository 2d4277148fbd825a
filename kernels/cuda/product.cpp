#include "kernels/cuda/product.h"

#include <algorithm>
#include <map>
#include <memory>
#include <tuple>
#include <type_traits>
#include <utility>

#include "kernels/cuda/cublas_lt.cuh"
#include "kernels/cuda/launch.cuh"

namespace weft::cuda {
namespace {

template <auto kDestroy>
struct Destroy {
  template <class T>
  void operator()(T* p) const {
    (cublas_lt().*kDestroy)(p);
  }
};
template <class Handle, auto kDestroy>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<kDestroy>>;
using Operation = Owned<cublasLtMatmulDesc_t, &CublasLt::cublasLtMatmulDescDestroy>;
using Layout = Owned<cublasLtMatrixLayout_t, &CublasLt::cublasLtMatrixLayoutDestroy>;
using Preference = Owned<cublasLtMatmulPreference_t, &CublasLt::cublasLtMatmulPreferenceDestroy>;

template <class T>
void set(const Operation& operation, cublasLtMatmulDescAttributes_t attribute, const T& value) {
  CUBLAS_LT_CHECK(
      cublas_lt().cublasLtMatmulDescSetAttribute(operation.get(), attribute, &value, sizeof value));
}
template <class T>
void set(const Preference& preference, cublasLtMatmulPreferenceAttributes_t attribute,
         const T& value) {
  CUBLAS_LT_CHECK(cublas_lt().cublasLtMatmulPreferenceSetAttribute(preference.get(), attribute,
                                                                   &value, sizeof value));
}

cudaDataType type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

Layout layout(DType dtype, std::int64_t rows, std::int64_t columns) {  // of columns
  cublasLtMatrixLayout_t made = nullptr;
  CUBLAS_LT_CHECK(cublas_lt().cublasLtMatrixLayoutCreate(
      &made, type_of(dtype), static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(columns),
      rows));
  return Layout(made);
}

// The largest power of two, at most `most`, that divides an address.
std::uint32_t alignment(const void* p, std::uint32_t most) {
  const auto address = reinterpret_cast<std::uintptr_t>(p) | most;
  return static_cast<std::uint32_t>(address & (~address + 1));
}

// Wider access than this does not exist.
constexpr std::uint32_t kWidest = 16;
// What the library documents for a bias and for what GELU is told apart.
constexpr std::uint32_t kVectorAlignment = 16;
constexpr std::int64_t kPitchOfPre = 8;

// What an algorithm is chosen by.
struct Key {
  std::int64_t M, N, K;
  bool transpose_a, transpose_b, has_bias;
  Epilogue epilogue;
  DType in, out;
  std::uint32_t align_a, align_b, align_c, align_bias, align_pre;
  auto all() const {
    return std::tie(M, N, K, transpose_a, transpose_b, has_bias, epilogue, in, out, align_a,
                    align_b, align_c, align_bias, align_pre);
  }
  bool operator<(const Key& other) const { return all() < other.all(); }
};

const void* pre_of(const Product& p) {
  return p.epilogue == Epilogue::gelu_slope ? p.slope_at.data() : p.pre.data();
}

Key key_of(View c, ConstView a, ConstView b, const Product& p) {
  constexpr std::uint32_t kMost = 256;
  return {.M = p.M,
          .N = p.N,
          .K = p.K,
          .transpose_a = p.transpose_a,
          .transpose_b = p.transpose_b,
          .has_bias = !p.bias.empty(),
          .epilogue = p.epilogue,
          .in = a.dtype(),
          .out = c.dtype(),
          .align_a = alignment(a.data(), kWidest),
          .align_b = alignment(b.data(), kWidest),
          .align_c = alignment(c.data(), kWidest),
          .align_bias = alignment(p.bias.data(), kMost),
          .align_pre = alignment(pre_of(p), kMost)};
}

// Descriptors and the algorithm for one kind of product; none found: all null.
struct Plan {
  Operation operation;
  Layout left, right, result;
  cublasLtMatmulAlgo_t algorithm{};
};

cublasLtEpilogue_t epilogue_of(const Product& p) {
  switch (p.epilogue) {
    case Epilogue::none:
      return CUBLASLT_EPILOGUE_DEFAULT;
    case Epilogue::bias:
      return CUBLASLT_EPILOGUE_BIAS;
    case Epilogue::gelu:
      return p.bias.empty() ? CUBLASLT_EPILOGUE_GELU_AUX : CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
    case Epilogue::gelu_slope:
      return CUBLASLT_EPILOGUE_DGELU;
  }
  return CUBLASLT_EPILOGUE_DEFAULT;
}

void set_pointers(const Operation& operation, const Product& p) {
  if (!p.bias.empty()) set(operation, CUBLASLT_MATMUL_DESC_BIAS_POINTER, p.bias.data());
  if (pre_of(p)) set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, pre_of(p));
}

// What the library says in its documentation that it cannot do.
bool is_beyond(const Key& key, const Product& p) {
  if (key.has_bias && (p.bias.dtype() != key.out || key.align_bias < kVectorAlignment)) return true;
  const bool keeps = p.epilogue == Epilogue::gelu || p.epilogue == Epilogue::gelu_slope;
  return keeps && (key.N % kPitchOfPre != 0 || key.align_pre < kVectorAlignment);
}

// cᵀ = op(b)ᵀ op(a)ᵀ in the library's columns.
Plan make_plan(cublasLtHandle_t handle, const Key& key, const Product& p) {
  Plan plan;
  if (is_beyond(key, p)) return plan;
  cublasLtMatmulDesc_t made = nullptr;
  CUBLAS_LT_CHECK(cublas_lt().cublasLtMatmulDescCreate(&made, CUBLAS_COMPUTE_32F, CUDA_R_32F));
  Operation operation(made);
  const auto turned = [](bool transposes) {
    return static_cast<std::int32_t>(transposes ? CUBLAS_OP_T : CUBLAS_OP_N);
  };
  set(operation, CUBLASLT_MATMUL_DESC_TRANSA, turned(p.transpose_b));
  set(operation, CUBLASLT_MATMUL_DESC_TRANSB, turned(p.transpose_a));
  set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE, static_cast<std::uint32_t>(epilogue_of(p)));
  set_pointers(operation, p);
  if (pre_of(p)) set(operation, CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, p.N);
  Layout left = p.transpose_b ? layout(key.in, p.K, p.N) : layout(key.in, p.N, p.K),
         right = p.transpose_a ? layout(key.in, p.M, p.K) : layout(key.in, p.K, p.M),
         result = layout(key.out, p.N, p.M);

  cublasLtMatmulPreference_t wish = nullptr;
  CUBLAS_LT_CHECK(cublas_lt().cublasLtMatmulPreferenceCreate(&wish));
  const Preference preference(wish);
  set(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
      static_cast<std::uint64_t>(kProductWorkspace));
  // Parts of a sum are added in fp32, whatever the result is.
  set(preference, CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK,
      static_cast<std::uint32_t>(CUBLASLT_REDUCTION_SCHEME_COMPUTE_TYPE));
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES, key.align_b);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES, key.align_a);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES, key.align_c);
  set(preference, CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES, key.align_c);

  cublasLtMatmulHeuristicResult_t found{};
  int n_found = 0;
  const cublasStatus_t status = cublas_lt().cublasLtMatmulAlgoGetHeuristic(
      handle, operation.get(), left.get(), right.get(), result.get(), result.get(),
      preference.get(), 1, &found, &n_found);
  if (status == CUBLAS_STATUS_NOT_SUPPORTED || (status == CUBLAS_STATUS_SUCCESS && n_found == 0))
    return plan;
  CHECK(status == CUBLAS_STATUS_SUCCESS, "cublasLtMatmulAlgoGetHeuristic: {} ({})",
        cublas_lt().cublasLtGetStatusString(status), static_cast<int>(status));
  plan.operation = std::move(operation);
  plan.left = std::move(left);
  plan.right = std::move(right);
  plan.result = std::move(result);
  plan.algorithm = found.algo;
  return plan;
}

// A stream's plans. Serving makes new shapes all the time: beyond kMostPlans all are forgotten.
class Plans {
 public:
  const Plan& find(const Key& key, const Product& p, Device device) {
    if (!handle_) {
      cublasLtHandle_t made = nullptr;
      CUBLAS_LT_CHECK(cublas_lt().cublasLtCreate(&made));
      handle_.reset(made);
      workspace_ = allocate(device, kProductWorkspace);
    }
    const auto known = plans_.find(key);
    if (known != plans_.end()) return known->second;
    if (plans_.size() == kMostPlans) plans_.clear();
    return plans_.emplace(key, make_plan(handle_.get(), key, p)).first->second;
  }
  cublasLtHandle_t handle() const { return handle_.get(); }
  void* workspace() const { return workspace_.get(); }

 private:
  static constexpr std::size_t kMostPlans = 4096;
  Owned<cublasLtHandle_t, &CublasLt::cublasLtDestroy> handle_;
  std::shared_ptr<void> workspace_;
  std::map<Key, Plan> plans_;
};

Work work_of(ConstView c, ConstView a, ConstView b, const Product& p) {
  const auto elems = [](std::int64_t m, std::int64_t n) {
    return static_cast<double>(m) * static_cast<double>(n);
  };
  const double results = elems(p.M, p.N) * static_cast<double>(dtype_bytes(c.dtype()));
  const bool reads_more = p.accumulate || !p.slope_at.empty(), writes_more = !p.pre.empty();
  return {.bytes = elems(p.M, p.K) * static_cast<double>(dtype_bytes(a.dtype())) +
                   elems(p.K, p.N) * static_cast<double>(dtype_bytes(b.dtype())) +
                   results * (1 + reads_more + writes_more) + static_cast<double>(p.bias.bytes()),
          .flops = 2 * elems(p.M, p.N) * static_cast<double>(p.K)};
}

}  // namespace

bool try_multiply(View c, ConstView a, ConstView b, const Product& p, Stream& stream) {
  if (p.M == 0 || p.N == 0 || (p.K == 0 && p.accumulate)) return true;
  CHECK(p.K > 0, "a product of matrices with no inner dim");
  auto& log = stream.attached<LaunchLog>();
  if (log.on) log.entries.push_back({nullptr, {}, work_of(c, a, b, p)});
  if (log.dry) return true;
  const DeviceGuard current(stream.device());  // to which the handle belongs
  auto& plans = stream.attached<Plans>();
  const Plan& plan = plans.find(key_of(c, a, b, p), p, stream.device());
  if (!plan.operation) return false;
  set_pointers(plan.operation, p);
  const float one = 1, beta = p.accumulate ? 1.0f : 0.0f;
  CUBLAS_LT_CHECK(cublas_lt().cublasLtMatmul(
      plans.handle(), plan.operation.get(), &one, b.data(), plan.left.get(), a.data(),
      plan.right.get(), &beta, c.data(), plan.result.get(), c.data(), plan.result.get(),
      &plan.algorithm, plans.workspace(), kProductWorkspace, native(stream)));
  return true;
}

void multiply(View c, ConstView a, ConstView b, const Product& p, Stream& stream) {
  CHECK(try_multiply(c, a, b, p, stream),
        "cuBLASLt multiplies no {} ({}, {}) by ({}, {}) to {} on this GPU", dtype_name(a.dtype()),
        p.M, p.K, p.K, p.N, dtype_name(c.dtype()));
}

}  // namespace weft::cuda

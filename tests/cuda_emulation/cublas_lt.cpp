// The part of cuBLASLt that Weft calls, in host memory: matrices are widened to fp32 and multiplied
// by oneDNN. What the library's documentation excludes is refused as it says; an algorithm runs
// with the operation, the alignments and the workspace that it was chosen for, spoils its
// workspace, and sums in an order of its own.
#include <cublasLt.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <vector>

#include "device_memory.h"
#include "rounding.h"
#include "streams.h"

namespace {

using weft::emulation::is_device_memory;
using weft::emulation::Range;

constexpr std::size_t kWorkspace = std::size_t{1} << 20;  // that the algorithm likes to have
constexpr std::uint64_t kMark = 0x3BADC0DE;               // of an algorithm chosen here

struct Handle {
  int gpu = 0;  // whose current one made it
};

struct Layout {
  cudaDataType type;
  std::int64_t rows, columns, ld;
};

struct Operation {
  cublasComputeType_t compute = CUBLAS_COMPUTE_32F;
  cudaDataType scale = CUDA_R_32F;
  std::int32_t transpose_a = CUBLAS_OP_N, transpose_b = CUBLAS_OP_N;
  std::uint32_t epilogue = CUBLASLT_EPILOGUE_DEFAULT;
  const void* bias = nullptr;
  void* aux = nullptr;
  std::int64_t aux_ld = 0;
  std::int32_t bias_type = -1;
};

struct Preference {
  std::uint64_t workspace = 0;
  std::uint32_t reductions = CUBLASLT_REDUCTION_SCHEME_MASK;
  std::uint32_t align_a = 256, align_b = 256, align_c = 256, align_d = 256;
};

// What cublasLtMatmulAlgo_t holds.
struct Algorithm {
  std::uint64_t mark, problem, workspace;
  std::uint32_t align_a, align_b, align_c, align_d, align_bias, align_aux;
};
static_assert(sizeof(Algorithm) <= sizeof(cublasLtMatmulAlgo_t));

template <class T>
T& at(const void* handle) {
  return *static_cast<T*>(const_cast<void*>(handle));
}

std::uint32_t alignment(const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p) | 256u;
  return static_cast<std::uint32_t>(address & (~address + 1));
}
bool is_multiple(const void* p, std::uint32_t of) {
  return reinterpret_cast<std::uintptr_t>(p) % of == 0;
}

bool takes_bias(const Operation& o) { return (o.epilogue & CUBLASLT_EPILOGUE_BIAS) != 0; }
bool has_aux(const Operation& o) { return (o.epilogue & 128u) != 0; }

struct Problem {
  const Operation& op;
  const Layout &a, &b, &c, &d;

  std::int64_t m() const { return d.rows; }
  std::int64_t n() const { return d.columns; }
  std::int64_t k() const { return op.transpose_a == CUBLAS_OP_T ? a.rows : a.columns; }

  // What an algorithm is chosen for.
  std::uint64_t digest() const {
    std::uint64_t hash = 0xCBF29CE484222325u;
    const auto add = [&](std::int64_t x) {
      hash = (hash ^ static_cast<std::uint64_t>(x)) * 0x100000001B3u;
    };
    for (const std::int64_t x : {std::int64_t{op.transpose_a}, std::int64_t{op.transpose_b},
                                 std::int64_t{op.epilogue}, has_aux(op) ? op.aux_ld : 0})
      add(x);
    for (const Layout* l : {&a, &b, &c, &d})
      for (const std::int64_t x : {std::int64_t{l->type}, l->rows, l->columns, l->ld}) add(x);
    return hash;
  }

  // A mistake (INVALID_VALUE) or a product that the library has not (NOT_SUPPORTED).
  cublasStatus_t verdict() const {
    for (const Layout* l : {&a, &b, &c, &d})
      if (l->rows < 1 || l->columns < 1 || l->ld < l->rows) return CUBLAS_STATUS_INVALID_VALUE;
    const bool turns_a = op.transpose_a == CUBLAS_OP_T, turns_b = op.transpose_b == CUBLAS_OP_T;
    if ((turns_a ? a.columns : a.rows) != m() || (turns_b ? b.rows : b.columns) != n() ||
        (turns_b ? b.columns : b.rows) != k() || c.rows != m() || c.columns != n())
      return CUBLAS_STATUS_INVALID_VALUE;
    if (takes_bias(op) && !op.bias) return CUBLAS_STATUS_INVALID_VALUE;
    if (has_aux(op) && (!op.aux || op.aux_ld < m())) return CUBLAS_STATUS_INVALID_VALUE;

    const bool in_fp32 = a.type == CUDA_R_32F, in_bf16 = a.type == CUDA_R_16BF;
    if (op.compute != CUBLAS_COMPUTE_32F || op.scale != CUDA_R_32F || a.type != b.type ||
        c.type != d.type || !(in_fp32 || in_bf16) ||
        !(d.type == CUDA_R_32F || (in_bf16 && d.type == CUDA_R_16BF)))
      return CUBLAS_STATUS_NOT_SUPPORTED;
    switch (op.epilogue) {
      case CUBLASLT_EPILOGUE_DEFAULT:
      case CUBLASLT_EPILOGUE_BIAS:
      case CUBLASLT_EPILOGUE_GELU_AUX:
      case CUBLASLT_EPILOGUE_GELU_AUX_BIAS:
      case CUBLASLT_EPILOGUE_DGELU:
        break;
      default:
        return CUBLAS_STATUS_NOT_SUPPORTED;
    }
    if (takes_bias(op) &&
        ((op.bias_type != -1 && op.bias_type != d.type) || !is_multiple(op.bias, 16)))
      return CUBLAS_STATUS_NOT_SUPPORTED;
    if (has_aux(op) && (op.aux_ld % 8 != 0 || !is_multiple(op.aux, 16)))
      return CUBLAS_STATUS_NOT_SUPPORTED;
    return CUBLAS_STATUS_SUCCESS;
  }
};

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

std::size_t place(std::int64_t row, std::int64_t column, std::int64_t ld) {
  return static_cast<std::size_t>(column * ld + row);
}

// A column-major matrix as a dense row-major fp32 one, (rows, columns).
std::vector<float> dense(const void* p, const Layout& l, bool transposed) {
  const std::int64_t rows = transposed ? l.columns : l.rows,
                     columns = transposed ? l.rows : l.columns;
  std::vector<float> out;
  out.reserve(static_cast<std::size_t>(rows * columns));
  for (std::int64_t r = 0; r < rows; ++r)
    for (std::int64_t c = 0; c < columns; ++c)
      out.push_back(widen(p, l.type, transposed ? place(c, r, l.ld) : place(r, c, l.ld)));
  return out;
}

// GELU's tanh form, by an approximate tanh (2^-11, PTX's tanh.approx): the library does not say
// which it has.
float tanh_of_gelu(float x) {
  const float u = 0.7978845608028654f * x * (1.0f + 0.044715f * x * x);
  if (std::abs(u) > 9) return std::copysign(1.0f, u);
  return std::clamp(weft::emulation::approximate(std::tanh(u), 1 << 12, x), -1.0f, 1.0f);
}
float gelu(float x) { return 0.5f * x * (1.0f + tanh_of_gelu(x)); }
float gelu_slope(float x) {
  const float t = tanh_of_gelu(x);
  const float du = 0.7978845608028654f * (1.0f + 3 * 0.044715f * x * x);
  return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * du;
}

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
void touch(std::vector<Range>& touches, const void* p, const Layout& l, bool writes) {
  touch(touches, p, l.type, writes, l.rows, l.columns, l.ld);
}

// One element's sum behind its epilogue; `i` is its place in aux.
float finish(const Operation& op, cudaDataType type, float x, std::int64_t row, std::size_t i) {
  if (takes_bias(op)) x += widen(op.bias, type, static_cast<std::size_t>(row));
  if (op.epilogue == CUBLASLT_EPILOGUE_DGELU) return x * gelu_slope(widen(op.aux, type, i));
  if (!has_aux(op)) return x;
  narrow(op.aux, type, i, x);
  return gelu(x);
}

// In how many parts an algorithm sums: another shape or alignment may be another's.
std::int64_t parts_of(const Algorithm& chosen) {
  std::uint64_t hash = chosen.problem;
  for (const std::uint32_t align : {chosen.align_a, chosen.align_b, chosen.align_d})
    hash = (hash ^ align) * 0x100000001B3u;
  return static_cast<std::int64_t>(1 + (hash >> 32) % 3);
}

cublasStatus_t set(void* to, std::size_t to_bytes, const void* from, std::size_t bytes) {
  if (!from || bytes != to_bytes) return CUBLAS_STATUS_INVALID_VALUE;
  std::memcpy(to, from, bytes);
  return CUBLAS_STATUS_SUCCESS;
}

template <class T, class Made, class... Args>
cublasStatus_t make(Made* made, Args... args) {
  *made = reinterpret_cast<Made>(new T{args...});
  return CUBLAS_STATUS_SUCCESS;
}
template <class T>
cublasStatus_t destroy(void* made) {
  delete static_cast<T*>(made);
  return CUBLAS_STATUS_SUCCESS;
}

}  // namespace

extern "C" {

const char* cublasLtGetStatusString(cublasStatus_t status) {
  static const std::map<int, const char*> kWords = {
      {CUBLAS_STATUS_INVALID_VALUE, "an invalid value (emulated)"},
      {CUBLAS_STATUS_NOT_SUPPORTED, "not supported (emulated)"}};
  const auto word = kWords.find(status);
  return word == kWords.end() ? "an error of the emulated cuBLASLt" : word->second;
}

cublasStatus_t cublasLtCreate(cublasLtHandle_t* handle) {
  return make<Handle>(handle, weft::emulation::current_gpu());
}
cublasStatus_t cublasLtDestroy(cublasLtHandle_t handle) { return destroy<Handle>(handle); }

cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* layout, cudaDataType type,
                                          std::uint64_t rows, std::uint64_t columns,
                                          std::int64_t ld) {
  return make<Layout>(layout, type, static_cast<std::int64_t>(rows),
                      static_cast<std::int64_t>(columns), ld);
}
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t layout) {
  return destroy<Layout>(layout);
}

cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* operation,
                                        cublasComputeType_t compute, cudaDataType scale) {
  return make<Operation>(operation, compute, scale);
}
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t operation) {
  return destroy<Operation>(operation);
}
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t operation,
                                              cublasLtMatmulDescAttributes_t attribute,
                                              const void* value, std::size_t bytes) {
  auto& o = at<Operation>(operation);
  const auto into = [&](auto& member) { return set(&member, sizeof member, value, bytes); };
  switch (attribute) {
    case CUBLASLT_MATMUL_DESC_TRANSA:
      return into(o.transpose_a);
    case CUBLASLT_MATMUL_DESC_TRANSB:
      return into(o.transpose_b);
    case CUBLASLT_MATMUL_DESC_EPILOGUE:
      return into(o.epilogue);
    case CUBLASLT_MATMUL_DESC_BIAS_POINTER:
      return into(o.bias);
    case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE:
      return into(o.bias_type);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER:
      return into(o.aux);
    case CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD:
      return into(o.aux_ld);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* preference) {
  return make<Preference>(preference);
}
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t preference) {
  return destroy<Preference>(preference);
}
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t preference,
                                                    cublasLtMatmulPreferenceAttributes_t attribute,
                                                    const void* value, std::size_t bytes) {
  auto& p = at<Preference>(preference);
  const auto into = [&](auto& member) { return set(&member, sizeof member, value, bytes); };
  switch (attribute) {
    case CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES:
      return into(p.workspace);
    case CUBLASLT_MATMUL_PREF_REDUCTION_SCHEME_MASK:
      return into(p.reductions);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES:
      return into(p.align_a);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES:
      return into(p.align_b);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES:
      return into(p.align_c);
    case CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES:
      return into(p.align_d);
    default:
      return CUBLAS_STATUS_INVALID_VALUE;
  }
}

cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t operation,
                                              cublasLtMatrixLayout_t a, cublasLtMatrixLayout_t b,
                                              cublasLtMatrixLayout_t c, cublasLtMatrixLayout_t d,
                                              cublasLtMatmulPreference_t preference, int wanted,
                                              cublasLtMatmulHeuristicResult_t* results,
                                              int* n_results) {
  *n_results = 0;
  if (wanted < 1) return CUBLAS_STATUS_INVALID_VALUE;
  const Problem problem{at<Operation>(operation), at<Layout>(a), at<Layout>(b), at<Layout>(c),
                        at<Layout>(d)};
  if (const cublasStatus_t verdict = problem.verdict(); verdict != CUBLAS_STATUS_SUCCESS)
    return verdict;
  const auto& wish = at<Preference>(preference);
  const Algorithm chosen = {.mark = kMark,
                            .problem = problem.digest(),
                            .workspace = std::min<std::uint64_t>(wish.workspace, kWorkspace),
                            .align_a = wish.align_a,
                            .align_b = wish.align_b,
                            .align_c = wish.align_c,
                            .align_d = wish.align_d,
                            .align_bias = alignment(problem.op.bias),
                            .align_aux = alignment(problem.op.aux)};
  results[0] = {};
  std::memcpy(&results[0].algo, &chosen, sizeof chosen);
  results[0].workspaceSize = chosen.workspace;
  results[0].state = CUBLAS_STATUS_SUCCESS;
  *n_results = 1;
  return CUBLAS_STATUS_SUCCESS;
}

cublasStatus_t cublasLtMatmul(cublasLtHandle_t handle, cublasLtMatmulDesc_t operation,
                              const void* alpha_p, const void* a, cublasLtMatrixLayout_t a_layout,
                              const void* b, cublasLtMatrixLayout_t b_layout, const void* beta_p,
                              const void* c, cublasLtMatrixLayout_t c_layout, void* d,
                              cublasLtMatrixLayout_t d_layout, const cublasLtMatmulAlgo_t* algo,
                              void* workspace, std::size_t workspace_bytes, cudaStream_t stream) {
  const Operation op = at<Operation>(operation);
  const Layout la = at<Layout>(a_layout), lb = at<Layout>(b_layout), lc = at<Layout>(c_layout),
               ld = at<Layout>(d_layout);
  const Problem problem{op, la, lb, lc, ld};
  if (const cublasStatus_t verdict = problem.verdict(); verdict != CUBLAS_STATUS_SUCCESS)
    return verdict;
  Algorithm chosen{};
  if (!algo) return CUBLAS_STATUS_NOT_SUPPORTED;  // it would ask its heuristic anew each time
  std::memcpy(&chosen, algo, sizeof chosen);
  const float alpha = *static_cast<const float*>(alpha_p),
              beta = *static_cast<const float*>(beta_p);
  if (chosen.mark != kMark || chosen.problem != problem.digest() ||
      workspace_bytes < chosen.workspace || !is_multiple(workspace, 256) ||
      (chosen.workspace > 0 && !is_device_memory(workspace)) || !is_multiple(a, chosen.align_a) ||
      !is_multiple(b, chosen.align_b) || !is_multiple(c, chosen.align_c) ||
      !is_multiple(d, chosen.align_d) || !is_multiple(op.bias, chosen.align_bias) ||
      !is_multiple(op.aux, chosen.align_aux))
    return CUBLAS_STATUS_INVALID_VALUE;
  for (const void* p : {a, b, c, static_cast<const void*>(d)})
    if (!is_device_memory(p)) return CUBLAS_STATUS_EXECUTION_FAILED;

  if (at<Handle>(handle).gpu != weft::emulation::current_gpu()) {
    weft::emulation::failed("a cuBLASLt handle of another GPU than the thread's current one",
                            cudaErrorInvalidResourceHandle);
    return CUBLAS_STATUS_EXECUTION_FAILED;
  }
  weft::emulation::Item item;
  item.name = "a product of matrices";
  touch(item.touches, a, la, false);
  touch(item.touches, b, lb, false);
  if (beta != 0) touch(item.touches, c, lc, false);
  touch(item.touches, d, ld, true);
  if (chosen.workspace > 0)
    item.touches.push_back({reinterpret_cast<std::uintptr_t>(workspace), chosen.workspace, true});
  if (takes_bias(op)) touch(item.touches, op.bias, ld.type, false, ld.rows, 1, ld.rows);
  if (has_aux(op))
    touch(item.touches, op.aux, ld.type, op.epilogue != CUBLASLT_EPILOGUE_DGELU, ld.rows,
          ld.columns, op.aux_ld);
  item.work = [=] {
    if (chosen.workspace > 0) std::memset(workspace, 0xFF, chosen.workspace);
    const Problem p{op, la, lb, lc, ld};
    const std::int64_t m = p.m(), n = p.n(), k = p.k();
    const std::vector<float> left = dense(a, la, op.transpose_a == CUBLAS_OP_T),
                             right = dense(b, lb, op.transpose_b == CUBLAS_OP_T);
    std::vector<float> product(static_cast<std::size_t>(m * n));
    const std::int64_t parts = std::min(parts_of(chosen), k);
    for (std::int64_t part = 0; part < parts; ++part) {
      const std::int64_t begin = k * part / parts, end = k * (part + 1) / parts;
      dnnl_sgemm('N', 'N', m, n, end - begin, 1.0f, left.data() + begin, k,
                 right.data() + begin * n, n, part == 0 ? 0.0f : 1.0f, product.data(), n);
    }
    for (std::int64_t column = 0; column < n; ++column)
      for (std::int64_t row = 0; row < m; ++row) {
        const float sum = alpha * product[static_cast<std::size_t>(row * n + column)];
        const float before = beta == 0 ? 0.0f : beta * widen(c, lc.type, place(row, column, lc.ld));
        narrow(d, ld.type, place(row, column, ld.ld),
               finish(op, ld.type, beta == 0 ? sum : sum + before, row,
                      place(row, column, op.aux_ld)));
      }
  };
  weft::emulation::enqueue(stream, std::move(item));
  return CUBLAS_STATUS_SUCCESS;
}

}  // extern "C"

// Linear layers on cuBLAS, which sees our row-major (rows, columns) as its column-major (columns,
// rows). Operands of another dtype than the multiplication's are converted into scratch first.
#include <cublas_v2.h>

#include <algorithm>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/column_sum.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"

#define CUBLAS_CHECK(call)                                                                      \
  do {                                                                                          \
    const cublasStatus_t result = (call);                                                       \
    CHECK(result == CUBLAS_STATUS_SUCCESS, "{}: {} ({})", #call, cublasGetStatusString(result), \
          static_cast<int>(result));                                                            \
  } while (false)

namespace weft::cuda {

decltype(::weft::convert) convert;  // elementwise.cu

// Where a thread works on a matrix: a run of columns of a group of rows. Blocks of columns lie side
// by side in x, since a grid's y is short.
struct RowGroup {
  std::int64_t group, column;
};
__device__ __forceinline__ RowGroup row_group(int run, int column_blocks) {
  const int block = static_cast<int>(blockIdx.x);
  return {block / column_blocks,
          (static_cast<std::int64_t>(block % column_blocks) * blockDim.x + threadIdx.x) * run};
}

constexpr std::int64_t kBiasRows = 8;  // that one thread adds a bias to

// y (N, O) = sum + bias, rounded once; y may be sum. kN columns a thread; O is a multiple of kN.
template <class T, int kN>
__global__ void add_bias_kernel(T* y, const float* sum, const float* bias, std::int64_t N,
                                std::int64_t O, int column_blocks) {
  const auto [group, o] = row_group(kN, column_blocks);
  if (o >= O) return;
  float b[kN];
  load(b, bias + o);
  const std::int64_t end = (group + 1) * kBiasRows < N ? (group + 1) * kBiasRows : N;
#pragma unroll 4
  for (std::int64_t n = group * kBiasRows; n < end; ++n) {
    float row[kN];
    load(row, sum + n * O + o);
#pragma unroll
    for (int i = 0; i < kN; ++i) row[i] += b[i];
    store(y + n * O + o, row);
  }
}

constexpr std::int64_t kGroupRows = 64;  // whose column sums one thread takes

// partial (ceil(N / kGroupRows), O) = column sums of groups of rows of x (N, O), kN columns a
// thread.
template <class T, int kN>
__global__ void row_group_sum_kernel(float* partial, const T* x, std::int64_t N, std::int64_t O,
                                     int column_blocks) {
  const auto [group, o] = row_group(kN, column_blocks);
  if (o >= O) return;
  const std::int64_t end = (group + 1) * kGroupRows < N ? (group + 1) * kGroupRows : N;
  float sum[kN] = {};
  for (std::int64_t n = group * kGroupRows; n < end; ++n) {
    float row[kN];
    load(row, x + n * O + o);
#pragma unroll
    for (int i = 0; i < kN; ++i) sum[i] += row[i];
  }
  store(partial + group * O + o, sum);
}

namespace {

struct Cublas {
  cublasHandle_t handle = nullptr;
  Cublas() {
    CUBLAS_CHECK(cublasCreate(&handle));
    CUBLAS_CHECK(cublasSetMathMode(handle, CUBLAS_MATH_DISALLOW_REDUCED_PRECISION_REDUCTION));
  }
  ~Cublas() { cublasDestroy(handle); }
  Cublas(const Cublas&) = delete;
  Cublas& operator=(const Cublas&) = delete;
};

cudaDataType type_of(DType dtype) { return dtype == DType::bf16 ? CUDA_R_16BF : CUDA_R_32F; }

// What a call needs beside its tensors, cut from one piece of scratch.
class Scratch {
 public:
  Scratch(Stream& stream, std::size_t bytes)
      : next_(static_cast<std::byte*>(stream.scratch(bytes))) {}
  static std::size_t padded(std::size_t bytes) { return (bytes + 255) / 256 * 256; }

  View take(DType dtype, const Dims& shape, Device device) {
    View v(next_, dtype, shape, device);
    next_ += padded(v.bytes());
    return v;
  }
  // x, or its copy in `dtype`.
  ConstView in(ConstView x, DType dtype, Stream& stream) {
    if (x.dtype() == dtype) return x;
    const View copy = take(dtype, x.shape(), x.device());
    cuda::convert(copy, x, stream);
    return copy;
  }

 private:
  std::byte* next_;
};

std::size_t room(DType dtype, std::int64_t elems) {
  return Scratch::padded(static_cast<std::size_t>(elems) * dtype_bytes(dtype));
}
// What Scratch::in takes.
std::size_t copy_room(ConstView x, DType dtype) {
  return x.dtype() == dtype ? 0 : room(dtype, x.elems());
}

DType multiplied_as(ConstView act, Precision precision) {
  return act.dtype() == DType::bf16 || precision == Precision::bf16 ? DType::bf16 : DType::f32;
}

// c (M, N) = op(a) op(b) + accumulate·c, all row-major; a is (M, K) or, transposed, (K, M); b is
// (K, N) or, transposed, (N, K).
struct Product {
  std::int64_t M, N, K;
  bool transpose_a = false, transpose_b = false, accumulate = false;
};

void multiply(View c, ConstView a, ConstView b, const Product& p, Stream& stream) {
  if (p.M == 0 || p.N == 0) return;
  auto& log = stream.attached<LaunchLog>();
  if (log.dry) return;
  const DeviceGuard current(stream.device());
  const cublasHandle_t handle = stream.attached<Cublas>().handle;
  CUBLAS_CHECK(cublasSetStream(handle, native(stream)));
  const float one = 1, beta = p.accumulate ? 1.0f : 0.0f;
  // cᵀ = op(b)ᵀ op(a)ᵀ in cuBLAS's columns.
  CUBLAS_CHECK(cublasGemmEx_64(handle, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                               p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, p.N, p.M, p.K, &one,
                               b.data(), type_of(b.dtype()), p.transpose_b ? p.K : p.N, a.data(),
                               type_of(a.dtype()), p.transpose_a ? p.M : p.K, &beta, c.data(),
                               type_of(c.dtype()), p.N, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

// Rows in blocks of kRows, the last one padded: every row goes through the same kernel whatever N
// is.
constexpr std::int64_t kRows = 16;

void multiply_fixed(View y, ConstView x, ConstView w, Scratch& scratch, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = w.dim(0), whole = N / kRows * kRows;
  const Product product = {.M = kRows, .N = O, .K = I, .transpose_b = true};
  for (std::int64_t n = 0; n < whole; n += kRows)
    multiply(y.rows(n, n + kRows), x.rows(n, n + kRows), w, product, stream);
  if (whole == N) return;
  const View x_block = scratch.take(x.dtype(), {kRows, I}, x.device()),
             y_block = scratch.take(y.dtype(), {kRows, O}, y.device());
  CUDA_CHECK(cudaMemsetAsync(x_block.data(), 0, x_block.bytes(), native(stream)));
  const auto copy = [&](View to, ConstView from) {
    CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice,
                               native(stream)));
  };
  copy(x_block.rows(0, N - whole), x.rows(whole, N));
  multiply(y_block, x_block, w, product, stream);
  copy(y.rows(whole, N), y_block.rows(0, N - whole));
}

void add_bias(View y, ConstView sum, ConstView bias, Stream& stream) {
  const auto [N, O] = y.dims<2>();
  const Work work = {.bytes = static_cast<double>(y.bytes() + sum.bytes() + bias.bytes()),
                     .flops = static_cast<double>(N * O)};
  for_act(y.dtype(), [&, n = N, o = O]<class T>(T) {
    for_pack<kRun<T>>(packs(o, y.data(), sum.data(), bias.data()), [&](auto pack) {
      const std::int64_t column_blocks = ceil_div(o, 128 * pack);
      launch(add_bias_kernel<T, pack>,
             {dim3(n_blocks(column_blocks * ceil_div(n, kBiasRows))), dim3(128)}, work, stream,
             pointer<T>(y), pointer<float>(sum), pointer<float>(bias), n, o, as_int(column_blocks));
    });
  });
}

// Rows whose sums wait in fp32 for their bias, where the result is narrower: 64 MiB of them, blocks
// of multiply_fixed.
std::int64_t rows_in_fp32(std::int64_t N, std::int64_t O) {
  return std::min(N, std::max<std::int64_t>(
                         (std::int64_t{16} << 20) / std::max<std::int64_t>(O, 1) / kRows, 1) *
                         kRows);
}

// dbias += the column sums of dy, through `partial` (groups, O).
void add_bias_gradient(View dbias, ConstView dy, float* partial, Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const std::int64_t groups = ceil_div(N, kGroupRows);
  const Work work = {
      .bytes = static_cast<double>(dy.bytes()) + 4.0 * static_cast<double>(groups * O),
      .flops = static_cast<double>(N * O)};
  for_act(dy.dtype(), [&, n = N, o = O]<class T>(T) {
    for_pack<kRun<T>>(packs(o, dy.data(), partial), [&](auto pack) {
      const std::int64_t column_blocks = ceil_div(o, 128 * pack);
      launch(row_group_sum_kernel<T, pack>, {dim3(n_blocks(column_blocks * groups)), dim3(128)},
             work, stream, partial, pointer<T>(dy), n, o, as_int(column_blocks));
    });
  });
  add_column_sums(pointer<float>(dbias), nullptr, partial, groups, O, stream);
}

}  // namespace

void linear(View y, ConstView x, ConstView w, ConstView bias, Precision precision, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = w.dim(0);
  const DType dtype = multiplied_as(x, precision);
  const bool fixed = precision == Precision::fp32_fixed && N > 0,
             apart = !bias.empty() && y.dtype() != DType::f32;  // sums wait for their bias
  const std::int64_t at_once = apart ? rows_in_fp32(N, O) : N;
  const DType sum_dtype = apart ? DType::f32 : y.dtype();
  Scratch scratch(stream, copy_room(x, dtype) + copy_room(w, dtype) +
                              (apart ? room(sum_dtype, at_once * O) : 0) +
                              (fixed ? room(dtype, kRows * I) + room(sum_dtype, kRows * O) : 0));
  const ConstView x_in = scratch.in(x, dtype, stream), w_in = scratch.in(w, dtype, stream);
  const View sums = apart ? scratch.take(sum_dtype, {at_once, O}, y.device()) : y;
  for (std::int64_t n = 0; n < N; n += at_once) {
    const std::int64_t end = std::min(N, n + at_once);
    const View sum = sums.rows(0, end - n);
    if (fixed)
      multiply_fixed(sum, x_in.rows(n, end), w_in, scratch, stream);
    else
      multiply(sum, x_in.rows(n, end), w_in, {.M = end - n, .N = O, .K = I, .transpose_b = true},
               stream);
    if (!bias.empty()) add_bias(y.rows(n, end), sum, bias, stream);
  }
}

void linear_backward_input(View dx, ConstView dy, ConstView w, Precision precision,
                           Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  Scratch scratch(stream, copy_room(dy, dtype) + copy_room(w, dtype));
  const ConstView dy_in = scratch.in(dy, dtype, stream), w_in = scratch.in(w, dtype, stream);
  multiply(dx, dy_in, w_in, {.M = N, .N = w.dim(1), .K = O}, stream);
}

void linear_backward_weight(View dw, View dbias, ConstView dy, ConstView x, Precision precision,
                            Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  const std::int64_t groups = ceil_div(N, kGroupRows);
  Scratch scratch(stream, copy_room(dy, dtype) + copy_room(x, dtype) +
                              (dbias.empty() ? 0 : room(DType::f32, groups * O)));
  if (!dbias.empty() && N > 0)
    add_bias_gradient(dbias, dy, pointer<float>(scratch.take(DType::f32, {groups, O}, dy.device())),
                      stream);
  const ConstView dy_in = scratch.in(dy, dtype, stream), x_in = scratch.in(x, dtype, stream);
  multiply(dw, dy_in, x_in,
           {.M = O, .N = x.dim(1), .K = N, .transpose_a = true, .accumulate = true}, stream);
}

}  // namespace weft::cuda

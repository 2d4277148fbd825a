// Linear layers on cuBLAS, which sees our row-major (rows, columns) as its column-major (columns,
// rows). Operands of another dtype than the multiplication's are converted into scratch first.
#include <cublas_v2.h>

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

// y (N, O) = bias in every row, kN elements a thread; O is a multiple of kN.
template <class T, int kN>
__global__ void broadcast_rows_kernel(T* y, const float* bias, std::int64_t N, std::int64_t O) {
  const std::int64_t i = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kN;
  if (i >= N * O) return;
  float b[kN];
  load(b, bias + i % O);
  store(y + i, b);
}

constexpr std::int64_t kGroupRows = 64;  // whose column sums one thread takes

// partial (ceil(N / kGroupRows), O) = column sums of groups of rows of x (N, O), kN columns a
// thread.
template <class T, int kN>
__global__ void row_group_sum_kernel(float* partial, const T* x, std::int64_t N, std::int64_t O) {
  const std::int64_t o = (static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x) * kN,
                     group = blockIdx.y;
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

std::size_t bytes_as(ConstView x) {
  return Scratch::padded(static_cast<std::size_t>(x.elems()) * 4);
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
  const cublasHandle_t handle = stream.attached<Cublas>().handle;
  CUBLAS_CHECK(cublasSetStream(handle, native(stream)));
  const float one = 1, beta = p.accumulate ? 1.0f : 0.0f;
  const auto n = [](std::int64_t x) { return static_cast<int>(x); };
  // cᵀ = op(b)ᵀ op(a)ᵀ in cuBLAS's columns.
  CUBLAS_CHECK(cublasGemmEx(handle, p.transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N,
                            p.transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N, n(p.N), n(p.M), n(p.K), &one,
                            b.data(), type_of(b.dtype()), n(p.transpose_b ? p.K : p.N), a.data(),
                            type_of(a.dtype()), n(p.transpose_a ? p.M : p.K), &beta, c.data(),
                            type_of(c.dtype()), n(p.N), CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
}

// Rows in blocks of kRows, the last one padded: every row goes through the same kernel whatever N
// is.
constexpr std::int64_t kRows = 16;

void multiply_fixed(View y, ConstView x, ConstView w, bool accumulate, Scratch& scratch,
                    Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = w.dim(0), whole = N / kRows * kRows;
  const Product product = {
      .M = kRows, .N = O, .K = I, .transpose_b = true, .accumulate = accumulate};
  for (std::int64_t n = 0; n < whole; n += kRows)
    multiply(y.rows(n, n + kRows), x.rows(n, n + kRows), w, product, stream);
  if (whole == N) return;
  const View x_block = scratch.take(x.dtype(), {kRows, I}, x.device()),
             y_block = scratch.take(y.dtype(), {kRows, O}, y.device());
  CUDA_CHECK(cudaMemsetAsync(x_block.data(), 0, x_block.bytes(), native(stream)));
  CUDA_CHECK(cudaMemsetAsync(y_block.data(), 0, y_block.bytes(), native(stream)));
  const auto copy = [&](View to, ConstView from) {
    CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice,
                               native(stream)));
  };
  copy(x_block.rows(0, N - whole), x.rows(whole, N));
  if (accumulate) copy(y_block.rows(0, N - whole), y.rows(whole, N));
  multiply(y_block, x_block, w, product, stream);
  copy(y.rows(whole, N), y_block.rows(0, N - whole));
}

void broadcast_rows(View y, ConstView bias, Stream& stream) {
  const auto [N, O] = y.dims<2>();
  const Work work = {.bytes = static_cast<double>(y.bytes() + bias.bytes())};
  for_act(y.dtype(), [&, n = N, o = O]<class T>(T) {
    for_pack<kRun<T>>(packs(o, y.data(), bias.data()), [&](auto pack) {
      const LaunchShape shape = {dim3(static_cast<unsigned>(ceil_div(n * o, 256 * pack))),
                                 dim3(256)};
      launch(broadcast_rows_kernel<T, pack>, shape, work, stream, pointer<T>(y),
             pointer<float>(bias), n, o);
    });
  });
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
      const LaunchShape shape = {
          dim3(static_cast<unsigned>(ceil_div(o, 128 * pack)), static_cast<unsigned>(groups)),
          dim3(128)};
      launch(row_group_sum_kernel<T, pack>, shape, work, stream, partial, pointer<T>(dy), n, o);
    });
  });
  add_column_sums(pointer<float>(dbias), nullptr, partial, groups, O, stream);
}

}  // namespace

void linear(View y, ConstView x, ConstView w, ConstView bias, Precision precision, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = w.dim(0);
  const DType dtype = multiplied_as(x, precision);
  Scratch scratch(stream, bytes_as(x) + bytes_as(w) +
                              Scratch::padded(static_cast<std::size_t>(kRows * I) * 4) +
                              Scratch::padded(static_cast<std::size_t>(kRows * O) * 4));
  const ConstView x_in = scratch.in(x, dtype, stream), w_in = scratch.in(w, dtype, stream);
  if (!bias.empty()) broadcast_rows(y, bias, stream);
  if (precision == Precision::fp32_fixed)
    return multiply_fixed(y, x_in, w_in, !bias.empty(), scratch, stream);
  multiply(y, x_in, w_in,
           {.M = N, .N = O, .K = I, .transpose_b = true, .accumulate = !bias.empty()}, stream);
}

void linear_backward_input(View dx, ConstView dy, ConstView w, Precision precision,
                           Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  Scratch scratch(stream, bytes_as(dy) + bytes_as(w));
  const ConstView dy_in = scratch.in(dy, dtype, stream), w_in = scratch.in(w, dtype, stream);
  multiply(dx, dy_in, w_in, {.M = N, .N = w.dim(1), .K = O}, stream);
}

void linear_backward_weight(View dw, View dbias, ConstView dy, ConstView x, Precision precision,
                            Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  const std::int64_t groups = ceil_div(N, kGroupRows);
  Scratch scratch(stream, bytes_as(dy) + bytes_as(x) +
                              Scratch::padded(static_cast<std::size_t>(groups * O) * 4));
  if (!dbias.empty() && N > 0)
    add_bias_gradient(dbias, dy, scratch.take(DType::f32, {groups, O}, dy.device()).as<float>(),
                      stream);
  const ConstView dy_in = scratch.in(dy, dtype, stream), x_in = scratch.in(x, dtype, stream);
  multiply(dw, dy_in, x_in,
           {.M = O, .N = x.dim(1), .K = N, .transpose_a = true, .accumulate = true}, stream);
}

}  // namespace weft::cuda

// Linear layers: products (product.h) with what cuBLASLt does not do itself before and behind them.
// Operands of another dtype than the multiplication's are converted into scratch first.
#include <algorithm>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/column_sum.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/product.h"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace weft::cuda {

decltype(::weft::convert) convert;        // elementwise.cu
decltype(::weft::activation) activation;  // activation.cu
decltype(::weft::activation_backward) activation_backward;

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

DType multiplied_as(DType act, Precision precision) {
  return act == DType::bf16 || precision == Precision::bf16 ? DType::bf16 : DType::f32;
}
DType multiplied_as(ConstView act, Precision precision) {
  return multiplied_as(act.dtype(), precision);
}

// Rows in blocks of kRows, the last one padded: every row goes through the same kernel whatever N
// is.
constexpr std::int64_t kRows = 16;

// Where a block of rows is multiplied that cannot be where it lies.
struct Blocks {
  View x, y;  // (kRows, I), (kRows, O)
};

// y = x wᵀ (+ bias, in the same pass); false: there is no such pass, and nothing has happened.
bool multiply_fixed(View y, ConstView x, ConstView w, ConstView bias, const Blocks& blocks,
                    Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = w.dim(0);
  const Product product = {.M = kRows,
                           .N = O,
                           .K = I,
                           .transpose_b = true,
                           .epilogue = bias.empty() ? Epilogue::none : Epilogue::bias,
                           .bias = bias};
  const auto copy = [&](View to, ConstView from) {
    CUDA_CHECK(cudaMemcpyAsync(to.data(), from.data(), from.bytes(), cudaMemcpyDeviceToDevice,
                               native(stream)));
  };
  // One algorithm is for addresses of one alignment.
  const bool in_place = aligned(x.data(), y.data());
  for (std::int64_t n = 0; n < N; n += kRows) {
    const std::int64_t end = std::min(N, n + kRows);
    if (in_place && end - n == kRows) {
      if (!try_multiply(y.rows(n, end), x.rows(n, end), w, product, stream)) return false;
      continue;
    }
    if (end - n < kRows)
      CUDA_CHECK(cudaMemsetAsync(blocks.x.data(), 0, blocks.x.bytes(), native(stream)));
    copy(blocks.x.rows(0, end - n), x.rows(n, end));
    if (!try_multiply(blocks.y, blocks.x, w, product, stream)) return false;
    copy(y.rows(n, end), blocks.y.rows(0, end - n));
  }
  return true;
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
void add_bias_gradient(const Gradient& dbias, ConstView dy, float* partial, Stream& stream) {
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
  add_column_sums(dbias, {}, partial, groups, O, stream);
}

}  // namespace

void linear(View y, ConstView x, ConstView w, ConstView bias, Precision precision, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const std::int64_t O = w.dim(0);
  const DType dtype = multiplied_as(x, precision);
  // cuBLASLt adds a bias of the result's dtype alone; ours are fp32. Sums of a narrower result wait
  // in fp32 for theirs.
  const bool fixed = precision == Precision::fp32_fixed && N > 0,
             apart = !bias.empty() && y.dtype() != DType::f32;
  const std::int64_t at_once = apart ? rows_in_fp32(N, O) : N;
  const DType sum_dtype = apart ? DType::f32 : y.dtype();
  Scratch scratch(
      stream,
      cuda_linear_scratch_bytes(
          {.N = N, .O = O, .I = I, .act = x.dtype(), .weight = w.dtype(), .precision = precision}));
  const ConstView x_in = scratch.in(x, dtype, stream), w_in = scratch.in(w, dtype, stream);
  const View sums = apart ? scratch.take(sum_dtype, {at_once, O}, y.device()) : y;
  Blocks blocks;
  if (fixed)
    blocks = {scratch.take(dtype, {kRows, I}, x.device()),
              scratch.take(sum_dtype, {kRows, O}, y.device())};
  const auto try_rows = [&](View to, ConstView from, ConstView with) {
    if (fixed) return multiply_fixed(to, from, w_in, with, blocks, stream);
    return try_multiply(to, from, w_in,
                        {.M = from.dim(0),
                         .N = O,
                         .K = I,
                         .transpose_b = true,
                         .epilogue = with.empty() ? Epilogue::none : Epilogue::bias,
                         .bias = with},
                        stream);
  };
  if (!bias.empty() && !apart && try_rows(y, x_in, bias)) return;
  for (std::int64_t n = 0; n < N; n += at_once) {
    const std::int64_t end = std::min(N, n + at_once);
    const View sum = sums.rows(0, end - n);
    CHECK(try_rows(sum, x_in.rows(n, end), ConstView()),
          "linear: cuBLASLt has no product of {} {} and {} to {} on this GPU", dtype_name(dtype),
          x.shape().str(), w.shape().str(), dtype_name(sum_dtype));
    if (!bias.empty()) add_bias(y.rows(n, end), sum, bias, stream);
  }
}

namespace {

// cuBLASLt does not say how well it approximates GELU: it may where products are of bf16 anyway.
bool takes_gelu(DType multiplied, Precision precision) {
  return multiplied == DType::bf16 && precision != Precision::fp32_fixed;
}

}  // namespace

void linear_gelu(View y, View pre, ConstView x, ConstView w, ConstView bias, Precision precision,
                 Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const DType dtype = multiplied_as(x, precision);
  if (takes_gelu(dtype, precision) && (bias.empty() || bias.dtype() == y.dtype())) {
    Scratch scratch(stream, copy_room(x, dtype) + copy_room(w, dtype));
    const ConstView x_in = scratch.in(x, dtype, stream), w_in = scratch.in(w, dtype, stream);
    if (try_multiply(y, x_in, w_in,
                     {.M = N,
                      .N = w.dim(0),
                      .K = I,
                      .transpose_b = true,
                      .epilogue = Epilogue::gelu,
                      .bias = bias,
                      .pre = pre},
                     stream))
      return;
  }
  cuda::linear(pre, x, w, bias, precision, stream);
  cuda::activation(y, pre, ConstView(), Activation::gelu_tanh, stream);
}

void linear_backward_input(View dx, ConstView dy, ConstView w, Precision precision,
                           Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  Scratch scratch(stream, copy_room(dy, dtype) + copy_room(w, dtype));
  const ConstView dy_in = scratch.in(dy, dtype, stream), w_in = scratch.in(w, dtype, stream);
  multiply(dx, dy_in, w_in, {.M = N, .N = w.dim(1), .K = O}, stream);
}

void linear_gelu_backward(View dpre, ConstView dy, ConstView w, ConstView pre, Precision precision,
                          Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  if (takes_gelu(dtype, precision)) {
    Scratch scratch(stream, copy_room(dy, dtype) + copy_room(w, dtype));
    const ConstView dy_in = scratch.in(dy, dtype, stream), w_in = scratch.in(w, dtype, stream);
    if (try_multiply(
            dpre, dy_in, w_in,
            {.M = N, .N = w.dim(1), .K = O, .epilogue = Epilogue::gelu_slope, .slope_at = pre},
            stream))
      return;
  }
  cuda::linear_backward_input(dpre, dy, w, precision, stream);
  cuda::activation_backward(dpre, View(), dpre, pre, ConstView(), Activation::gelu_tanh, stream);
}

// Where nothing is converted.
std::size_t linear_backward_scratch_bytes(std::int64_t N, std::int64_t O) {
  return room(DType::f32, ceil_div(N, kGroupRows) * O);
}

void linear_backward_weight(Gradient dw, Gradient dbias, ConstView dy, ConstView x,
                            Precision precision, Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const DType dtype = multiplied_as(dy, precision);
  const std::int64_t groups = ceil_div(N, kGroupRows);
  Scratch scratch(stream, copy_room(dy, dtype) + copy_room(x, dtype) +
                              (dbias.empty() ? 0 : linear_backward_scratch_bytes(N, O)));
  if (!dbias.empty())
    add_bias_gradient(dbias, dy, pointer<float>(scratch.take(DType::f32, {groups, O}, dy.device())),
                      stream);
  const ConstView dy_in = scratch.in(dy, dtype, stream), x_in = scratch.in(x, dtype, stream);
  multiply(dw.sum, dy_in, x_in,
           {.M = O, .N = x.dim(1), .K = N, .transpose_a = true, .accumulate = dw.accumulate},
           stream);
}

}  // namespace weft::cuda

namespace weft {

// As if there were a bias.
std::size_t cuda_linear_scratch_bytes(const LinearSizes& s) {
  const DType dtype = cuda::multiplied_as(s.act, s.precision);
  const auto copy = [&](DType from, std::int64_t elems) {
    return from == dtype ? 0 : cuda::room(dtype, elems);
  };
  std::size_t bytes = copy(s.act, s.N * s.I) + copy(s.weight, s.O * s.I);
  if (s.act != DType::f32) bytes += cuda::room(DType::f32, cuda::rows_in_fp32(s.N, s.O) * s.O);
  if (s.precision == Precision::fp32_fixed)
    bytes += cuda::room(dtype, cuda::kRows * s.I) + cuda::room(DType::f32, cuda::kRows * s.O);
  return bytes;
}

}  // namespace weft

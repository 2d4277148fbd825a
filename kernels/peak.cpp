#include "kernels/peak.h"

#include <chrono>

#include "kernels/scratch.h"

namespace weft {
namespace {

// Of the matrices: a GPU needs more of them to be busy.
std::int64_t side_of(Device device) { return device.type == DeviceType::cpu ? 1024 : 2048; }
// On a GPU what is multiplied in bf16 lies in bf16; the CPU's activations are fp32.
DType dtype_of(Precision precision, Device device) {
  const bool narrow = precision == Precision::bf16 && device.type == DeviceType::cuda;
  return narrow ? DType::bf16 : DType::f32;
}
std::size_t matrix_bytes(std::int64_t n, DType dtype) {
  return static_cast<std::size_t>(3 * n * n) * dtype_bytes(dtype);
}
constexpr std::int64_t kReadElems = 64ll << 20;  // 256 MiB, on the pages that weights lie on

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

std::string matmul_library(Device device) {
  return device.type == DeviceType::cuda ? "cuBLASLt" : matmul_library();
}

std::size_t MatmulProbe::plan_bytes(Precision precision, Device device) {
  if (device.type == DeviceType::cpu) return 0;
  const std::int64_t n = side_of(device);
  const DType dtype = dtype_of(precision, device);
  const LinearSizes product = {
      .N = n, .O = n, .I = n, .act = dtype, .weight = dtype, .precision = precision};
  return matrix_bytes(n, dtype) + linear_scratch_bytes(product, {device, 1});
}

MatmulProbe::MatmulProbe(Precision precision, Stream& stream)
    : precision_(precision), stream_(stream) {
  const std::int64_t n = side_of(stream.device());
  const DType dtype = dtype_of(precision, stream.device());
  arena_ = Arena("matmul benchmark", matrix_bytes(n, dtype), stream.device());
  for (View* x : {&a_, &b_, &c_}) *x = arena_.alloc(dtype, {n, n});
  fill(a_, 0.5, stream);
  fill(b_, 0.25, stream);
  sample();  // makes the primitive
}

double MatmulProbe::sample() {
  stream_.synchronize();
  const double seconds = seconds_of([&] {
    linear(c_, a_, b_, ConstView(), precision_, stream_);
    stream_.synchronize();
  });
  const auto n = static_cast<double>(a_.dim(0));
  return 2 * n * n * n / seconds;
}

std::size_t ReadProbe::plan_bytes() { return kReadElems * sizeof(float) + 64; }

ReadProbe::ReadProbe(Stream& stream)
    : stream_(stream), arena_("read benchmark", plan_bytes(), stream.device()) {
  const View x = arena_.alloc(DType::f32, {kReadElems});
  scale(x, 1.0f, stream);  // touches every page, by the thread that will read it
  values_ = x;
  total_ = arena_.alloc(DType::f64, {1});
}

double ReadProbe::sample() {
  const double seconds = seconds_of([&] {
    sum_of_squares(total_, std::span(&values_, 1), stream_);
    stream_.synchronize();
  });
  return static_cast<double>(values_.bytes()) / seconds;
}

double sustained_read_bytes_per_s(ConstView memory, double seconds, Stream& stream) {
  Arena arena("read benchmark", 64, stream.device());
  const View total = arena.alloc(DType::f64, {1});
  double spent = 0, bytes = 0;
  for (; spent < seconds; bytes += static_cast<double>(memory.bytes()))
    spent += seconds_of([&] {
      sum_of_squares(total, std::span(&memory, 1), stream);
      stream.synchronize();
    });
  return bytes / spent;
}

}  // namespace weft

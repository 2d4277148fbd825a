#include "kernels/peak.h"

#include <chrono>

namespace weft {
namespace {

// Of the matrices: a GPU needs more of them to be busy.
std::int64_t side_of(Device device) { return device.type == DeviceType::cpu ? 1024 : 2048; }
constexpr std::int64_t kReadElems = 64ll << 20;  // 256 MiB, on the pages that weights lie on

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

MatmulProbe::MatmulProbe(Precision precision, Stream& stream)
    : precision_(precision), stream_(stream) {
  const std::int64_t n = side_of(stream.device());
  arena_ = Arena("matmul benchmark", static_cast<std::size_t>(3 * n * n) * sizeof(float),
                 stream.device());
  for (View* x : {&a_, &b_, &c_}) *x = arena_.alloc(DType::f32, {n, n});
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

ReadProbe::ReadProbe(Stream& stream)
    : stream_(stream), arena_("read benchmark", kReadElems * sizeof(float) + 64, stream.device()) {
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

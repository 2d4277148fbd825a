#include "kernels/peak.h"

#include <chrono>

namespace weft {
namespace {

constexpr std::int64_t kSide = 1024;             // of the matrices
constexpr std::int64_t kReadElems = 64ll << 20;  // 256 MiB, on the pages that weights lie on

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

MatmulProbe::MatmulProbe(Precision precision, Stream& stream)
    : precision_(precision),
      stream_(stream),
      a_(kSide * kSide, 0.5f),
      b_(kSide * kSide, 0.25f),
      c_(kSide * kSide) {
  sample();  // makes the primitive
}

double MatmulProbe::sample() {
  const Dims shape = {kSide, kSide};
  const double seconds = seconds_of([&] {
    linear(View(c_.data(), shape), ConstView(a_.data(), shape), ConstView(b_.data(), shape),
           ConstView(), precision_, stream_);
  });
  return 2.0 * kSide * kSide * kSide / seconds;
}

ReadProbe::ReadProbe(Stream& stream)
    : stream_(stream), arena_("read benchmark", kReadElems * sizeof(float)) {
  const View x = arena_.alloc(DType::f32, {kReadElems});
  scale(x, 1.0f, stream);  // touches every page, by the thread that will read it
  values_ = x;
}

double ReadProbe::sample() {
  volatile double sink = 0;
  const double seconds =
      seconds_of([&] { sink = sum_of_squares(std::span(&values_, 1), stream_); });
  (void)sink;
  return static_cast<double>(values_.bytes()) / seconds;
}

double sustained_read_bytes_per_s(ConstView memory, double seconds, Stream& stream) {
  volatile double sink = 0;
  double spent = 0, bytes = 0;
  for (; spent < seconds; bytes += static_cast<double>(memory.bytes()))
    spent += seconds_of([&] { sink = sum_of_squares(std::span(&memory, 1), stream); });
  (void)sink;
  return bytes / spent;
}

}  // namespace weft

#include "kernels/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "core/arena.h"

namespace weft {
namespace {

double seconds_of(const auto& body) {
  const auto start = std::chrono::steady_clock::now();
  body();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double measured_matmul_flops(Precision precision, Stream& stream) {
  constexpr std::int64_t n = 1024;
  std::vector<float> a(n * n, 0.5f), b(n * n, 0.25f), c(n * n);
  const Dims shape = {n, n};
  double best = 1e30;
  for (int i = 0; i < 4; ++i)  // the first one makes the primitive
    best = std::min(best, seconds_of([&] {
                      linear(View(c.data(), shape), ConstView(a.data(), shape),
                             ConstView(b.data(), shape), ConstView(), precision, stream);
                    }));
  return 2.0 * n * n * n / best;
}

double measured_read_bytes_per_s(Stream& stream) {
  constexpr std::int64_t n = 64 << 20;  // 256 MiB, on the pages that weights lie on
  Arena arena("read benchmark", n * sizeof(float));
  const View x = arena.alloc(DType::f32, {n});
  const ConstView values = x;
  scale(x, 1.0f, stream);  // touches every page, by the thread that will read it
  double best = 1e30;
  volatile double sink = 0;
  for (int i = 0; i < 4; ++i)
    best =
        std::min(best, seconds_of([&] { sink = sum_of_squares(std::span(&values, 1), stream); }));
  (void)sink;
  return static_cast<double>(x.bytes()) / best;
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

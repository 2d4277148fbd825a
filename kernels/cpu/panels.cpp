#include "kernels/panels.h"

#include <omp.h>

#include <vector>

#include "core/check.h"
#include "kernels/cpu/parallel.h"

namespace weft {
namespace {

// Rows (n, I) of a matrix as a panel (I, n), where they lie; room for as many.
template <class W>
void turn(W* panel, std::int64_t n, std::int64_t I, W* rows) {
  constexpr std::int64_t kRun = 16;  // inputs of a cache line or two
  std::copy_n(panel, n * I, rows);
  for (std::int64_t i0 = 0; i0 < I; i0 += kRun)
    for (std::int64_t r = 0; r < n; ++r)
      for (std::int64_t i = i0; i < std::min(i0 + kRun, I); ++i) panel[i * n + r] = rows[r * I + i];
}

template <class W>
void turn_all(W* w, const MatrixDims& dims, Stream& stream) {
  const auto [O, I] = dims;
  std::vector<W> room(static_cast<std::size_t>(kPanel * I * stream.n_threads()));
  cpu::parallel_for(stream, O, kPanel, [&, O = O, I = I](std::int64_t begin, std::int64_t end) {
    turn(w + begin * I, end - begin, I, room.data() + omp_get_thread_num() * kPanel * I);
  });
}

}  // namespace

View to_panels(View w, Stream& stream) {
  if (stream.device().type != DeviceType::cpu) return w;
  const auto [O, I] = w.dims<2>();
  if (w.dtype() == DType::f32)
    turn_all(w.as<float>(), {O, I}, stream);
  else if (w.dtype() == DType::bf16)
    turn_all(w.as<BFloat16>(), {O, I}, stream);
  else if (w.dtype() == DType::f16)
    turn_all(w.as<Float16>(), {O, I}, stream);
  else
    throw Error("panels are of fp32, bf16 and fp16");
  return w.reshape({1, O, I});
}

}  // namespace weft

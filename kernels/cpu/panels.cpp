#include "kernels/panels.h"

#include <omp.h>

#include <algorithm>
#include <vector>

#include "kernels/cpu/gemm.h"
#include "kernels/cpu/parallel.h"

namespace weft {
namespace {

// Rows (kPanel, I) of a matrix as a panel (I, kPanel), where they lie; room for as many.
void turn(float* panel, std::int64_t I, float* rows) {
  constexpr std::int64_t kRun = 16;  // inputs of a cache line
  std::copy_n(panel, kPanel * I, rows);
  for (std::int64_t i0 = 0; i0 < I; i0 += kRun)
    for (std::int64_t r = 0; r < kPanel; ++r)
      for (std::int64_t i = i0; i < std::min(i0 + kRun, I); ++i)
        panel[i * kPanel + r] = rows[r * I + i];
}

}  // namespace

View to_panels(View w, Stream& stream) {
  if (stream.device().type != DeviceType::cpu || w.dtype() != DType::f32) return w;
  const auto [O, I] = w.dims<2>();
  if (!cpu::gemm_takes_panels(O, I, stream)) return w;
  const std::int64_t n = O / kPanel, elems = kPanel * I;
  auto* from = w.as<float>();
  std::vector<float> room(static_cast<std::size_t>(elems * stream.n_threads()));
  cpu::parallel_for(stream, n, 1, [&](std::int64_t p, std::int64_t) {
    turn(from + p * elems, I, room.data() + omp_get_thread_num() * elems);
  });
  return w.reshape({n, I, kPanel});
}

}  // namespace weft

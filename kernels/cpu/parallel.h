// Work shared among a stream's OpenMP team. Pieces are cut by size, never by the number of threads,
// so sums over pieces that are added up in order give the same bits on any team.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/ops.h"

namespace weft::cpu {

// body(begin, end) for each piece of `grain` of [0, n). The body must not throw.
template <class Body>
void parallel_for(const Stream& stream, std::int64_t n, std::int64_t grain, const Body& body) {
  const std::int64_t pieces = (n + grain - 1) / grain;
  if (stream.n_threads() == 1 || pieces <= 1) {
    for (std::int64_t i = 0; i < pieces; ++i) body(i * grain, std::min(n, (i + 1) * grain));
    return;
  }
  const int threads = stream.n_threads();
#pragma omp parallel for num_threads(threads) schedule(static)
  for (std::int64_t i = 0; i < pieces; ++i) body(i * grain, std::min(n, (i + 1) * grain));
}

// The same for pieces of unequal cost (causal attention): taken as threads become free.
template <class Body>
void parallel_tasks(const Stream& stream, std::int64_t n, const Body& body) {
  if (stream.n_threads() == 1 || n <= 1) {
    for (std::int64_t i = 0; i < n; ++i) body(i);
    return;
  }
  const int threads = stream.n_threads();
#pragma omp parallel for num_threads(threads) schedule(dynamic, 1)
  for (std::int64_t i = 0; i < n; ++i) body(i);
}

// Rows of width `width` a piece: about 16 KiB of fp32, so that a piece pays for its start.
inline std::int64_t row_grain(std::int64_t width) {
  return std::max<std::int64_t>(1, 4096 / std::max<std::int64_t>(width, 1));
}

// sums[c] = (sums[c], or 0) + Σ over pieces, in their order, of partial[piece · pitch + c], c < n
inline void join_pieces(const Gradient& sums, const float* partial, std::int64_t pieces,
                        std::int64_t pitch, std::int64_t n) {
  auto* out = sums.sum.as<float>();
  if (!sums.accumulate) std::fill(out, out + n, 0.0f);
  for (std::int64_t p = 0; p < pieces; ++p)
    for (std::int64_t c = 0; c < n; ++c) out[c] += partial[p * pitch + c];
}

}  // namespace weft::cpu

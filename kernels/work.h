// How much work an op is, for reports and predictions: FLOPs of matrix products, 2 a multiply-add.
// What a mask hides is no work, though a kernel may compute it to fill a tile.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/device.h"

namespace weft {

// Pairs of a query and a key of one head that the mask lets through: queries at positions [first,
// first + n_queries), keys at [0, n_keys); a query at p sees keys of [p - left, p + right], where a
// negative left or right is no bound. Forward takes 4 D FLOPs a pair (scores, weighted sum),
// backward 10 D (the scores again, and the gradients of probabilities, queries, keys and values).
inline double attention_pairs(std::int64_t first, std::int64_t n_queries, std::int64_t n_keys,
                              std::int64_t left, std::int64_t right) {
  const auto n = static_cast<double>(n_queries);
  if (left < 0 && right < 0) return n * static_cast<double>(n_keys);
  if (left < 0 && right == 0 && first + n_queries <= n_keys)  // causal: 1 + 2 + …
    return n * static_cast<double>(first) + n * (n + 1) / 2;
  double pairs = 0;
  for (std::int64_t p = first; p < first + n_queries; ++p) {
    const std::int64_t begin = left < 0 ? 0 : std::max<std::int64_t>(0, p - left),
                       end = right < 0 ? n_keys : std::min(n_keys, p + right + 1);
    pairs += static_cast<double>(std::max<std::int64_t>(0, end - begin));
  }
  return pairs;
}
constexpr double kForwardFlopsOfPair = 4, kBackwardFlopsOfPair = 10;

// FLOPs of the matrix products that the CPU's ops have done on a stream: what the formulas of
// model/sizes are held to.
struct MatmulCount {
  double flops = 0;
};
inline double matmul_flops_done(Stream& stream) { return stream.attached<MatmulCount>().flops; }
inline void count_matmul_flops(Stream& stream, double flops) {
  stream.attached<MatmulCount>().flops += flops;
}

}  // namespace weft

// What a head does, in three numbers.
#pragma once

#include "core/tensor.h"

namespace weft {

// Means over the queries of a map.
struct HeadStatistics {
  double entropy = 0;      // of a query's weights, in nats: 0 where one key has all, ln T at most
  double first_share = 0;  // weight on the first token
  double distance = 0;     // Σ_j w_ij |i - j|, in tokens
};

// map (T, T) fp32 in host memory: queries, keys. The same bits for any number of threads; NaN where
// the map holds one.
HeadStatistics head_statistics(ConstView map, int n_threads);

}  // namespace weft

// Exact search: the rows of a large matrix that lie nearest to some vectors, block by block.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "infer/search/neighbors.h"

namespace weft {

// Rows that are read as they are needed.
struct VectorSource {
  std::int64_t n = 0, C = 0;
  // rows: (m, C) fp32. One call at a time, from any thread of the stream.
  std::function<void(std::int64_t first_row, View rows)> read;
  std::string name;  // for errors
};

struct NearRow {
  std::int64_t row = 0;
  double score = 0;  // cosine, dot product, or distance
  friend bool operator==(const NearRow&, const NearRow&) = default;
};

// The top_k nearest rows of each query, nearest first (of equals the smaller row); all of them
// where there are no more. Scores are summed in double and do not depend on the ranks: the fp32
// products of a block only tell which rows cannot be among the nearest. Every rank scans its share
// of the rows; the result is on rank 0 of the world. Collective over it. On all ranks alike:
// UserError where a row is not finite, Interrupted where ctx.limit ends it.
std::vector<std::vector<NearRow>> nearest_rows(const Context& ctx, const VectorSource& rows,
                                               ConstView queries,  // (Q, C) fp32, finite
                                               Metric metric, std::int64_t top_k);

}  // namespace weft

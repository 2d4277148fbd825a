#include "inspect/attention_statistics.h"

#include <cmath>
#include <vector>

#include "core/parallel.h"

namespace weft {
namespace {

constexpr std::int64_t kRows = 64;  // of a piece: its sums are added up in order

void add_row(HeadStatistics& sum, const float* row, std::int64_t i, std::int64_t T) {
  double entropy = 0, distance = 0;
  for (std::int64_t j = 0; j < T; ++j) {
    const auto w = static_cast<double>(row[j]);
    if (w == 0) continue;
    entropy -= w * std::log(w);
    distance += w * static_cast<double>(std::abs(i - j));
  }
  sum.entropy += entropy;
  sum.first_share += static_cast<double>(row[0]);
  sum.distance += distance;
}

}  // namespace

HeadStatistics head_statistics(ConstView map, int n_threads) {
  const auto [T, T_keys] = map.dims<2>();
  CHECK(T >= 1 && T == T_keys, "a map is {}", map.shape().str());
  const auto* weights = map.as<float>();
  std::vector<HeadStatistics> pieces(static_cast<std::size_t>((T + kRows - 1) / kRows));
  parallel_blocks(T, kRows, n_threads, [&, T = T](std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i)
      add_row(pieces[static_cast<std::size_t>(begin / kRows)], weights + i * T, i, T);
  });
  HeadStatistics mean;
  for (const HeadStatistics& piece : pieces) {
    mean.entropy += piece.entropy;
    mean.first_share += piece.first_share;
    mean.distance += piece.distance;
  }
  const auto n = static_cast<double>(T);
  return {mean.entropy / n, mean.first_share / n, mean.distance / n};
}

}  // namespace weft

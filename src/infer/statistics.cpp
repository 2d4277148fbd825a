#include "infer/statistics.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace weft {
namespace {

constexpr double kLeast = 1e-6, kRatio = 1.01;
constexpr std::size_t kBuckets = 2533;  // up to a day

template <class... T>
void add_up(Communicator& world, Stream& stream, T&... values) {
  std::int64_t all[] = {values...};
  world.all_reduce(View(all, Dims{static_cast<std::int64_t>(sizeof...(T))}), ReduceOp::sum, stream);
  const std::int64_t* next = all;
  ((values = *next++), ...);
}

double share(std::int64_t part, std::int64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

}  // namespace

TimeHistogram::TimeHistogram() : counts_(kBuckets, 0) {}

void TimeHistogram::add(double seconds) {
  static const double scale = 1 / std::log(kRatio);
  const double place = std::log(std::max(seconds, kLeast) / kLeast) * scale;
  ++counts_[std::min(static_cast<std::size_t>(place), kBuckets - 1)];
}

std::int64_t TimeHistogram::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

double TimeHistogram::quantile(double q) const {
  const std::int64_t n = count();
  if (n == 0) return 0;
  // The smallest time that so many do not pass (the nearest-rank method).
  const auto rank =
      std::max<std::int64_t>(1, static_cast<std::int64_t>(std::ceil(q * static_cast<double>(n))));
  std::size_t bucket = 0;
  for (std::int64_t seen = counts_[0]; seen < rank; seen += counts_[++bucket]) {
  }
  return kLeast * std::pow(kRatio, static_cast<double>(bucket) + 0.5);  // its middle
}

void TimeHistogram::add_over_ranks(Communicator& world, Stream& stream) {
  world.all_reduce(View(counts_.data(), Dims{static_cast<std::int64_t>(counts_.size())}),
                   ReduceOp::sum, stream);
}

double EngineStatistics::occupancy() const { return share(counts.slots_used, counts.slots); }
double EngineStatistics::cache_use() const { return share(counts.cached, counts.cache_rows); }
double EngineStatistics::cache_shared() const {
  return share(counts.shared_rows, counts.cached + counts.shared_rows);
}

EngineStatistics over_replicas(const Grid& grid, EngineStatistics mine, Stream& stream) {
  if (grid.replica().rank() != 0) mine = {};
  GenerationCounts& c = mine.counts;
  add_up(grid.world(), stream, c.requests, c.prompt_tokens, c.new_tokens, c.passes, c.rows,
         c.slots_used, c.slots, c.cached, c.cache_rows, c.shared_rows, c.shared_tokens,
         c.preemptions, c.most_pages, c.streamed_bytes, c.graph_launches, c.graph_captures);
  mine.queue.add_over_ranks(grid.world(), stream);
  mine.first_token.add_over_ranks(grid.world(), stream);
  mine.inter_token.add_over_ranks(grid.world(), stream);
  return mine;
}

}  // namespace weft

#include "comm/grid_span.h"

namespace weft {

std::int64_t sent_bytes(const Grid& grid) {
  std::int64_t bytes = 0;
  for (int group = 0; group < kGridGroups; ++group)
    bytes += grid.group(static_cast<GridGroup>(group)).bytes();
  return bytes;
}

GridSpan over_ranks(Communicator& world, const RankSpan& mine, Stream& stream) {
  constexpr std::size_t kSeconds = kTimeShares, kSent = kTimeShares + 1, kFlags = kTimeShares + 2;
  std::array<double, kTimeShares + 3> sums{};  // in fp64 bytes are whole up to 2^53
  double total = 0;
  for (const double s : mine.seconds) total += s;
  for (std::size_t i = 0; i < kTimeShares; ++i) sums[i] = total > 0 ? mine.seconds[i] / total : 0;
  sums[kSeconds] = total;
  sums[kSent] = static_cast<double>(mine.sent_bytes);
  sums[kFlags] = mine.flag;
  world.all_reduce(View(sums.data(), Dims{static_cast<std::int64_t>(sums.size())}), ReduceOp::sum,
                   stream);
  GridSpan all;
  double share_sum = 0;
  for (std::size_t i = 0; i < kTimeShares; ++i) share_sum += sums[i];
  for (std::size_t i = 0; i < kTimeShares; ++i)
    all.shares[i] = share_sum > 0 ? sums[i] / share_sum : 0;
  all.seconds = sums[kSeconds] / world.size();
  all.sent_bytes = static_cast<std::int64_t>(sums[kSent]);
  all.flags = static_cast<int>(sums[kFlags]);
  return all;
}

}  // namespace weft

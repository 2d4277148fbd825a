// What all ranks of a run did in the same span of time: a training step, a job.
#pragma once

#include "comm/grid.h"
#include "core/clock.h"

namespace weft {

// Bytes that this rank has sent since the start in all groups of the grid. Over the n ranks of a
// group together: broadcast (n-1)*x; all_reduce 2*(n-1)*x along a ring, about n*log2(n)*x by
// doubling where x is small; reduce_scatter (n-1)*in; all_gather (n-1)*out; send x. Messages of our
// own are counted as they are sent, what MPI moves in its own way (broadcast, start_all_reduce) by
// these formulas; barriers and what stays on the rank count nothing.
std::int64_t sent_bytes(const Grid& grid);

// On one rank.
struct RankSpan {
  std::array<double, kTimeShares> seconds{};  // ShareClock::stop()
  std::int64_t sent_bytes = 0;                // to other ranks
  bool flag = false;                          // the caller's: whether this rank asks for something
};

// On all of them. Each rank's shares of its own time sum to 1, so their averages do too.
struct GridSpan {
  std::array<double, kTimeShares> shares{};
  double seconds = 0;           // the mean over the ranks
  std::int64_t sent_bytes = 0;  // by all ranks together
  int flags = 0;                // ranks whose flag was set
};

// Collective, one reduction; the same everywhere.
GridSpan over_ranks(Communicator& world, const RankSpan& mine, Stream& stream);

}  // namespace weft

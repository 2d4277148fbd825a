// What ranks did in a span of time, put together.
#include "comm/grid_span.h"

#include <gtest/gtest.h>

#include <numeric>

#include "mpi_main.h"

namespace weft {
namespace {

TEST(GridSpan, SharesAreAveragesOfEachRanksOwn) {
  auto world = test_mpi().world();
  const int rank = world->rank(), n = world->size();
  Stream stream;
  RankSpan mine;
  // Rank 0 computes all the time; the others take twice as long, half of it in comm.
  mine.seconds[static_cast<std::size_t>(TimeShare::forward)] = 1;
  mine.seconds[static_cast<std::size_t>(TimeShare::comm)] = rank == 0 ? 0 : 1;
  mine.sent_bytes = (std::int64_t{1} << 40) + rank;
  mine.flag = rank == n - 1;
  const GridSpan all = over_ranks(*world, mine, stream);
  EXPECT_NEAR(all.shares[static_cast<std::size_t>(TimeShare::comm)], 0.5 * (n - 1) / n, 1e-12);
  EXPECT_NEAR(std::accumulate(all.shares.begin(), all.shares.end(), 0.0), 1, 1e-12);
  EXPECT_NEAR(all.seconds, (1.0 + 2.0 * (n - 1)) / n, 1e-12);
  EXPECT_EQ(all.sent_bytes, n * (std::int64_t{1} << 40) + n * (n - 1) / 2);
  EXPECT_EQ(all.flags, 1);
}

TEST(GridSpan, OfNoTimeAtAll) {
  auto world = test_mpi().world();
  Stream stream;
  const GridSpan all = over_ranks(*world, {}, stream);
  EXPECT_EQ(all.seconds, 0);
  EXPECT_EQ(all.shares[0], 0);
}

// Every group of a grid counts, and nothing twice.
TEST(GridSpan, SentBytesAreThoseOfAllGroups) {
  const int n = test_mpi().world()->size();
  for (const GridShape& shape : {GridShape{n, 1, 1}, GridShape{1, n, 1}, GridShape{1, 1, n}}) {
    const Grid grid(test_mpi().world(), shape);
    Stream stream;
    const std::int64_t before = sent_bytes(grid);
    float x = 1;
    grid.world().broadcast(View(&x, Dims{1}), 0, stream);
    grid.tp().broadcast(View(&x, Dims{1}), 0, stream);
    grid.pp().broadcast(View(&x, Dims{1}), 0, stream);
    grid.dp().broadcast(View(&x, Dims{1}), 0, stream);
    grid.replica().broadcast(View(&x, Dims{1}), 0, stream);
    const std::int64_t sent = sent_bytes(grid) - before;
    const int groups = shape.dp == 1 ? 3 : 2;  // world, its own axis; a replica where it is all
    EXPECT_EQ(grid.world().all_reduce_value(sent, ReduceOp::sum, stream), 4 * groups * (n - 1));
  }
}

}  // namespace
}  // namespace weft

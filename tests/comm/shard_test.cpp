#include "comm/shard.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

TEST(SplitRange, CoversWithoutOverlapAndDiffersByOne) {
  for (std::int64_t n : {0, 1, 3, 7, 64, 1003})
    for (int parts = 1; parts <= 9; ++parts) {
      std::int64_t at = 0;
      for (int i = 0; i < parts; ++i) {
        const Range range = split_range(n, parts, i);
        EXPECT_EQ(range.begin, at);
        EXPECT_GE(range.size(), n / parts);
        EXPECT_LE(range.size(), n / parts + 1);
        at = range.end;
      }
      EXPECT_EQ(at, n);
    }
}

TEST(SplitHeads, EveryRankHasHeadsAndTheirKvHeads) {
  for (std::int64_t kv : {1, 2, 3, 5, 8})
    for (std::int64_t group : {1, 2, 3, 4})
      for (int tp = 1; tp <= kv * group; ++tp) {
        std::int64_t at = 0;
        for (int i = 0; i < tp; ++i) {
          const HeadShard shard = split_heads(kv * group, kv, tp, i);
          EXPECT_EQ(shard.q.begin, at);
          EXPECT_GE(shard.q.size(), 1);
          EXPECT_EQ(shard.q.size() % shard.kv.size(), 0);
          EXPECT_EQ(shard.kv.begin, shard.q.begin / group);
          EXPECT_EQ(shard.kv.end, (shard.q.end - 1) / group + 1);
          at = shard.q.end;
        }
        EXPECT_EQ(at, kv * group);
      }
  EXPECT_THROW(split_heads(4, 4, 5, 0), Error);  // model/grid_check tells the user before
}

// Reading a tensor by the runs of every slice gives each element its place.
TEST(Runs, RebuildTheSlice) {
  const Dims global = {4, 9, 5};
  for (int dim = -1; dim < 3; ++dim) {
    Slice slice{global, dim, {}};
    if (dim >= 0) slice.ranges = {{0, 1}, {2, 3}, {3, 4}};
    std::vector<std::int64_t> got(static_cast<std::size_t>(slice.local().elems()), -1), want;
    for (const weft::Run& run : runs(slice))
      for (std::int64_t i = 0; i < run.size; ++i)
        got[static_cast<std::size_t>(run.local_begin + i)] = run.global_begin + i;
    for (std::int64_t a = 0; a < 4; ++a)
      for (std::int64_t b = 0; b < 9; ++b)
        for (std::int64_t c = 0; c < 5; ++c) {
          const std::int64_t at[] = {a, b, c};
          if (dim >= 0 && (at[dim] == 1 || at[dim] > 3)) continue;
          want.push_back((a * 9 + b) * 5 + c);
        }
    EXPECT_EQ(got, want) << dim;
  }
}

TEST(RunsWithin, GiveThePlaceInTheMemoryOfTheHolder) {
  // 12 x 4: the holder has rows 0-4, 6-8 and 9-12; the part asks for rows 3-4, 6-7 and 9-11.
  const Slice held = {{12, 4}, 0, {{0, 4}, {6, 8}, {9, 12}}},
              part = {{12, 4}, 0, {{3, 4}, {6, 7}, {9, 11}}};
  std::vector<std::int64_t> found;
  for (const weft::Run& run : runs_within(part, held))
    found.insert(found.end(), {run.global_begin, run.local_begin, run.size});
  EXPECT_EQ(found, (std::vector<std::int64_t>{12, 12, 4, 24, 16, 4, 36, 24, 8}));
  EXPECT_THROW(runs_within({{12, 4}, 0, {{4, 5}}}, held), Error);
  EXPECT_TRUE(runs_within({{12, 4}, 0, {}}, held).empty());
}

// Pieces of local memory, which cut runs anywhere, hold every element once.
TEST(Shard, RunsAreCutIntoPieces) {
  const std::vector<weft::Run> list = {
      {100, 0, 7}, {200, 7, 1}, {300, 10, 12}};  // 8 and 9 are no run's
  for (const std::int64_t size : {1, 3, 5, 8, 22, 40}) {
    std::vector<std::int64_t> from(22, -1), expected(22, -1);  // by local place
    for (const weft::Run& r : list)
      for (std::int64_t i = 0; i < r.size; ++i)
        expected[static_cast<std::size_t>(r.local_begin + i)] = r.global_begin + i;
    for (std::int64_t begin = 0; begin < 22; begin += size)
      for (const weft::Run& r : clip(list, begin, size)) {
        EXPECT_GT(r.size, 0);
        EXPECT_LE(r.local_begin + r.size, size);
        for (std::int64_t i = 0; i < r.size; ++i)
          from[static_cast<std::size_t>(begin + r.local_begin + i)] = r.global_begin + i;
      }
    EXPECT_EQ(from, expected) << "pieces of " << size;
  }
}

}  // namespace
}  // namespace weft

#include "machine/gpu_choice.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <set>

#include "core/check.h"

namespace weft {
namespace {

using Ids = std::vector<std::int64_t>;

Machine shipped(const char* name) {
  return read_machine(std::filesystem::path(WEFT_SOURCE_DIR) / "launch" / name / "machine.toml");
}

// The ids that the ranks of a host take.
Ids taken(const Machine* machine, std::int64_t ranks, const Ids& visible, const Ids& map = {}) {
  Ids ids;
  for (std::int64_t r = 0; r < ranks; ++r)
    ids.push_back(
        visible[static_cast<std::size_t>(gpu_of_local_rank(machine, {r, ranks, visible, map}))]);
  return ids;
}

TEST(GpuChoice, FollowsFromTheMachine) {
  const Machine polaris = shipped("polaris"), sophia = shipped("sophia");
  EXPECT_EQ(taken(&polaris, 4, {0, 1, 2, 3}), (Ids{3, 2, 1, 0}));
  EXPECT_EQ(taken(&polaris, 8, {0, 1, 2, 3}), (Ids{3, 3, 2, 2, 1, 1, 0, 0}));
  EXPECT_EQ(taken(&polaris, 2, {0, 1, 2, 3}), (Ids{3, 1}));
  EXPECT_EQ(taken(&polaris, 2, {1, 3}), (Ids{3, 1}));
  const Ids all = taken(&sophia, 8, {0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(all, (Ids{2, 3, 0, 1, 6, 7, 4, 5}));
  EXPECT_EQ(std::set<std::int64_t>(all.begin(), all.end()).size(), 8u);
}

TEST(GpuChoice, NoMachineOrNoPlacesTakesThemInOrder) {
  EXPECT_EQ(taken(nullptr, 4, {0, 1, 2, 3}), (Ids{0, 1, 2, 3}));
  EXPECT_EQ(taken(nullptr, 2, {0, 1, 2, 3}), (Ids{0, 1}));
  EXPECT_EQ(taken(nullptr, 4, {0, 1}), (Ids{0, 0, 1, 1}));
  const Machine polaris = shipped("polaris");
  EXPECT_EQ(gpu_of_local_rank(&polaris, {1, 4, {-1, -1, -1, -1}, {}}), 1);
}

TEST(GpuChoice, OneVisibleGpuIsTakenAsItIsAndAMapWinsOverTheMachine) {
  const Machine polaris = shipped("polaris");
  EXPECT_EQ(gpu_of_local_rank(&polaris, {3, 4, {2}, {0, 1, 2, 3}}), 0);
  EXPECT_EQ(taken(&polaris, 4, {0, 1, 2, 3}, {0, 2, 1, 3}), (Ids{0, 2, 1, 3}));
  EXPECT_EQ(gpu_of_local_rank(&polaris, {0, 1, {1, 3}, {3}}), 1);
  EXPECT_THROW(taken(&polaris, 4, {0, 1, 2, 3}, {0, 1}), UserError);
  EXPECT_THROW(taken(&polaris, 2, {0, 1}, {0, 2}), UserError);
  EXPECT_THROW(gpu_of_local_rank(&polaris, {0, 1, {}, {}}), UserError);
}

TEST(GpuChoice, MapsAndVisibleDevicesAsText) {
  EXPECT_EQ(parse_gpu_map("3,2,1,0"), (Ids{3, 2, 1, 0}));
  EXPECT_EQ(parse_gpu_map("0, 0"), (Ids{0, 0}));
  EXPECT_EQ(parse_gpu_map(""), Ids{});
  for (const char* text : {"3,2,", "a", "-1", "1;2", "1024", "0x1", ",", "3 2"})
    EXPECT_THROW(parse_gpu_map(text), UserError) << text;
  EXPECT_EQ(visible_gpus(nullptr, 3), (Ids{0, 1, 2}));
  EXPECT_EQ(visible_gpus("2", 4), Ids{2});
  EXPECT_EQ(visible_gpus("3, 1", 4), (Ids{3, 1}));
  EXPECT_EQ(visible_gpus("", 4), Ids{});
  EXPECT_EQ(visible_gpus("0,-1,2", 4), Ids{0});
  EXPECT_EQ(visible_gpus("GPU-8932f937,MIG-1", 4), (Ids{-1, -1}));
}

}  // namespace
}  // namespace weft

// A run's shares of the peak: the same on every rank, never above 1, and by two counts.
#include "train/speed.h"

#include <thread>

#include "tests/train/trial.h"

namespace weft::test {
namespace {

TEST(Speed, SharesAreOfABestSampleThatAFasterStepRaises) {
  const ModelConfig config = small_config();
  const Grid grid(test_mpi().world(), {1, 1, test_mpi().world()->size()});
  Stream stream;
  const Context ctx = {.grid = grid,
                       .stream = stream,
                       .precision = Precision::fp32,
                       .clock = nullptr,
                       .observer = {}};
  Speed speed(ctx, config, 12, Recompute::none);
  const double first = speed.peak_flops();
  EXPECT_GT(first, 0);
  EXPECT_EQ(grid.world().all_reduce_value(first, ReduceOp::max, stream), first);  // on every rank
  const double executed = training_flops(config, {.n = 4, .rows = 12}, Recompute::none);
  const double seconds = 2 * executed / first;
  const SpeedShares half = speed.shares(4, 48, seconds);
  EXPECT_DOUBLE_EQ(half.peak_share, 0.5);
  EXPECT_DOUBLE_EQ(half.mfu, 48 * customary_flops_per_token(config, 12) / seconds / first);
  const SpeedShares padded = speed.shares(4, 24, seconds);  // half of the rows are padding
  EXPECT_DOUBLE_EQ(padded.peak_share, half.peak_share);     // which a causal model works on
  EXPECT_DOUBLE_EQ(padded.mfu, half.mfu / 2);               // for nothing

  EXPECT_EQ(speed.shares(4, 48, seconds / 20).peak_share, 1);
  EXPECT_DOUBLE_EQ(speed.peak_flops(), 10 * first);
  EXPECT_DOUBLE_EQ(speed.shares(4, 48, seconds).peak_share, 0.05);
}

TEST(Speed, SamplesTakeAHundredthOfTheTime) {
  const ModelConfig config = small_config();
  const Grid grid(make_self_communicator(), {});
  Stream stream;
  const Context ctx = {.grid = grid,
                       .stream = stream,
                       .precision = Precision::fp32,
                       .clock = nullptr,
                       .observer = {}};
  const auto start = std::chrono::steady_clock::now();
  Speed speed(ctx, config, 12, Recompute::none);
  const auto seconds_since = [](std::chrono::steady_clock::time_point then) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - then).count();
  };
  EXPECT_FALSE(speed.due());                       // a sample has just been taken
  const double most = 100 * seconds_since(start);  // that 100 samples can have taken
  const auto waited = std::chrono::steady_clock::now();
  while (!speed.due() && seconds_since(waited) < most)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_TRUE(speed.due());
  speed.sample();
  EXPECT_FALSE(speed.due());
}

}  // namespace
}  // namespace weft::test

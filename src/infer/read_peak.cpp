#include "infer/read_peak.h"

#include <chrono>

namespace weft {
namespace {

constexpr int kFirstSamples = 4;
constexpr double kMostOfTheTime = 0.01;  // that samples may take

}  // namespace

ReadPeak::ReadPeak(const Grid& grid, Stream& stream)
    : grid_(grid), stream_(stream), probe_(stream) {
  for (int i = 0; i < kFirstSamples; ++i) sample();
}

void ReadPeak::sample() {
  Communicator& world = grid_.world();
  world.barrier();  // ranks that share a memory read it at the same time
  const auto start = std::chrono::steady_clock::now();
  best_.sample(world.all_reduce_value(probe_.sample(), ReduceOp::sum, stream_));
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  cost_s_ = world.all_reduce_value(seconds, ReduceOp::max, stream_);
}

void ReadPeak::after_pass(double elapsed_s) {
  if (grid_.shape().dp > 1) return;
  if (elapsed_s < sampled_s_) sampled_s_ = 0;  // another run
  if ((elapsed_s - sampled_s_) * kMostOfTheTime < cost_s_) return;
  sample();
  sampled_s_ = elapsed_s;
}

}  // namespace weft

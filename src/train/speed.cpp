#include "train/speed.h"

namespace weft {
namespace {

constexpr int kFirstSamples = 4;
constexpr double kMostOfTheTime = 0.01;  // that samples may take

double seconds_since(std::chrono::steady_clock::time_point start) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

Speed::Speed(const Context& ctx, const ModelConfig& config, std::int64_t T, Recompute recompute)
    : ctx_(ctx), config_(config), T_(T), recompute_(recompute), probe_(ctx.precision, ctx.stream) {
  for (int i = 0; i < kFirstSamples; ++i) sample();
}

bool Speed::due() const { return seconds_since(sampled_) * kMostOfTheTime >= cost_s_; }

void Speed::sample() {
  Communicator& world = ctx_.grid.world();
  world.barrier();  // ranks that share cores measure at the same time
  const Clock::time_point start = Clock::now();
  peak_.sample(world.all_reduce_value(probe_.sample(), ReduceOp::sum, ctx_.stream));
  cost_s_ = seconds_since(start);
  sampled_ = Clock::now();
}

SpeedShares Speed::shares(std::int64_t sequences, std::int64_t tokens, double seconds) {
  const double executed = training_flops(
      config_, {.n = sequences, .rows = T_, .cached = 0, .tokens = tokens}, recompute_);
  SpeedShares s;
  s.peak_share = peak_.share(executed / seconds);
  s.mfu =
      customary_flops_per_token(config_, T_) * static_cast<double>(tokens) / seconds / peak_.rate();
  return s;
}

}  // namespace weft

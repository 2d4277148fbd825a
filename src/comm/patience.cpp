#include "comm/patience.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <thread>

namespace weft {
namespace {

// Measured on two ranks of two cores, alone and beside two busy processes (a training step of 20 ms
// alone: spinning inside MPI 80 to 300 ms beside them, offering the core alone 170, this 47 to 67).
// A collective between ranks that run takes less than the first two.
constexpr double kOffer_s = 200e-6;       // polling between offers of the core
constexpr double kPollCrowded_s = 30e-6;  // polling before sleep, where the core is wanted
constexpr double kTaken_s = 300e-6;       // an offer that took so long was taken
constexpr double kCrowded_s = 0.2;        // so long that is remembered
constexpr double kShortest_s = 30e-6, kLongest_s = 500e-6;  // of a sleep; the system adds 50 us

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace

void Patience::pause() {
  const double now_s = now();
  const bool crowded = now_s < crowded_until_s_;
  if (offer_at_s_ < 0) {
    begin_s_ = now_s;
    offer_at_s_ = now_s + (crowded ? kPollCrowded_s : kOffer_s);
  }
  if (now_s < offer_at_s_) return;
  if (crowded) {
    // Who slept is served first when it wakes, which a rank that spun or yielded is not.
    const double sleep_s = std::clamp((now_s - begin_s_) / 8, kShortest_s, kLongest_s);
    std::this_thread::sleep_for(std::chrono::duration<double>(sleep_s));
    return;
  }
  sched_yield();
  const double back_s = now();
  if (back_s - now_s > kTaken_s) crowded_until_s_ = back_s + kCrowded_s;
  offer_at_s_ = back_s + kOffer_s;
}

}  // namespace weft

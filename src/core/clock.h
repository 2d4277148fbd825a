// Where the time of a step goes: a clock with one running account.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <utility>

namespace weft {

// Where the time of a step goes. Every second of it is booked on exactly one.
enum class TimeShare : std::uint8_t { forward, backward, comm, optimizer, bubble, data, other };
constexpr int kTimeShares = 7;
constexpr std::array<const char*, kTimeShares> kTimeShareNames = {
    "forward", "backward", "comm", "optimizer", "bubble", "data", "other"};

// A clock with one running account: switching books the time since the last switch on the account
// that ran.
class ShareClock {
 public:
  void start();                            // zeroes the accounts; `other` runs
  TimeShare switch_to(TimeShare share);    // returns the one that ran
  std::array<double, kTimeShares> stop();  // seconds, summing to the time since start()

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point last_{};
  TimeShare running_ = TimeShare::other;
  std::array<double, kTimeShares> seconds_{};
};

// Books the enclosing scope on a share, and goes back to what ran before; a profiler of the GPU
// shows it by the share's name.
class TimeAs {
 public:
  TimeAs(ShareClock& clock, TimeShare share);
  ~TimeAs();
  TimeAs(const TimeAs&) = delete;
  TimeAs& operator=(const TimeAs&) = delete;

 private:
  ShareClock* clock_;
  TimeShare before_;
};

}  // namespace weft

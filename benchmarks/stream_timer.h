// How long a stream takes from one place to another: by its device's clock, or on the CPU, whose
// calls have run when they return, by the host's.
#pragma once

#include <chrono>
#include <memory>

#include "core/device.h"

namespace weft {

class StreamTimer {
 public:
  explicit StreamTimer(Device device = {});  // UserError where there is no such device
  void start(Stream& stream);                // of this timer's device
  void stop(Stream& stream);
  double seconds() const;  // between the last two; waits until the stream has come to the second

 private:
  using Clock = std::chrono::steady_clock;
  Device device_;
  std::shared_ptr<void> begin_, end_;  // cudaEvent_t; null on the CPU
  Clock::time_point began_{}, ended_{};
};

}  // namespace weft

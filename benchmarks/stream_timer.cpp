#include "benchmarks/stream_timer.h"

#include "core/check.h"
#include "core/gpu.h"

namespace weft {

StreamTimer::StreamTimer(Device device) : device_(device) {
  if (device.type != DeviceType::cuda) return;
  begin_ = gpu::make_event(device.index, true);
  end_ = gpu::make_event(device.index, true);
}

void StreamTimer::start(Stream& stream) {
  CHECK(stream.device() == device_, "a timer of another device than its stream's is started");
  if (begin_) gpu::record(begin_.get(), stream.native());
  began_ = Clock::now();
}

void StreamTimer::stop(Stream& stream) {
  CHECK(stream.device() == device_, "a timer of another device than its stream's is stopped");
  if (end_) gpu::record(end_.get(), stream.native());
  ended_ = Clock::now();
}

double StreamTimer::seconds() const {
  if (!end_) return std::chrono::duration<double>(ended_ - began_).count();
  gpu::synchronize_event(end_.get());
  return gpu::seconds_between(begin_.get(), end_.get());
}

}  // namespace weft

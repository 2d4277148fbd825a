#include "benchmarks/stream_timer.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "core/check.h"

namespace weft {
namespace {

TEST(StreamTimer, OfTheCpuIsTheHostsClock) {
  Stream stream;
  StreamTimer timer;
  timer.start(stream);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  timer.stop(stream);
  const double seconds = timer.seconds();
  EXPECT_GE(seconds, 3e-3);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));
  EXPECT_EQ(timer.seconds(), seconds);
  EXPECT_ANY_THROW(StreamTimer(Device{DeviceType::cuda, gpu_count()}));
}

TEST(StreamTimer, OfAGpuIsItsEvents) {
  if (gpu_count() == 0) GTEST_SKIP() << "no GPU, and none emulated";
  const Device gpu = {DeviceType::cuda, 0};
  Stream stream(gpu);
  constexpr std::size_t kBytes = 16 << 20;
  const auto from = allocate(gpu, kBytes), to = allocate(gpu, kBytes);
  StreamTimer nothing(gpu), much(gpu);
  nothing.start(stream);
  nothing.stop(stream);
  much.start(stream);
  for (int i = 0; i < 8; ++i) copy_bytes(to.get(), from.get(), kBytes, stream);
  much.stop(stream);
  std::this_thread::sleep_for(std::chrono::milliseconds(3));  // of the host's: not counted
  EXPECT_GE(nothing.seconds(), 0);
  EXPECT_GT(much.seconds(), nothing.seconds());
  Stream cpu;
  EXPECT_ANY_THROW(much.start(cpu));
}

}  // namespace
}  // namespace weft

// Streams and events of the CPU; tests/cuda_emulation/event_test.cpp has those of a GPU.
#include "core/device.h"

#include <gtest/gtest.h>

#include "core/check.h"

namespace weft {
namespace {

TEST(Event, OnTheCpuThereIsNothingToWaitFor) {
  Stream compute, comm;
  Event event;
  EXPECT_EQ(event.native(), nullptr);
  event.wait(comm);  // nothing is marked
  int from = 1, to = 0;
  copy_bytes(&to, &from, sizeof to, compute);
  event.record(compute);
  event.wait(comm);
  EXPECT_EQ(to, 1);
  from = 2;
  copy_bytes(&to, &from, sizeof to, comm);
  event.record(comm);  // the mark moves
  event.wait(compute);
  EXPECT_EQ(to, 2);
}

TEST(Event, OfADeviceThatIsNotThereIsTheUsersMistake) {
  EXPECT_THROW(Event(Device{DeviceType::cuda, gpu_count()}), UserError);
}

TEST(Stream, ScratchGrowsAndStays) {
  Stream stream;
  void* first = stream.scratch(100);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(first) % 64, 0u);
  EXPECT_EQ(stream.scratch_bytes(), 4096u);
  EXPECT_EQ(stream.scratch(4096), first);
  stream.scratch(4097);
  EXPECT_EQ(stream.scratch_bytes(), 8192u);
}

}  // namespace
}  // namespace weft

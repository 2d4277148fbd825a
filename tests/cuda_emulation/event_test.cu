// Two streams ordered by an event. Work runs as late as CUDA allows, so that a wait that is not
// there shows.
#include <gtest/gtest.h>

#include "core/device.h"

namespace weft {
namespace {

constexpr Device kGpu = {DeviceType::cuda, 0};

TEST(Event, OneStreamWaitsForWhatAnotherWasGiven) {
  Stream compute(kGpu), comm(kGpu);
  const auto a = allocate(kGpu, sizeof(int)), b = allocate(kGpu, sizeof(int));
  for (const int value : {1, 2}) {
    int got = 0;
    {
      Event event(kGpu);
      event.wait(comm);  // nothing is marked
      copy_bytes(a.get(), &value, sizeof value, compute);
      event.record(compute);
      event.wait(comm);
    }  // it may go before the stream has come there
    copy_bytes(b.get(), a.get(), sizeof value, comm);
    copy_bytes(&got, b.get(), sizeof got, comm);
    EXPECT_EQ(got, value);
  }
}

TEST(Event, TheHostWaitsWhereItsStreamDoes) {
  Stream compute(kGpu), host;
  const auto a = allocate(kGpu, sizeof(int));
  const int value = 3;
  Event event(kGpu);
  copy_bytes(a.get(), &value, sizeof value, compute);
  event.record(compute);
  event.wait(host);
  int got = 0;
  Stream other(kGpu);
  copy_bytes(&got, a.get(), sizeof got, other);
  EXPECT_EQ(got, value);
}

}  // namespace
}  // namespace weft

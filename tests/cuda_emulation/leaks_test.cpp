// A run under the emulation ends with leaks of its own reported, and those of the libraries around
// not (runtime.cpp).
#ifdef __SANITIZE_ADDRESS__
#include <gtest/gtest.h>

#include <cstdlib>

#include "core/device.h"

namespace weft {
namespace {

void* volatile kept = nullptr;

__attribute__((noinline)) void leak() {
  kept = std::malloc(1000);
  kept = nullptr;
}
// As the frame of a library's is called.
__attribute__((noinline)) void leak_of_vasprintf() {
  kept = std::malloc(1000);
  kept = nullptr;
}

void run(void (*leaks)()) {
  {
    Stream stream({DeviceType::cuda, 0});
    const auto memory = allocate(stream.device(), 1000);
    stream.scratch(1000);
  }
  leaks();
  std::exit(0);
}

TEST(LeaksDeathTest, OfOursAreReported) {
  EXPECT_EXIT(run(leak), testing::ExitedWithCode(1), "1000 byte");
}
TEST(LeaksDeathTest, OfLibrariesAreNot) {
  EXPECT_EXIT(run(leak_of_vasprintf), testing::ExitedWithCode(0), "");
  EXPECT_EXIT(run([] {}), testing::ExitedWithCode(0), "");
}

}  // namespace
}  // namespace weft
#endif

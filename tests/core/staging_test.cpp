// Staging and host copies on the CPU, where nothing is copied; tests/cuda_emulation/staging_test.cu
// has a GPU's.
#include "core/staging.h"

#include <gtest/gtest.h>

#include "core/host_copy.h"

namespace weft {
namespace {

TEST(Staging, OnTheCpuTheHostFillsTheTensorItself) {
  Arena measuring;
  Staging none;
  none.alloc(measuring, DType::i32, {3});
  Arena arena("staged", measuring.peak_bytes());
  Staging staging;
  const Staged ids = staging.alloc(arena, DType::i32, {3});
  EXPECT_EQ(ids.host.data(), ids.device.data());
  Stream stream;
  staging.wait();
  ids.host.as<std::int32_t>()[2] = 7;
  staging.upload(stream);
  EXPECT_EQ(ids.device.as<std::int32_t>()[2], 7);
  EXPECT_EQ(ids.rows(2, 3).host.as<std::int32_t>()[0], 7);
  staging.clear();
  EXPECT_TRUE(Staged().empty());
}

TEST(HostCopy, OnTheCpuIsTheTensor) {
  float values[2] = {1, 2};
  const View x(values, Dims{2});
  Stream stream;
  HostCopy copy;
  EXPECT_EQ(copy.of(x, stream).data(), x.data());
  EXPECT_TRUE(copy.of(View(), stream).empty());
  HostWrite write(x);
  write.host().as<float>()[1] = 5;
  write.finish(stream);
  EXPECT_EQ(values[1], 5);
}

}  // namespace
}  // namespace weft

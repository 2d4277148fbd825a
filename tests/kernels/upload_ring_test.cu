// Tables that go up in a ring: each is there whole for what is enqueued behind it, though the
// emulation runs copies as late as it may.
#include "kernels/cuda/upload_ring.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

#include "core/arena.h"
#include "core/host_copy.h"

namespace weft::test {
namespace {

constexpr Device kGpu = {DeviceType::cuda, 0};

TEST(UploadRingOnAGpu, EveryTableArrivesHoweverOftenTheRingComesRound) {
  constexpr std::int64_t kTables = 300, kMost = 4000;
  Stream stream(kGpu);
  Arena arena("results", kTables * kMost * 4, kGpu);
  const View results = arena.alloc(DType::i32, {kTables, kMost});
  cuda::UploadRing ring;
  const auto elems = [](std::int64_t t) { return 1 + t * 37 % kMost; };
  for (std::int64_t t = 0; t < kTables; ++t) {
    std::vector<std::int32_t> table(static_cast<std::size_t>(elems(t)));
    std::iota(table.begin(), table.end(), static_cast<std::int32_t>(1000 * t));
    const void* up = ring.upload(table.data(), table.size() * 4, stream);
    copy_bytes(results.rows(t, t + 1).data(), up, table.size() * 4, stream);
  }
  EXPECT_LT(ring.capacity_bytes(), kTables * 2000 * 4u) << "the ring never came round";
  HostCopy copy;
  const std::int32_t* got = copy.of(results, stream).as<std::int32_t>();
  for (std::int64_t t = 0; t < kTables; ++t)
    for (std::int64_t i = 0; i < elems(t); ++i)
      ASSERT_EQ(got[t * kMost + i], 1000 * t + i) << "table " << t;
}

TEST(UploadRingOnAGpu, GrowsForALargeTable) {
  Stream stream(kGpu);
  cuda::UploadRing ring;
  const std::int32_t small = 5;
  ring.upload(&small, sizeof small, stream);
  const std::size_t before = ring.capacity_bytes();
  std::vector<std::int32_t> large(before);
  large.back() = 7;
  Arena arena("result", 64, kGpu);
  const View last = arena.alloc(DType::i32, {1});
  const auto* up =
      static_cast<const std::int32_t*>(ring.upload(large.data(), large.size() * 4, stream));
  copy_bytes(last.data(), up + large.size() - 1, 4, stream);
  EXPECT_GT(ring.capacity_bytes(), before);
  HostCopy copy;
  EXPECT_EQ(copy.of(last, stream).as<std::int32_t>()[0], 7);
}

}  // namespace
}  // namespace weft::test

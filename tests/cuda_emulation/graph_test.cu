// Graphs: what is captured runs at each launch, and what a GPU would not keep is refused.
#include "core/graph.h"

#include <gtest/gtest.h>

#include "core/arena.h"
#include "core/host_copy.h"
#include "core/staging.h"
#include "device_memory.h"
#include "faults.h"
#include "kernels/cuda/launch.cuh"

namespace weft::cuda {

__global__ void add_kernel(int* to, const int* x) { *to += *x; }

}  // namespace weft::cuda

namespace weft {
namespace {

using emulation::fault_of;
using emulation::Schedule;

constexpr Device kGpu = {DeviceType::cuda, 0};
constexpr cuda::LaunchShape kOneThread = {dim3(1), dim3(1), 0};

// A sum on the GPU, to which what the host staged is added.
struct Sum {
  Arena arena{"sum", 4096, kGpu};
  Staging staging;
  Staged x = staging.alloc(arena, DType::i32, {1});
  View total = arena.alloc(DType::i32, {1});
  Stream stream{kGpu}, copies{kGpu};
  Graph graph;

  void add(Stream& on) {
    cuda::launch(cuda::add_kernel, kOneThread, {}, on, static_cast<int*>(total.data()),
                 static_cast<const int*>(x.device.data()));
  }
  void put(std::int32_t value) { *x.host.as<std::int32_t>() = value; }
  void upload(Stream& on) { copy_bytes(x.device.data(), x.host.data(), x.host.bytes(), on); }
  void launch(std::int32_t value) {
    put(value);
    graph.launch(stream);
    stream.synchronize();
  }
  std::int32_t got() {
    HostCopy copy;
    return *copy.of(total, stream).as<std::int32_t>();
  }
};

class GraphOnAGpu : public testing::TestWithParam<Schedule> {};

TEST_P(GraphOnAGpu, RunsAtEachLaunchWithWhatIsStagedThen) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Sum s;
                       s.put(100);
                       s.graph.capture(s.stream, [&] {
                         s.upload(s.stream);
                         s.add(s.stream);
                       });
                       EXPECT_EQ(s.got(), 0);  // a capture runs nothing
                       for (const int value : {1, 2, 4}) s.launch(value);
                       EXPECT_EQ(s.got(), 7);
                       s.graph.launch(s.copies);  // on another stream than its own
                       s.copies.synchronize();
                       EXPECT_EQ(s.got(), 11);
                     }),
            "");
}

TEST_P(GraphOnAGpu, KeepsTheOrderOfTwoStreams) {
  const auto run = [](bool waits) {
    Sum s;
    Event began(kGpu), uploaded(kGpu);
    s.graph.capture(s.stream, [&] {
      began.record(s.stream);
      began.wait(s.copies);
      s.upload(s.copies);
      uploaded.record(s.copies);
      if (waits) uploaded.wait(s.stream);
      s.add(s.stream);
      if (!waits) uploaded.wait(s.stream);
    });
    for (const int value : {1, 2}) s.launch(value);
    EXPECT_EQ(s.got(), 3);
  };
  EXPECT_EQ(fault_of(GetParam(), [&] { run(true); }), "");
  EXPECT_EQ(fault_of(GetParam(), [&] { run(false); }),
            "add_kernel on stream 1 of GPU 0 reads 4 bytes that a copy on stream 1 of GPU 0 "
            "writes, and no event orders the two");
}

TEST_P(GraphOnAGpu, IsOrderedWithWhatIsAround) {
  const auto run = [](bool waits) {
    Sum s;
    s.graph.capture(s.stream, [&] { s.add(s.stream); });
    s.put(5);
    s.upload(s.copies);
    Event uploaded(kGpu);
    uploaded.record(s.copies);
    if (waits) uploaded.wait(s.stream);
    s.graph.launch(s.stream);
    const std::int32_t got = s.got();
    s.copies.synchronize();
    EXPECT_EQ(got, 5);
  };
  EXPECT_EQ(fault_of(GetParam(), [&] { run(true); }), "");
  EXPECT_NE(fault_of(GetParam(), [&] { run(false); }).find("no event orders the two"),
            std::string::npos);
}

TEST_P(GraphOnAGpu, RefillingWhatALaunchReadsIsCaught) {
  EXPECT_NE(fault_of(GetParam(),
                     [] {
                       Sum s;
                       s.graph.capture(s.stream, [&] { s.upload(s.stream); });
                       s.put(1);
                       s.graph.launch(s.stream);
                       s.put(2);  // without waiting for it
                       s.stream.synchronize();
                     })
                .find("the host writes pinned memory"),
            std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Schedules, GraphOnAGpu, testing::Values(Schedule::late, Schedule::eager));

// The fault of what is captured; a stream counts as 1.
template <class F>
std::string refusal(F work) {
  return fault_of(Schedule::late, [&] {
    Sum s;
    s.graph.capture(s.stream, [&] { work(s); });
  });
}

TEST(GraphCapture, RefusesAPageableUpload) {
  EXPECT_EQ(refusal([](Sum& s) {
              const std::vector<int> pageable(1);
              copy_bytes(s.total.data(), pageable.data(), sizeof(int), s.stream);
            }),
            "a copy on stream 1 of GPU 0 while it is captured for a graph: it comes from pageable "
            "host memory, which a launch would read again");
}

TEST(GraphCapture, RefusesToWait) {
  EXPECT_EQ(refusal([](Sum& s) { s.stream.synchronize(); }),
            "waiting for stream 1 of GPU 0 while it is captured for a graph");
  EXPECT_NE(refusal([](Sum& s) { s.copies.synchronize(); }), "");
  EXPECT_NE(refusal([](Sum& s) { s.got(); }), "");
}

TEST(GraphCapture, RefusesToAllocate) {
  EXPECT_EQ(refusal([](Sum&) { allocate(kGpu, 4); }),
            "cudaMalloc while stream 1 of GPU 0 is captured for a graph: it would not happen at a "
            "launch");
  EXPECT_NE(refusal([](Sum& s) { s.stream.scratch(4); }), "");
  EXPECT_NE(refusal([](Sum&) { allocate_host(kGpu, 4); }), "");
  EXPECT_NE(refusal([](Sum&) { allocate_zeroed(kGpu, 4, "test's bytes"); }), "");
}

TEST(GraphCapture, RefusesEventsAcrossItsEdge) {
  EXPECT_NE(refusal([](Sum& s) {
              Event began(kGpu);
              began.record(s.stream);
              began.wait(s.copies);
              s.upload(s.copies);  // and nobody waits for it
            }).find("does not wait for another stream"),
            std::string::npos);
  EXPECT_NE(fault_of(Schedule::late,
                     [] {
                       Sum s;
                       Event before(kGpu);
                       before.record(s.copies);
                       s.graph.capture(s.stream, [&] { before.wait(s.stream); });
                     })
                .find("an event from before the capture"),
            std::string::npos);
  EXPECT_NE(fault_of(Schedule::late,
                     [] {
                       Sum s;
                       Event within(kGpu);
                       s.graph.capture(s.stream, [&] { within.record(s.stream); });
                       within.wait(s.copies);
                     })
                .find("a capture that has ended"),
            std::string::npos);
}

TEST(GraphCapture, RefusesAStreamThatGoes) {
  EXPECT_NE(refusal([](Sum& s) {
              Stream short_lived(kGpu);
              Event began(kGpu);
              began.record(s.stream);
              began.wait(short_lived);
            }),
            "");
}

TEST(GraphCapture, EndsWithWhatFailsInIt) {
  Sum s;
  EXPECT_THROW(s.graph.capture(s.stream, [] { CHECK(false, "planted"); }), Error);
  EXPECT_TRUE(s.graph.empty());
  EXPECT_THROW(s.graph.launch(s.stream), Error);
  s.graph.capture(s.stream, [&] { s.upload(s.stream); });
  EXPECT_FALSE(s.graph.empty());
}

TEST(GraphLaunch, RefusesMemoryThatIsGone) {
  EXPECT_NE(fault_of(Schedule::late,
                     [] {
                       Sum s;
                       auto pinned = allocate_host(kGpu, 4);
                       s.graph.capture(s.stream, [&] {
                         copy_bytes(s.total.data(), pinned.get(), 4, s.stream);
                       });
                       pinned.reset();
                       s.graph.launch(s.stream);
                     })
                .find("after memory was freed that it touches: a copy"),
            std::string::npos);
}

// Adds to a sum, by a key.
struct CachedSum : Sum {
  GraphCache cache;
  void add_by(std::int64_t key, std::int32_t value) {
    put(value);
    upload(stream);
    cache.run({key}, stream, [&] { add(stream); });
    stream.synchronize();
  }
};

TEST(GraphCache, CapturesAKeyAtItsSecondTimeAndForgetsTheOldest) {
  CachedSum s;
  s.add_by(1, 1);
  EXPECT_EQ(s.cache.counts().captures, 0);
  s.add_by(1, 2);
  s.add_by(1, 4);
  EXPECT_EQ(s.cache.counts().captures, 1);
  EXPECT_EQ(s.cache.counts().launches, 2);
  for (int key = 2; key <= 16; ++key) s.add_by(key, 0);
  s.add_by(1, 8);
  EXPECT_EQ(s.cache.counts().launches, 3);
  for (int key = 17; key <= 32; ++key) s.add_by(key, 0);
  s.add_by(1, 16);  // as it is: forgotten
  EXPECT_EQ(s.cache.counts().launches, 3);
  s.add_by(1, 32);
  EXPECT_EQ(s.cache.counts().captures, 2);
  EXPECT_EQ(s.got(), 63);
}

TEST(GraphCache, ForgetsWhatWasCapturedWithOtherScratch) {
  CachedSum s;
  s.stream.scratch(4096);
  s.add_by(1, 1);
  s.add_by(1, 2);
  s.stream.scratch(1 << 20);
  s.add_by(1, 4);
  EXPECT_EQ(s.cache.counts().launches, 1);
  s.add_by(1, 8);
  EXPECT_EQ(s.cache.counts().captures, 2);
  EXPECT_EQ(s.got(), 15);
}

// What is captured holds memory of its GPU until it is forgotten; where none is left the work is
// given as it is.
TEST(GraphCache, GoesOnWithoutGraphsOnAFullGpu) {
  CachedSum s;
  s.add_by(1, 1);
  const std::int64_t before = gpu_free_bytes(kGpu);
  s.add_by(1, 2);
  const std::int64_t taken = before - gpu_free_bytes(kGpu);
  EXPECT_GT(taken, 0);
  EXPECT_LE(taken, static_cast<std::int64_t>(4 * Graph::kPieceBytes));
  s.add_by(2, 4);
  ASSERT_TRUE(emulation::charge(0, gpu_free_bytes(kGpu)));
  s.add_by(2, 8);
  s.add_by(2, 16);
  s.add_by(1, 32);  // kept from before
  emulation::charge(0, -(before - taken));
  EXPECT_EQ(s.got(), 63);
  EXPECT_EQ(s.cache.counts().captures, 1);
  EXPECT_EQ(s.cache.counts().launches, 2);
}

}  // namespace
}  // namespace weft

// Streams ordered by events; and that the emulation catches what no event orders, whenever the work
// runs, with both sides named.
#include <gtest/gtest.h>

#include "core/device.h"
#include "faults.h"
#include "kernels/cuda/launch.cuh"

namespace weft::cuda {

__global__ void write_kernel(int* to, int value) { *to = value; }
__global__ void read_kernel(int* to, const int* from) { *to = *from; }

struct Place {
  int* at;
};
__global__ void second_kernel(Place to) { to.at[1] = 2; }

}  // namespace weft::cuda

namespace weft {
namespace {

using emulation::fault_of;
using emulation::Schedule;

constexpr Device kGpu = {DeviceType::cuda, 0};
constexpr cuda::LaunchShape kOneThread = {dim3(1), dim3(1), 0};

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

TEST(Event, TimeBetweenThoseThatTakeNoneIsAFault) {
  Stream stream(kGpu);
  const auto native = static_cast<cudaStream_t>(stream.native());
  cudaEvent_t timed = nullptr, untimed = nullptr;
  cudaEventCreateWithFlags(&timed, cudaEventDefault);
  cudaEventCreateWithFlags(&untimed, cudaEventDisableTiming);
  cudaEventRecord(timed, native);
  cudaEventRecord(untimed, native);
  stream.synchronize();
  float ms = 0;
  EXPECT_EQ(cudaEventElapsedTime(&ms, timed, timed), cudaSuccess);
  EXPECT_NE(cudaEventElapsedTime(&ms, timed, untimed), cudaSuccess);
  emulation::forget_fault();
  cudaEventDestroy(timed);
  cudaEventDestroy(untimed);
}

// Two streams and memory that both use.
struct Pair {
  Stream first{kGpu}, second{kGpu};
  std::shared_ptr<void> memory = allocate(kGpu, 2 * sizeof(int)),
                        other = allocate(kGpu, 2 * sizeof(int));
  int* a = static_cast<int*>(memory.get());
  int* b = static_cast<int*>(other.get());

  void write(Stream& stream) { cuda::launch(cuda::write_kernel, kOneThread, {}, stream, a, 1); }
  void read(Stream& stream) { cuda::launch(cuda::read_kernel, kOneThread, {}, stream, b, a); }
  void copy(Stream& stream) { copy_bytes(b, a, sizeof(int), stream); }
  void finish() {
    second.synchronize();
    first.synchronize();
  }
};

class Ordered : public testing::TestWithParam<Schedule> {};

TEST_P(Ordered, AMissingEventIsCaught) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Pair p;
                       p.write(p.first);
                       p.copy(p.second);
                       p.finish();
                     }),
            GetParam() == Schedule::late
                ? "write_kernel on stream 1 of GPU 0 writes 4 bytes that a copy on stream 2 of GPU "
                  "0 reads, and no event orders the two"
                : "a copy on stream 2 of GPU 0 reads 4 bytes that write_kernel on stream 1 of GPU "
                  "0 writes, and no event orders the two");
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Pair p;
                       p.write(p.first);
                       Event event(kGpu);
                       event.record(p.first);
                       event.wait(p.second);
                       p.copy(p.second);
                       p.finish();
                     }),
            "");
}

TEST_P(Ordered, AnEventThatComesTooEarlyIsCaught) {
  EXPECT_NE(fault_of(GetParam(),
                     [] {
                       Pair p;
                       Event event(kGpu);
                       event.record(p.first);
                       p.write(p.first);
                       event.wait(p.second);
                       p.copy(p.second);
                       p.finish();
                     }),
            "");
}

TEST_P(Ordered, ABufferWrittenAgainTooEarlyIsCaught) {
  const auto run = [](bool waits) {
    Pair p;
    p.write(p.first);
    Event written(kGpu), copied(kGpu);
    written.record(p.first);
    written.wait(p.second);
    p.read(p.second);
    copied.record(p.second);
    if (waits) copied.wait(p.first);
    p.write(p.first);
    p.finish();
  };
  EXPECT_EQ(fault_of(GetParam(), [&] { run(true); }), "");
  EXPECT_NE(fault_of(GetParam(), [&] { run(false); }).find("read_kernel on stream 2 of GPU 0"),
            std::string::npos);
}

TEST_P(Ordered, TheHostsWaitsOrderToo) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Pair p;
                       p.write(p.first);
                       p.first.synchronize();
                       p.copy(p.second);
                       p.second.synchronize();
                     }),
            "");
}

TEST_P(Ordered, OtherBytesAndReadsNeedNoOrder) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Pair p;
                       p.write(p.first);
                       const int two = 2;
                       copy_bytes(p.a + 1, &two, sizeof two, p.second);
                       p.finish();
                       int one = 0, another = 0;
                       copy_bytes(&one, p.a, sizeof one, p.first);
                       copy_bytes(&another, p.a, sizeof another, p.second);
                       EXPECT_EQ(one, 1);
                       EXPECT_EQ(another, 1);
                     }),
            "");
}

#ifdef __SANITIZE_THREAD__  // what a kernel does is heard
TEST_P(Ordered, AKernelsBytesAreItsOwn) {
  const auto run = [](int at) {
    Pair p;
    cuda::launch(cuda::second_kernel, kOneThread, {}, p.first, cuda::Place{p.a});
    copy_bytes(p.b, p.a + at, sizeof(int), p.second);
    p.finish();
  };
  EXPECT_EQ(fault_of(GetParam(), [&] { run(0); }), "");
  EXPECT_NE(fault_of(GetParam(), [&] { run(1); }), "");
}
#endif

INSTANTIATE_TEST_SUITE_P(Schedules, Ordered, testing::Values(Schedule::late, Schedule::eager));

// What a program does that forgets to wait depends on the seed.
TEST(Event, SeedsDrawWhenWorkRuns) {
  int early = 0;
  for (std::uint64_t seed = 1; seed <= 32; ++seed) {
    emulation::set_schedule_seed(seed);
    Stream stream(kGpu);
    const auto from = allocate(kGpu, sizeof(int));
    int value = 3, got = 0;
    copy_bytes(from.get(), &value, sizeof value, stream);
    const auto native = static_cast<cudaStream_t>(stream.native());
    cudaMemcpyAsync(&got, from.get(), sizeof got, cudaMemcpyDefault, native);
    early += got == 3;
    stream.synchronize();
    EXPECT_EQ(got, 3);
  }
  emulation::set_schedule_seed(1);
  EXPECT_GT(early, 4);
  EXPECT_LT(early, 28);
}

TEST(Event, AFaultTellsItsSeed) {
  emulation::set_schedule_seed(41);
  Stream stream(kGpu);
  cudaStreamSynchronize(nullptr);
  EXPECT_NE(std::string(cudaGetErrorString(cudaPeekAtLastError())).find("WEFT_EMULATION_SEED=41"),
            std::string::npos);
  emulation::forget_fault();
  emulation::set_schedule_seed(1);
}

}  // namespace
}  // namespace weft

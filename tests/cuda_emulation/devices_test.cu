// Several GPUs: each with its own memory, whatever thread works on it.
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "core/arena.h"
#include "faults.h"
#include "kernels/cuda/launch.cuh"

namespace weft::cuda {

__global__ void count_kernel(int* to, int n) { *to = *to + n; }

}  // namespace weft::cuda

namespace weft {
namespace {

using emulation::fault_of;
using emulation::Schedule;

constexpr cuda::LaunchShape kOneThread = {dim3(1), dim3(1), 0};

TEST(Devices, AreEight) { EXPECT_EQ(gpu_count(), 8); }

TEST(Devices, OfTwoThreadsWorkAtOnce) {
  std::vector<std::unique_ptr<Stream>> streams;
  for (const int gpu : {2, 1})  // made by this thread, for others
    streams.push_back(std::make_unique<Stream>(Device{DeviceType::cuda, gpu}));
  std::vector<int> got(2);
  const auto work = [&](std::size_t i) {
    Stream& stream = *streams[i];
    Arena arena("counts", 64, stream.device());
    int* count = static_cast<int*>(arena.alloc(DType::i32, {1}).data());
    for (int n = 0; n < 10; ++n) cuda::launch(cuda::count_kernel, kOneThread, {}, stream, count, n);
    Event event(stream.device());
    event.record(stream);
    Stream other(stream.device());
    event.wait(other);
    copy_bytes(&got[i], count, sizeof(int), other);
    stream.scratch(100);
  };
  std::thread second(work, 1);
  work(0);
  second.join();
  EXPECT_EQ(got, (std::vector<int>{45, 45}));
}

TEST(Devices, TheCurrentOneIsAsBefore) {
  int gpu = -1;
  {
    const DeviceGuard third({DeviceType::cuda, 3});
    const DeviceGuard cpu({});
    const DeviceGuard again({DeviceType::cuda, 3});
    cudaGetDevice(&gpu);
    EXPECT_EQ(gpu, 3);
  }
  cudaGetDevice(&gpu);
  EXPECT_EQ(gpu, 0);
}

TEST(Devices, HaveTheirOwnMemory) {
  const Device first{DeviceType::cuda, 0}, second{DeviceType::cuda, 1};
  const std::int64_t before = gpu_free_bytes(first), there = gpu_free_bytes(second);
  const auto memory = allocate(second, 1 << 20);
  EXPECT_EQ(gpu_free_bytes(first), before);
  EXPECT_EQ(gpu_free_bytes(second), there - (1 << 20));
}

TEST(Devices, MemoryOfAnotherIsAFault) {
  for (const Schedule schedule : {Schedule::late, Schedule::eager}) {
    EXPECT_EQ(fault_of(schedule,
                       [] {
                         Stream stream({DeviceType::cuda, 0});
                         const auto there = allocate({DeviceType::cuda, 1}, 4);
                         cuda::launch(cuda::count_kernel, kOneThread, {}, stream,
                                      static_cast<int*>(there.get()), 1);
                         stream.synchronize();
                       }),
              "count_kernel on stream 1 of GPU 0 touches memory of GPU 1");
    EXPECT_EQ(fault_of(schedule,
                       [] {
                         Stream stream({DeviceType::cuda, 0});
                         const auto there = allocate({DeviceType::cuda, 1}, 4);
                         int value = 0;
                         copy_bytes(&value, there.get(), sizeof value, stream);
                       }),
              "a copy on stream 1 of GPU 0 touches memory of GPU 1");
  }
}

TEST(Devices, AKernelNeedsItsOwnToBeCurrent) {
  EXPECT_EQ(fault_of(Schedule::late,
                     [] {
                       Stream stream({DeviceType::cuda, 1});
                       const auto memory = allocate(stream.device(), 4);
                       cuda::start_kernel(cuda::count_kernel, kOneThread, cuda::native(stream),
                                          static_cast<int*>(memory.get()), 1);
                     }),
            "a kernel on stream 1 of GPU 1 while GPU 0 is the thread's current one");
}

}  // namespace
}  // namespace weft

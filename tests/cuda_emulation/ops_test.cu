// The CPU's ops on the emulated streams (WEFT_EMULATION_CHECK=runtime): what they touch is known,
// so that what no event orders is caught; and they can be captured, but for those that a GPU's
// kernels upload something for.
#ifdef WEFT_EMULATION_GUARDS_PAGES
#include <gtest/gtest.h>

#include "core/arena.h"
#include "core/graph.h"
#include "core/host_copy.h"
#include "faults.h"
#include "kernels/backends.h"

namespace weft {
namespace {

using emulation::fault_of;
using emulation::Schedule;

constexpr Device kGpu = {DeviceType::cuda, 0};

struct Tensors {
  Arena arena{"tensors", 4096, kGpu};
  View x = arena.alloc(DType::f32, {2, 4}), y = arena.alloc(DType::f32, {2, 4});
  Stream first{kGpu}, second{kGpu};
  const Backend& ops = cuda_backend();

  float got() {
    HostCopy copy;
    return copy.of(y, second).as<float>()[7];
  }
};

class Ops : public testing::TestWithParam<Schedule> {};

TEST_P(Ops, OfTwoStreamsNeedAnEvent) {
  const auto run = [](bool waits) {
    Tensors t;
    t.ops.fill(t.x, 3, t.first);
    Event filled(kGpu);
    filled.record(t.first);
    if (waits) filled.wait(t.second);
    t.ops.add(t.y, t.x, t.second);
    t.second.synchronize();
    t.first.synchronize();
    EXPECT_EQ(t.got(), 3);
  };
  EXPECT_EQ(fault_of(GetParam(), [&] { run(true); }), "");
  EXPECT_EQ(fault_of(GetParam(), [&] { run(false); }),
            GetParam() == Schedule::late
                ? "fill on stream 1 of GPU 0 writes 32 bytes that add on stream 2 of GPU 0 reads, "
                  "and no event orders the two"
                : "add on stream 2 of GPU 0 reads 32 bytes that fill on stream 1 of GPU 0 writes, "
                  "and no event orders the two");
}

TEST_P(Ops, OfOtherRowsDoNot) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Tensors t;
                       t.ops.fill(t.x.rows(0, 1), 3, t.first);
                       t.ops.fill(t.x.rows(1, 2), 4, t.second);
                       t.second.synchronize();
                       t.first.synchronize();
                     }),
            "");
}

TEST_P(Ops, AreCapturedAndLaunchedAgain) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Tensors t;
                       Graph graph;
                       graph.capture(t.second, [&] {
                         t.ops.fill(t.x, 2, t.second);
                         t.ops.add(t.y, t.x, t.second);
                       });
                       EXPECT_EQ(t.got(), 0);
                       for (int i = 0; i < 3; ++i) graph.launch(t.second);
                       EXPECT_EQ(t.got(), 6);
                     }),
            "");
}

TEST_P(Ops, ThatUploadTablesAreNotCaptured) {
  EXPECT_EQ(fault_of(GetParam(),
                     [] {
                       Tensors t;
                       Graph graph;
                       const AdamWTensor tensor = {t.x, t.y, t.y, t.y, {}, true};
                       graph.capture(t.first, [&] {
                         t.ops.adamw({&tensor, 1}, ConstView(), {}, t.first);
                       });
                     }),
            "adamw on stream 1 of GPU 0 while it is captured for a graph: its table is made by the "
            "host for each call");
  EXPECT_NE(
      fault_of(GetParam(),
               [] {
                 Tensors t;
                 Graph graph;
                 const ConstView x = t.x;
                 const View total(t.y.data(), DType::f64, {1}, t.y.device());
                 graph.capture(t.first, [&] { t.ops.sum_of_squares(total, {&x, 1}, t.first); });
               })
          .find("sum_of_squares on stream 1 of GPU 0 while it is captured"),
      std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Schedules, Ops, testing::Values(Schedule::late, Schedule::eager));

}  // namespace
}  // namespace weft
#endif

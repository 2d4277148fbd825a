// What ranks can do wrong with their devices' groups, each planted, and told by name: by the
// emulation where NCCL would go on silently, by the watch where it would wait for ever.
#ifdef WEFT_TEST_EMULATED_GPUS
#include <gtest/gtest.h>

#include <future>
#include <thread>

#include "comm/device_communicator.h"
#include "comm/nccl/nccl_group-inl.h"
#include "core/check.h"
#include "mpi_main.h"
#include "tests/cuda_emulation/runtime.h"

namespace weft {
namespace {

constexpr double kTimeout_s = 1.5;

class NcclFaults : public testing::Test {
 protected:
  void SetUp() override {
    if (test_mpi().size() != 2) GTEST_SKIP();
    memory_ = allocate(device_, 4096);
  }
  void TearDown() override {
    emulation::forget_fault();
    test_mpi().world()->barrier();
  }
  std::unique_ptr<Communicator> group(const char* name, Links links = Links::none) {
    return make_device_communicator(test_mpi().world(), device_, name, links, watch_);
  }
  View x(std::int64_t begin = 0) const {
    return View(static_cast<float*>(memory_.get()), Dims{1024}).rows(begin, begin + 256);
  }
  View on_device(std::int64_t begin = 0) const {
    return View(x(begin).data(), DType::f32, x(begin).shape(), device_);
  }
  // The emulation's sentence about what `calls` gives.
  std::string fault_of(const std::function<void()>& calls) {
    std::string text;
    try {
      calls();
      stream_.synchronize();
      other_stream_.synchronize();
    } catch (const Error& e) {
      text = e.what();
    }
    emulation::forget_fault();
    return text;
  }
  // The watch's, at the next call.
  std::string failure() {
    for (int i = 0; i < 200; ++i) {
      try {
        watch_->check();
      } catch (const Error& e) {
        return e.what();
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    }
    return "";
  }
  // Of a transfer of x() that is used before it has ended.
  void expect_used_early(const char* name,
                         const std::function<std::unique_ptr<Transfer>()>& start) {
    std::unique_ptr<Transfer> under_way;
    const std::string text = fault_of([&] {
      under_way = start();
      copy_bytes(x().data(), x(256).data(), 1024, stream_);
      for (int i = 0; i < 1000 && !under_way->test(); ++i)
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    });
    EXPECT_NE(text.find(std::string(name) + " on stream"), std::string::npos) << text;
    EXPECT_NE(text.find("no event orders the two"), std::string::npos) << text;
  }
  bool first() const { return test_mpi().rank() == 0; }

  Device device_{DeviceType::cuda, test_mpi().rank()};
  std::shared_ptr<CollectiveWatch> watch_ = std::make_shared<CollectiveWatch>(
      kTimeout_s, [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); }, 60);
  Stream stream_{device_}, other_stream_{device_};
  std::shared_ptr<void> memory_;
};

TEST_F(NcclFaults, OtherCallsOfOneGroup) {
  const auto whole = group("whole");
  const std::string text = fault_of([&] {
    if (first()) whole->all_reduce(on_device(), ReduceOp::sum, stream_);
    whole->broadcast(on_device(), 1, stream_);
    if (!first()) whole->all_reduce(on_device(), ReduceOp::sum, stream_);
  });
  EXPECT_NE(text.find(first() ? "rank 0 makes all_reduce of 1024 bytes"
                              : "rank 1 makes broadcast of 1024 bytes"),
            std::string::npos)
      << text;
}

TEST_F(NcclFaults, OtherSizes) {
  const auto whole = group("whole");
  const std::string text = fault_of(
      [&] { whole->all_reduce(on_device().rows(0, first() ? 256 : 255), ReduceOp::sum, stream_); });
  EXPECT_NE(text.find("1020 bytes"), std::string::npos) << text;
}

TEST_F(NcclFaults, CrosswiseOnTwoGroups) {
  const auto one = group("one"), two = group("two");
  Communicator &before = first() ? *one : *two, &after = first() ? *two : *one;
  before.all_reduce(on_device(), ReduceOp::sum, stream_);
  after.all_reduce(on_device(), ReduceOp::sum, stream_);
  stream_.synchronize();  // comes back, since the groups are aborted
  const std::string text = failure(), name = first() ? "the one group" : "the two group";
  EXPECT_EQ(text.find(name + " (rank"), 0U) << text;
  EXPECT_NE(text.find("all_reduce of 256 fp32 (its call 1) has not ended for"), std::string::npos)
      << text;
}

TEST_F(NcclFaults, ACollectiveOnTheWrongStream) {
  const auto whole = group("whole");
  const std::vector<float> ones(256, 1.0f);
  const std::string text = fault_of([&] {
    copy_bytes(x().data(), ones.data(), 1024, stream_);
    whole->all_reduce(on_device(), ReduceOp::sum, other_stream_);
  });
  EXPECT_NE(text.find("no event orders the two"), std::string::npos) << text;
}

TEST_F(NcclFaults, ABufferUsedBeforeItsSumIsThere) {
  const auto whole = group("whole");
  expect_used_early("all_reduce",
                    [&] { return whole->start_all_reduce(on_device(), ReduceOp::sum, stream_); });
}

TEST_F(NcclFaults, ABufferUsedBeforeItsBroadcastIsDone) {
  const auto whole = group("whole");
  expect_used_early("broadcast", [&] { return whole->start_broadcast(on_device(), 1, stream_); });
}

TEST_F(NcclFaults, ABufferUsedBeforeItsPartsAreSummed) {
  const auto whole = group("whole");
  expect_used_early("reduce_scatter", [&] {
    return whole->start_reduce_scatter(on_device(512).rows(0, 128), on_device(), ReduceOp::sum,
                                       stream_);
  });
}

TEST_F(NcclFaults, ABufferUsedBeforeItsPartsAreGathered) {
  const auto whole = group("whole");
  expect_used_early("all_gather", [&] {
    return whole->start_all_gather(on_device(), on_device(512).rows(0, 128), stream_);
  });
}

// Both send first, on one stream: as grouped calls they would meet.
TEST_F(NcclFaults, MessagesThatAreNotGrouped) {
  ncclUniqueId id = {};
  if (first()) id = NcclGroup::new_id();
  Stream host;
  test_mpi().world()->broadcast(View(static_cast<void*>(&id), DType::u8, {sizeof id}), 0, host);
  NcclGroup pair("the pair", id, test_mpi().rank(), 2, device_, watch_);
  const int other = 1 - test_mpi().rank();
  pair.give({"send", 256, DType::f32}, stream_, [&](ncclComm_t comm, cudaStream_t s) {
    NCCL_CHECK(nccl().ncclSend(x().data(), 256, ncclFloat32, other, comm, s));
  });
  pair.give({"recv", 256, DType::f32}, stream_, [&](ncclComm_t comm, cudaStream_t s) {
    NCCL_CHECK(nccl().ncclRecv(x(256).data(), 256, ncclFloat32, other, comm, s));
  });
  stream_.synchronize();
  const std::string text = failure();
  EXPECT_EQ(text.find("the pair: send of 256 fp32 (its call 1) has not ended for"), 0U) << text;
}

TEST_F(NcclFaults, ARankThatDoesNotCome) {
  const auto whole = group("whole");
  whole->all_reduce(on_device(), ReduceOp::sum, stream_);
  stream_.synchronize();
  std::string text;
  if (first()) {
    whole->all_reduce(on_device(), ReduceOp::max, stream_);
    stream_.synchronize();
    text = failure();
    EXPECT_EQ(text.find("the whole group (rank 0 of 2): all_reduce of 256 fp32 (its call 2)"), 0U)
        << text;
    EXPECT_THROW(whole->all_reduce(on_device(), ReduceOp::max, stream_), Error);
  }
  whole->barrier();  // by MPI
}

// By MPI, which has no limit of its own: nothing can take the call back, so that it ends the run.
TEST_F(NcclFaults, ARankThatDoesNotComeToTheHosts) {
  std::promise<std::string> ends;
  {
    CollectiveWatch watch(
        0.3, [&](const std::string& text) { ends.set_value(text); }, 60);
    const int group = watch.add({.name = "the world (rank 0 of 2)", .error = {}, .abort = {}});
    watch.add_host_call(group, {"barrier", 0, DType::u8}).reset();  // it came
    const auto late = watch.add_host_call(group, {"all_reduce", 3, DType::f64});
    auto text = ends.get_future();
    ASSERT_EQ(text.wait_for(std::chrono::seconds(20)), std::future_status::ready);
    EXPECT_EQ(text.get().find("the world (rank 0 of 2): all_reduce of 3 fp64 (its call 2) has not "
                              "ended for 0 s"),
              0U);
    EXPECT_THROW(watch.add_host_call(group, {"barrier", 0, DType::u8}), Error);
  }
}

TEST_F(NcclFaults, AGroupThatIsNotMade) {
  Stream host;
  if (first()) {
    const ncclUniqueId id = NcclGroup::new_id();
    try {
      NcclGroup alone("the pair", id, 0, 2, device_, watch_);
      FAIL();
    } catch (const Error& e) {
      EXPECT_EQ(std::string(e.what()).find("the pair: ncclCommInitRankConfig has not ended for"),
                0U)
          << e.what();
    }
  }
  test_mpi().world()->barrier();
}

TEST_F(NcclFaults, NoLink) {
  const auto whole = group("whole");
  EXPECT_THROW(whole->send(on_device(), 1 - test_mpi().rank(), 0, stream_), Error);
}

}  // namespace
}  // namespace weft
#endif

// `weft bench comm` on a world where a delay is planted: it must name the right rank or pair. The
// delay is a Communicator around the real one, so the product has no hook for it.
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "benchmarks/bench.h"
#include "benchmarks/comm_groups.h"
#include "core/check.h"
#include "tests/mpi_main.h"

namespace weft {
namespace {

// Messages between some ranks take five times as long as between others; everything else is the
// inner group's.
class DelayedCommunicator : public Communicator {
 public:
  using Delays = std::function<bool(int a, int b)>;
  DelayedCommunicator(std::unique_ptr<Communicator> inner, Delays delays, bool loses = false)
      : inner_(std::move(inner)), delays_(std::move(delays)), loses_(loses) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  std::string_view backend() const override { return inner_->backend(); }
  bool on_one_host() const override { return inner_->on_one_host(); }
  std::unique_ptr<Communicator> split(int color, int key) const override {
    return inner_->split(color, key);
  }
  void barrier() override { inner_->barrier(); }
  void broadcast(View x, int root, Stream& s) override { inner_->broadcast(x, root, s); }
  void all_reduce(View x, ReduceOp op, Stream& s) override {
    inner_->all_reduce(x, op, s);
    if (loses_ && rank() == 1 && x.dtype() == DType::f32) *static_cast<float*>(x.data()) -= 1;
  }
  void reduce_scatter(View out, ConstView in, ReduceOp op, Stream& s) override {
    inner_->reduce_scatter(out, in, op, s);
  }
  void all_gather(View out, ConstView in, Stream& s) override { inner_->all_gather(out, in, s); }
  void all_gather(View out, ConstView in, std::span<const std::int64_t> counts,
                  Stream& s) override {
    inner_->all_gather(out, in, counts, s);
  }
  // All messages take some time, so that this machine's noise is small beside it.
  void send(ConstView x, int to, int tag, Stream& s) override {
    const bool late = delays_(std::min(rank(), to), std::max(rank(), to));
    std::this_thread::sleep_for(std::chrono::milliseconds(late ? 16 : 3));
    inner_->send(x, to, tag, s);
  }
  void recv(View x, int from, int tag, Stream& s) override { inner_->recv(x, from, tag, s); }
  std::unique_ptr<Transfer> start_broadcast(View x, int root, Stream& s) override {
    return inner_->start_broadcast(x, root, s);
  }
  std::unique_ptr<Transfer> start_all_reduce(View x, ReduceOp op, Stream& s) override {
    return inner_->start_all_reduce(x, op, s);
  }
  std::unique_ptr<Transfer> start_reduce_scatter(View out, ConstView in, ReduceOp op,
                                                 Stream& s) override {
    return inner_->start_reduce_scatter(out, in, op, s);
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in, Stream& s) override {
    return inner_->start_all_gather(out, in, s);
  }
  std::unique_ptr<Transfer> start_all_gather(View out, ConstView in,
                                             std::span<const std::int64_t> counts,
                                             Stream& s) override {
    return inner_->start_all_gather(out, in, counts, s);
  }
  std::unique_ptr<Transfer> start_send(ConstView x, int to, int tag, Stream& s) override {
    return inner_->start_send(x, to, tag, s);
  }
  std::unique_ptr<Transfer> start_recv(View x, int from, int tag, Stream& s) override {
    return inner_->start_recv(x, from, tag, s);
  }

 private:
  std::unique_ptr<Communicator> inner_;
  Delays delays_;
  bool loses_;  // a sum's first element is wrong on rank 1
};

// What bench_comm reports on a world of all ranks.
std::vector<Measurement> bench(const DelayedCommunicator::Delays& delays, int ranks_on_host = 4,
                               bool loses = false) {
  BenchOptions options;
  options.repeats = 1;
  options.max_bytes = 512;
  auto world = std::make_unique<DelayedCommunicator>(test_mpi().world(), delays, loses);
  const int n = world->size();
  const Grid grid(std::move(world), {.tp = 1, .pp = 1, .dp = n});
  Stream stream({}, 1);
  Peaks peaks(grid, stream);
  std::vector<std::string> hosts;
  for (int r = 0; r < n; ++r) hosts.push_back("host" + std::to_string(r / ranks_on_host));
  std::vector<Measurement> all;
  const auto run = [&] {
    bench_comm({options, grid, stream, ModelConfig(), peaks, hosts, 1,
                [&](const Measurement& m) { all.push_back(m); }});
  };
  if (!loses) {
    run();
    return all;
  }
  try {
    run();
    ADD_FAILURE() << "a wrong sum was not told";
  } catch (const Error& e) {
    EXPECT_EQ(
        std::string(e.what()),
        fmt::format("weft bench comm: world of {}: all_reduce 8 B fp32 gave 1 wrong elements", n));
  }
  return all;
}

// Of what was named, by messages: [[2]] is rank 2, [[0, 1]] a pair. Matmuls of ranks that share
// cores with other programs are another matter.
std::set<std::vector<int>> named(const std::vector<Measurement>& all) {
  std::set<std::vector<int>> ranks;
  for (const Measurement& m : all)
    if (m.more.contains("slow_ranks") && m.more["in"] != "local matmul")
      ranks.insert(m.more["slow_ranks"].get<std::vector<int>>());
  return ranks;
}

// The factors of nccl-tests, of each group.
void expect_bus_bandwidths(const std::vector<Measurement>& all) {
  std::map<std::string, double> factors;
  for (const Measurement& m : all) {
    if (!m.more.contains("collective")) continue;
    const int n = m.more["ranks"];
    const double shared = (n - 1.0) / n,
                 algbw = m.more["bytes"].get<double>() / m.more["seconds"].get<double>() / 1e9;
    const std::string name = m.more["collective"];
    factors = {{"all_reduce", 2 * shared}, {"start_all_reduce and wait", 2 * shared},
               {"all_gather", shared},     {"reduce_scatter", shared},
               {"broadcast", 1},           {"send and recv", 1}};
    ASSERT_TRUE(factors.contains(name)) << name;
    EXPECT_NEAR(m.value / algbw, factors[name], 1e-9) << m.name;
    EXPECT_EQ(m.more["busbw"].get<double>(), m.value);
    EXPECT_EQ(m.more["wrong"], 0) << m.name;
  }
  EXPECT_FALSE(factors.empty());
}

// The groups that were measured and their sizes.
std::map<std::string, int> groups(const std::vector<Measurement>& all) {
  std::map<std::string, int> sizes;
  for (const Measurement& m : all)
    if (m.more.contains("group")) sizes[m.more["group"].get<std::string>()] = m.more["ranks"];
  return sizes;
}

// nccl-tests, doc/PERFORMANCE.md.
TEST(BenchComm, BusFactorsAreNcclTests) {
  for (const auto& [n, shared] : std::map<int, double>{{2, 0.5}, {4, 0.75}, {8, 0.875}}) {
    EXPECT_EQ(bus_factor("all_reduce", n), 2 * shared);
    EXPECT_EQ(bus_factor("start_all_reduce and wait", n), 2 * shared);
    EXPECT_EQ(bus_factor("all_gather", n), shared);
    EXPECT_EQ(bus_factor("reduce_scatter", n), shared);
    EXPECT_EQ(bus_factor("broadcast", n), 1);
    EXPECT_EQ(bus_factor("send and recv", n), 1);
  }
}

TEST(BenchComm, SizesGoFromSmallToLarge) {
  EXPECT_EQ(sizes_up_to(8), (std::vector<std::int64_t>{8}));
  EXPECT_EQ(sizes_up_to(1000), (std::vector<std::int64_t>{8, 64, 512, 1000}));
  EXPECT_EQ(sizes_up_to(1 << 30).back(), 1 << 30);
}

TEST(BenchComm, AWrongSumIsToldAndAllIsMeasured) {
  if (test_mpi().size() < 2) GTEST_SKIP() << "one rank has nobody to talk to";
  const auto all = bench([](int, int) { return false; }, 4, true);
  std::int64_t wrong = 0;
  for (const Measurement& m : all)
    if (m.more.contains("wrong") && m.more["wrong"] != 0) {
      ++wrong;
      EXPECT_EQ(m.more["collective"], "all_reduce");
      EXPECT_NE(m.note.find("WRONG: 1 elements"), std::string::npos);
    }
  EXPECT_EQ(wrong, 3);  // of 8, 64 and 512 bytes
}

TEST(BenchComm, NamesTheRankWhoseMessagesAreLate) {
  if (test_mpi().size() < 3) GTEST_SKIP() << "one pair has no like";
  const auto all = bench([](int a, int b) { return a == 2 || b == 2; });
  EXPECT_EQ(named(all), (std::set<std::vector<int>>{{2}}));
  bool said = false;
  for (const Measurement& m : all) said |= m.name.starts_with("SLOW rank 2 on host0: latency");
  EXPECT_TRUE(said);
}

TEST(BenchComm, NamesThePairWhoseMessagesAreLate) {
  if (test_mpi().size() < 3) GTEST_SKIP() << "one pair has no like";
  const auto all = bench([](int a, int b) { return a == 0 && b == 1; });
  EXPECT_EQ(named(all), (std::set<std::vector<int>>{{0, 1}}));
}

TEST(BenchComm, NamesNobodyWhereAllAreAlikeAndGivesNcclTestsBandwidths) {
  if (test_mpi().size() < 2) GTEST_SKIP() << "one rank has nobody to talk to";
  const auto all = bench([](int, int) { return false; }, 2);
  EXPECT_EQ(named(all), std::set<std::vector<int>>());
  expect_bus_bandwidths(all);
  std::map<std::string, int> expected = {{"world", test_mpi().size()}};
  if (test_mpi().size() > 2) expected.insert({{"node", 2}, {"across nodes", 2}});
  // What is printed: rank 2 of 3 is alone on its host.
  if (test_mpi().rank() == 0) {
    EXPECT_EQ(groups(all), expected);
  }
}

}  // namespace
}  // namespace weft

// One contract for every communicator, run on 1, 2, 3 and 4 ranks: the world, halves of it, `self`,
// and where there are GPUs (emulated ones) the world's devices.
#include "comm/communicator.h"

#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <numeric>
#include <vector>

#include "comm/device_communicator.h"
#include "comm/grid.h"
#include "comm/mpi_communicator.h"
#include "core/check.h"
#include "mpi_main.h"

namespace weft {
namespace {

std::unique_ptr<Communicator> world() { return test_mpi().world(); }

Device device_of(const std::string& kind) {
  const bool has_gpu = kind == "nccl" && gpu_count() > test_mpi().rank();
  return has_gpu ? Device{DeviceType::cuda, test_mpi().rank()} : Device{};
}

// Values where the communicator's calls take them: in place, or on the device, from where they come
// back at the end.
template <class T>
class Placed {
 public:
  Placed(std::vector<T>& x, Stream& stream) : x_(x), stream_(stream) {
    const Dims dims = {static_cast<std::int64_t>(x.size())};
    if (stream.device().type == DeviceType::cpu) {
      static T none{};
      view_ = View(x.empty() ? &none : x.data(), dims);
      return;
    }
    memory_ = allocate(stream.device(), std::max<std::size_t>(x.size(), 1) * sizeof(T));
    copy_bytes(memory_.get(), x.data(), x.size() * sizeof(T), stream);
    view_ = View(memory_.get(), DTypeOf<T>::value, dims, stream.device());
  }
  ~Placed() {
    if (!memory_) return;
    copy_bytes(x_.data(), memory_.get(), x_.size() * sizeof(T), stream_);
    stream_.synchronize();
  }
  Placed(const Placed&) = delete;
  Placed& operator=(const Placed&) = delete;
  operator View() const { return view_; }
  operator ConstView() const { return view_; }

 private:
  std::vector<T>& x_;
  Stream& stream_;
  std::shared_ptr<void> memory_;
  View view_;
};

class Contract : public testing::TestWithParam<const char*> {
 protected:
  Contract() : stream_(device_of(GetParam())) {}
  void SetUp() override {
    const std::string kind = GetParam();
    if (kind == "self")
      comm_ = make_self_communicator();
    else if (kind == "world")
      comm_ = world();
    else if (kind == "nccl") {
      if (gpu_count() < test_mpi().size()) GTEST_SKIP() << "a rank needs a GPU of its own";
      watch_ = std::make_shared<CollectiveWatch>(
          60, [](const std::string& text) { std::fprintf(stderr, "%s\n", text.c_str()); });
      comm_ = make_device_communicator(world(), stream_.device(), "whole", Links::ring, watch_);
    } else {
      auto all = world();
      comm_ = all->split(all->rank() % 2, -all->rank());  // odd and even ranks, in reverse order
    }
  }
  int rank() const { return comm_->rank(); }
  int size() const { return comm_->size(); }
  bool alone_on_device() const { return std::string(GetParam()) == "nccl" && size() == 1; }
  template <class T>
  Placed<T> on(std::vector<T>& x) {
    return {x, stream_};
  }
  std::shared_ptr<CollectiveWatch> watch_;
  Stream stream_;
  std::unique_ptr<Communicator> comm_;
};

const std::int64_t kSizes[] = {0, 1, 7, 1000, 100'003};

template <class T>
std::vector<T> values(std::int64_t n, int rank) {
  std::vector<T> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<T>(static_cast<std::int64_t>(i % 1000) + 7 * rank);
  return x;
}

template <class T>
void check_all_reduce(Communicator& comm, Stream& stream, bool non_blocking) {
  for (std::int64_t n : kSizes)
    for (ReduceOp op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min}) {
      std::vector<T> x = values<T>(n, comm.rank());
      if (non_blocking) {
        const Placed placed(x, stream);
        auto transfer = comm.start_all_reduce(placed, op, stream);
        while (!transfer->test()) {
        }
        transfer->wait();
      } else {
        comm.all_reduce(Placed(x, stream), op, stream);
      }
      for (std::size_t i = 0; i < x.size(); ++i) {
        const auto base = static_cast<std::int64_t>(i % 1000),
                   last = static_cast<std::int64_t>(comm.size()) - 1;
        const std::int64_t want = op == ReduceOp::sum
                                      ? (last + 1) * base + 7 * last * (last + 1) / 2
                                  : op == ReduceOp::max ? base + 7 * last
                                                        : base;
        ASSERT_EQ(x[i], static_cast<T>(want)) << i << " of " << n;
      }
    }
}

// A library that writes a file together with other ranks (HDF5) is given it.
TEST_P(Contract, RanksThatAreSeveralHaveMpisHandle) {
  const auto handle = mpi_comm_of(*comm_);
  ASSERT_TRUE(handle || size() == 1);
  if (!handle) return;
  int there = -1, all = 0;
  MPI_Comm_rank(*handle, &there);
  MPI_Comm_size(*handle, &all);
  EXPECT_EQ(there, rank());
  EXPECT_EQ(all, size());
}

TEST_P(Contract, AllReduce) {
  for (bool non_blocking : {false, true}) {
    check_all_reduce<float>(*comm_, stream_, non_blocking);
    check_all_reduce<double>(*comm_, stream_, non_blocking);
    check_all_reduce<std::int32_t>(*comm_, stream_, non_blocking);
    check_all_reduce<std::int64_t>(*comm_, stream_, non_blocking);
  }
}

// Values whose sum depends on its order, and one that is no number: whatever comes out, all ranks
// hold the same bits, so that they decide alike.
TEST_P(Contract, AllReduceGivesAllRanksTheSameBits) {
  for (const std::int64_t n : {3, 3000, 100'003})
    for (const ReduceOp op : {ReduceOp::sum, ReduceOp::max, ReduceOp::min}) {
      std::vector<float> x = values<float>(n, rank());
      for (std::size_t i = 0; i < x.size(); ++i)
        x[i] *= i % 2 == 0 ? 1e-7f * static_cast<float>(rank() + 1) : 0.1f;
      if (rank() == size() - 1) x[1] = std::numeric_limits<float>::quiet_NaN();
      comm_->all_reduce(on(x), op, stream_);
      std::vector<float> first = x;
      comm_->broadcast(on(first), 0, stream_);
      EXPECT_EQ(std::memcmp(x.data(), first.data(), x.size() * sizeof(float)), 0) << n;
    }
}

// More than is folded at once, in every part of a ring of up to four.
TEST_P(Contract, AllReduceOfManyBytes) {
  const std::int64_t n = 9'000'001;
  std::vector<float> x(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(static_cast<int>(i % 1013) + rank());
  comm_->all_reduce(on(x), ReduceOp::sum, stream_);
  const int others = size() * (size() - 1) / 2;
  for (std::size_t i = 0; i < x.size(); ++i)
    ASSERT_EQ(x[i], static_cast<float>(static_cast<int>(i % 1013) * size() + others)) << i;
}

TEST_P(Contract, Broadcast) {
  for (int root = 0; root < size(); ++root)
    for (std::int64_t n : kSizes) {
      std::vector<std::uint16_t> x = values<std::uint16_t>(n, rank()), y = x;
      comm_->broadcast(on(x), root, stream_);
      EXPECT_EQ(x, values<std::uint16_t>(n, root));
      {
        const Placed placed(y, stream_);
        comm_->start_broadcast(placed, root, stream_)->wait();
      }
      EXPECT_EQ(y, x);
    }
}

TEST_P(Contract, GatherAndScatter) {
  for (std::int64_t n : kSizes) {
    std::vector<float> mine = values<float>(n, rank()), all(static_cast<std::size_t>(n * size())),
                       back(mine.size()), later(all.size()), back_later(mine.size());
    comm_->all_gather(on(all), on(mine), stream_);
    for (int r = 0; r < size(); ++r)
      EXPECT_EQ(std::vector<float>(all.begin() + r * n, all.begin() + (r + 1) * n),
                values<float>(n, r));
    comm_->reduce_scatter(on(back), on(all), ReduceOp::sum, stream_);
    {
      const Placed in(mine, stream_), out(later, stream_), sum(back_later, stream_);
      comm_->start_all_gather(out, in, stream_)->wait();
      comm_->start_reduce_scatter(sum, out, ReduceOp::sum, stream_)->wait();
    }
    EXPECT_EQ(later, all);
    EXPECT_EQ(back_later, back);
    for (float& x : mine) x *= static_cast<float>(size());
    EXPECT_EQ(back, mine);
  }
}

// Every kind under way at once, a blocking one among them, and waited for the other way around.
TEST_P(Contract, ManyUnderWayAtOnce) {
  for (const std::int64_t n : kSizes) {
    const auto part = static_cast<std::size_t>(n), whole = part * static_cast<std::size_t>(size());
    const int last = size() - 1;
    std::vector<std::int32_t> told = values<std::int32_t>(n, rank()), sum = told, own = told,
                              all(whole), max = told, terms(whole), scattered(part);
    for (std::size_t i = 0; i < whole; ++i)
      terms[i] = static_cast<std::int32_t>(i % 1000) + 7 * rank();
    {
      const Placed t(told, stream_), s(sum, stream_), o(own, stream_), a(all, stream_),
          m(max, stream_), in(terms, stream_), out(scattered, stream_);
      std::vector<std::unique_ptr<Transfer>> under_way;
      under_way.push_back(comm_->start_reduce_scatter(out, in, ReduceOp::max, stream_));
      under_way.push_back(comm_->start_broadcast(t, last, stream_));
      under_way.push_back(comm_->start_all_gather(a, o, stream_));
      comm_->all_reduce(m, ReduceOp::max, stream_);
      under_way.push_back(comm_->start_all_reduce(s, ReduceOp::min, stream_));
      for (; !under_way.empty(); under_way.pop_back()) {
        while (!under_way.back()->test()) {
        }
        under_way.back()->wait();
      }
    }
    EXPECT_EQ(told, values<std::int32_t>(n, last));
    EXPECT_EQ(sum, values<std::int32_t>(n, 0));
    EXPECT_EQ(max, values<std::int32_t>(n, last));
    for (std::size_t i = 0; i < part; ++i) {
      const auto at = i + part * static_cast<std::size_t>(rank());
      ASSERT_EQ(scattered[i], static_cast<std::int32_t>(at % 1000) + 7 * last) << at;
    }
    for (int r = 0; r < size(); ++r)
      EXPECT_EQ(std::vector<std::int32_t>(all.begin() + r * n, all.begin() + (r + 1) * n),
                values<std::int32_t>(n, r));
  }
}

// A rank's part where it is in the whole.
TEST_P(Contract, StartedInPlace) {
  for (const std::int64_t n : kSizes) {
    const std::int64_t begin = n * rank();
    std::vector<std::int32_t> x(static_cast<std::size_t>(n * size()), -1);
    const std::vector<std::int32_t> mine = values<std::int32_t>(n, rank());
    std::copy(mine.begin(), mine.end(), x.begin() + begin);
    {
      const Placed placed(x, stream_);
      const View whole = placed, part = whole.rows(begin, begin + n);
      comm_->start_all_gather(whole, part, stream_)->wait();
      comm_->start_reduce_scatter(part, whole, ReduceOp::sum, stream_)->wait();
    }
    for (std::size_t i = 0; i < mine.size(); ++i)
      ASSERT_EQ(x[static_cast<std::size_t>(begin) + i], size() * mine[i]);
  }
}

TEST_P(Contract, GathersUnevenParts) {
  std::vector<std::int64_t> counts;
  for (int r = 0; r < size(); ++r) counts.push_back(r * 5 % 7);
  std::vector<std::int32_t> mine = values<std::int32_t>(counts[static_cast<std::size_t>(rank())],
                                                        rank()),
                            want;
  for (int r = 0; r < size(); ++r)
    for (std::int32_t x : values<std::int32_t>(counts[static_cast<std::size_t>(r)], r))
      want.push_back(x);
  std::vector<std::int32_t> all(want.size());
  comm_->all_gather(on(all), on(mine), counts, stream_);
  EXPECT_EQ(all, want);
  std::vector<std::int32_t> later(want.size());
  {
    const Placed in(mine, stream_), out(later, stream_);
    comm_->start_all_gather(out, in, counts, stream_)->wait();
  }
  EXPECT_EQ(later, want);
}

TEST_P(Contract, RingOfMessages) {
  if (alone_on_device()) GTEST_SKIP();
  const int next = (rank() + 1) % size(), before = (rank() + size() - 1) % size();
  for (std::int64_t n : kSizes) {
    std::vector<float> out = values<float>(n, rank()), second = values<float>(n, rank() + 100),
                       in(out.size()), in2(out.size());
    {
      const Placed o(out, stream_), s(second, stream_), i(in, stream_), i2(in2, stream_);
      auto send = comm_->start_send(o, next, 5, stream_);
      auto send2 = comm_->start_send(s, next, 6, stream_);
      auto recv2 = comm_->start_recv(i2, before, 6, stream_);  // by tag, not by order
      auto recv = comm_->start_recv(i, before, 5, stream_);
      for (auto* t : {&send, &send2, &recv, &recv2}) (*t)->wait();
    }
    EXPECT_EQ(in, values<float>(n, before));
    EXPECT_EQ(in2, values<float>(n, before + 100));
  }
}

TEST_P(Contract, WrongSizesAreErrors) {
  std::vector<float> in(3), out(static_cast<std::size_t>(3 * size() + 1));
  EXPECT_THROW(comm_->all_gather(on(out), on(in), stream_), Error);
  EXPECT_THROW(comm_->start_all_gather(on(out), on(in), stream_), Error);
  EXPECT_THROW(comm_->start_reduce_scatter(on(in), on(out), ReduceOp::sum, stream_), Error);
}

TEST_P(Contract, TagsOfOurOwnMessagesAreErrors) {
  if (comm_->backend() != "mpi") GTEST_SKIP();
  std::vector<float> x(1);
  EXPECT_THROW(comm_->send(on(x), 0, 32767, stream_), Error);
}

TEST_P(Contract, ValuesAndBarrier) {
  comm_->barrier();
  EXPECT_EQ(comm_->all_reduce_value<std::int64_t>(rank() + 1, ReduceOp::sum, stream_),
            size() * (size() + 1) / 2);
}

// Over all ranks together, as comm/grid_span.h says; the sum itself must not be counted.
TEST_P(Contract, CountsWhatIsSent) {
  const std::int64_t n = size(), last = n - 1;
  const auto sent_by_all = [&](const std::function<void()>& calls) {
    std::int64_t before = comm_->bytes();
    calls();
    std::int64_t sent = comm_->bytes() - before;
    return comm_->all_reduce_value(sent, ReduceOp::sum, stream_);
  };
  const std::int64_t many = 100'003, bytes = many * 4;
  std::vector<float> x(static_cast<std::size_t>(many)), all(x.size() * static_cast<std::size_t>(n));
  EXPECT_EQ(sent_by_all([&] { comm_->barrier(); }), 0);
  EXPECT_EQ(sent_by_all([&] { comm_->broadcast(on(x), size() - 1, stream_); }), last * bytes);
  EXPECT_EQ(sent_by_all([&] { comm_->all_reduce(on(x), ReduceOp::sum, stream_); }),
            2 * last * bytes);
  EXPECT_EQ(sent_by_all([&] { comm_->start_all_reduce(on(x), ReduceOp::max, stream_)->wait(); }),
            2 * last * bytes);
  EXPECT_EQ(sent_by_all([&] { comm_->all_gather(on(all), on(x), stream_); }), last * n * bytes);
  EXPECT_EQ(sent_by_all([&] { comm_->reduce_scatter(on(x), on(all), ReduceOp::sum, stream_); }),
            last * n * bytes);
  EXPECT_EQ(sent_by_all([&] {
              const Placed in(x, stream_), out(all, stream_);
              comm_->start_broadcast(in, size() - 1, stream_)->wait();
              comm_->start_all_gather(out, in, stream_)->wait();
              comm_->start_reduce_scatter(in, out, ReduceOp::sum, stream_)->wait();
            }),
            last * bytes + 2 * last * n * bytes);
  // One to the next, in a ring; to itself nothing is sent.
  EXPECT_EQ(sent_by_all([&] {
              if (alone_on_device()) return;
              std::vector<float> y(x.size());
              const Placed placed(x, stream_);
              auto sent = comm_->start_send(placed, (rank() + 1) % size(), 5, stream_);
              comm_->recv(on(y), (rank() + size() - 1) % size(), 5, stream_);
              sent->wait();
            }),
            n > 1 ? n * bytes : 0);
  // A small one: pairs exchange 8 bytes at distances 1 and 2, a third rank lends and gets its own.
  const std::int64_t exchanged[] = {0, 0, 2, 4, 8};
  std::int64_t value = 1;
  EXPECT_EQ(sent_by_all([&] { value = comm_->all_reduce_value(value, ReduceOp::sum, stream_); }),
            8 * exchanged[n]);
}

TEST(Mpi, KnowsItsPlace) {
  const auto all = world();
  EXPECT_EQ(test_mpi().rank(), all->rank());
  EXPECT_EQ(test_mpi().size(), all->size());
  EXPECT_EQ(all->backend(), all->size() == 1 ? "self" : "mpi");  // one rank needs no MPI
  if (all->on_one_host()) {
    EXPECT_EQ(test_mpi().ranks_on_host(), all->size());
    EXPECT_EQ(test_mpi().rank_on_host(), all->rank());
  }
  EXPECT_EQ(mpi_comm_of(*all).has_value(), all->size() > 1);
  const std::string text = failure_of([] { CHECK(false, "no"); }).value().text;
  EXPECT_EQ(text.starts_with(fmt::format("no [rank {}, ", all->rank())), all->size() > 1) << text;
}

TEST(Mpi, AllArriveOrNot) {
  EXPECT_TRUE(test_mpi().all_arrive(20));
  const auto all = world();
  if (all->rank() != 0) {
    EXPECT_FALSE(test_mpi().all_arrive(0.1));
  }
  all->barrier();
  if (all->rank() == 0) {
    EXPECT_TRUE(test_mpi().all_arrive(20));  // the others had waited for it
  }
}

INSTANTIATE_TEST_SUITE_P(All, Contract, testing::Values("self", "world", "split"));
#ifdef WEFT_TEST_GPUS
INSTANTIATE_TEST_SUITE_P(Devices, Contract, testing::Values("nccl"));
#endif

TEST(Grid, EveryShapeHasItsGroups) {
  const int n = world()->size();
  for (int tp = 1; tp <= n; ++tp)
    for (int pp = 1; tp * pp <= n; ++pp) {
      if (n % (tp * pp)) continue;
      const GridShape shape = resolve_grid(tp, pp, 0, n);
      const Grid grid(world(), shape);
      EXPECT_EQ(grid.tp().size(), tp);
      EXPECT_EQ(grid.pp().size(), pp);
      EXPECT_EQ(grid.dp().size(), n / (tp * pp));
      EXPECT_EQ(grid.replica().size(), tp * pp);
      EXPECT_EQ(grid.world().rank(),
                grid.tp().rank() + tp * (grid.pp().rank() + pp * grid.dp().rank()));
      EXPECT_EQ(grid.tied_ends().size(),
                pp > 1 && (grid.is_first_stage() || grid.is_last_stage()) ? 2 : 1);
    }
}

TEST(Grid, WrongRanksAreTheUsersMistake) {
  EXPECT_EQ(resolve_grid(2, 1, 0, 4), (GridShape{2, 1, 2}));
  EXPECT_THROW(resolve_grid(3, 1, 0, 4), UserError);
  EXPECT_THROW(resolve_grid(2, 1, 3, 4), UserError);
  EXPECT_THROW(resolve_grid(0, 1, 0, 4), UserError);
}

}  // namespace
}  // namespace weft

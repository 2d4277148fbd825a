// Collectives of each group of ranks by size, on the CPU over MPI or on GPUs over NCCL, and which
// pairs and ranks are slow.
//
// Bandwidths are nccl-tests' (comm_groups.h). Groups of one kind (all tp groups) are at it at the
// same time, as in a step, and the slowest counts. The share is of the rate at which every rank
// copies as many bytes in its own memory at the same time: what is sent is copied once at least. On
// GPUs it stands beside what the machine's description says. Every call is checked once before it
// is timed. Pairs are for the CPU: GPUs are linked along a ring.
#include <algorithm>
#include <cstdlib>
#include <optional>
#include <set>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/comm_groups.h"
#include "benchmarks/pairs.h"
#include "benchmarks/stream_timer.h"
#include "core/check.h"
#include "core/host_copy.h"
#include "kernels/ops.h"
#include "machine/bandwidth.h"

namespace weft {
namespace {

constexpr std::int64_t kMostBytesOfCpu = 16 << 20, kMostBytesOfGpu = 1 << 30;  // of a collective

constexpr const char* kAllReduce = "all_reduce";
constexpr const char* kStartAllReduce = "start_all_reduce and wait";
constexpr const char* kAllGather = "all_gather";
constexpr const char* kReduceScatter = "reduce_scatter";
constexpr const char* kBroadcast = "broadcast";
constexpr const char* kSend = "send and recv";

// The rung of launch/README.md's ladder that the job script set.
std::string network_of_run() {
  const char* network = std::getenv("WEFT_NET");
  return network && *network ? network : kNetworks[0];
}

bool on_gpu(const BenchRun& run) { return run.stream.device().type == DeviceType::cuda; }

// Seconds of one call, many where one is too short for the clock, after two that are not counted:
// by the stream's own clock; the median over the repeats of the slowest rank's. Between CPU ranks
// all begin a repeat together; GPUs' collectives see to that themselves.
double seconds_each(const BenchRun& run, Meetings& world, const std::function<void()>& body) {
  constexpr double kLongEnough_s = 2e-3;
  constexpr std::int64_t kMost = 64;
  StreamTimer timer(run.stream.device());
  const auto slowest = [&](std::int64_t repeats, std::int64_t n) {
    run.stream.synchronize();
    world.barrier();
    std::vector<double> times;
    for (std::int64_t r = 0; r < repeats; ++r) {
      if (!on_gpu(run)) world.barrier();
      timer.start(run.stream);
      for (std::int64_t i = 0; i < n; ++i) body();
      timer.stop(run.stream);
      times.push_back(timer.seconds());
    }
    world.all_reduce(View(times.data(), Dims{repeats}), ReduceOp::max);
    return median(std::move(times));
  };
  slowest(1, 1);
  const double one = slowest(1, 1);
  const auto inner = std::clamp(static_cast<std::int64_t>(kLongEnough_s / std::max(one, 1e-9)),
                                std::int64_t{1}, kMost);
  return std::max(slowest(run.options.repeats, inner), 1e-9) / static_cast<double>(inner);
}

// Bytes/s at which a rank copies so many in its own memory while the others do.
BestRate copy_rate(const BenchRun& run, Meetings& world, std::int64_t size) {
  const Device device = run.stream.device();
  const auto bytes = static_cast<std::size_t>(size);
  const auto from = allocate_zeroed(device, bytes, "bytes of a copy"),
             to = allocate_zeroed(device, bytes, "bytes of a copy");
  const double seconds =
      seconds_each(run, world, [&] { copy_bytes(to.get(), from.get(), bytes, run.stream); });
  BestRate rate;
  rate.sample(static_cast<double>(size) / seconds);
  return rate;
}

// ---- what a collective must give: whole numbers that every dtype holds, whatever the order of
// sums

float mark(std::int64_t rank, std::int64_t i) { return static_cast<float>((3 * i + rank) % 101); }
// Two ranks add to an element, the others 0.
float term(std::int64_t rank, std::int64_t n, std::int64_t i) {
  return static_cast<float>((rank == i % n ? 1 + i % 7 : 0) +
                            (rank == (i + 1) % n ? 2 + i % 5 : 0));
}
float sum_of_terms(std::int64_t i) { return static_cast<float>(3 + i % 7 + i % 5); }

using Values = std::function<float(std::int64_t)>;

void put(View x, const Values& values, Stream& stream) {
  HostWrite write(x);
  const View host = write.host();
  for (std::int64_t i = 0; i < x.elems(); ++i)
    if (x.dtype() == DType::bf16)
      host.as<BFloat16>()[i] = to_bfloat16(values(i));
    else
      host.as<float>()[i] = values(i);
  write.finish(stream);
}

// Elements that are not what they should be.
std::int64_t wrong_elems(ConstView x, const Values& expected, Stream& stream) {
  HostCopy copy;
  const float* found = copy.floats(x, stream).as<float>();
  std::int64_t wrong = 0;
  for (std::int64_t i = 0; i < x.elems(); ++i) wrong += found[i] != expected(i);
  return wrong;
}

// Collectives of groups of ranks by size and dtype: first checked, then timed.
class Collectives {
 public:
  Collectives(const BenchRun& run, Meetings& world)
      : run_(run),
        world_(world),
        machine_(run.options.machine.empty() ? machine_of_run()
                                             : find_machine(run.options.machine)) {}

  // All of one group at one size. `copies`: bytes/s at which a rank copies that many.
  void bench_size(const Group& group, std::int64_t size, DType dtype, BestRate& copies) {
    Communicator& ranks = *group.ranks;
    Stream& stream = run_.stream;
    const int n = ranks.size(), rank = ranks.rank();
    const auto width = static_cast<std::int64_t>(dtype_bytes(dtype));
    const std::int64_t elems = size / width, part = std::max<std::int64_t>(1, elems / n);
    const std::int64_t room = std::max(elems, part * n);
    const Device device = stream.device();
    const auto memory = allocate_zeroed(device, static_cast<std::size_t>(room * width), kWhat),
               more = allocate_zeroed(device, static_cast<std::size_t>(room * width), kWhat);
    const View x(memory.get(), dtype, {room}, device), y(more.get(), dtype, {room}, device);
    const View whole = x.rows(0, elems), other = y.rows(0, elems), parts = x.rows(0, part * n),
               mine = y.rows(0, part);
    const Values terms = [=](std::int64_t i) { return term(rank, n, i); };
    const Values own = [=](std::int64_t i) { return mark(rank, i); };
    const auto call = [&](const char* name, ConstView checked, const Values& expected,
                          std::int64_t bytes, const std::function<void()>& body) {
      if (n > 1) body();
      const std::int64_t wrong = n > 1 ? wrong_elems(checked, expected, stream) : 0;
      fill(x, 0, stream);  // sums of sums stay finite
      fill(y, 0, stream);
      const double seconds =
          seconds_each(run_, world_, n > 1 ? body : std::function<void()>([] {}));
      report(group, {name, dtype, bytes, seconds, wrong}, copies);
    };
    put(whole, terms, stream);
    call(kAllReduce, whole, sum_of_terms, width * elems,
         [&] { ranks.all_reduce(whole, ReduceOp::sum, stream); });
    put(whole, terms, stream);
    call(kStartAllReduce, whole, sum_of_terms, width * elems,
         [&] { ranks.start_all_reduce(whole, ReduceOp::sum, stream)->wait(); });
    put(mine, own, stream);
    call(
        kAllGather, parts, [=](std::int64_t i) { return mark(i / part, i % part); },
        width * part * n, [&] { ranks.all_gather(parts, mine, stream); });
    put(parts, terms, stream);
    call(
        kReduceScatter, mine, [=](std::int64_t i) { return sum_of_terms(rank * part + i); },
        width * part * n, [&] { ranks.reduce_scatter(mine, parts, ReduceOp::sum, stream); });
    put(whole, own, stream);
    call(
        kBroadcast, whole, [](std::int64_t i) { return mark(0, i); }, width * elems,
        [&] { ranks.broadcast(whole, 0, stream); });
    if (!group.sends) return;
    // Every rank to the next one, from the one before.
    const int before = (rank + n - 1) % n;
    put(whole, own, stream);
    call(
        kSend, other, [=](std::int64_t i) { return mark(before, i); }, width * elems,
        [&] {
          const auto sent = ranks.start_send(whole, (rank + 1) % n, 0, stream);
          ranks.start_recv(other, before, 0, stream)->wait();
          sent->wait();
        });
  }

  void expect_right() const {
    if (!wrong_.empty()) machine_error("weft bench comm: {}", wrong_);
  }

 private:
  static constexpr const char* kWhat = "values of a collective";
  struct Result {
    const char* name;
    DType dtype;
    std::int64_t bytes;
    double seconds;
    std::int64_t wrong;  // elements of this rank
  };

  void report(const Group& group, const Result& r, BestRate& copies) {
    const int n = group.ranks->size();
    std::int64_t wrong = r.wrong;
    world_.all_reduce(View(&wrong, Dims{1}), ReduceOp::sum);
    const double algbw = static_cast<double>(r.bytes) / r.seconds,
                 busbw = algbw * bus_factor(r.name, n);
    const double share = copies.share(busbw);
    OrderedJson more = {{"collective", r.name},
                        {"group", group.name},
                        {"ranks", n},
                        {"hosts", group.place.nodes},
                        {"backend", group.ranks->backend()},
                        {"dtype", dtype_name(r.dtype)},
                        {"bytes", r.bytes},
                        {"seconds", r.seconds},
                        {"algbw", algbw / 1e9},
                        {"busbw", busbw / 1e9},
                        {"wrong", wrong}};
    std::string note = fmt::format("{:.1f} us", r.seconds * 1e6);
    if (on_gpu(run_) && machine_) note += beside_published(group, r.name, busbw, more);
    const std::string name =
        fmt::format("{} of {}: {} {}", group.name, n, r.name, bytes_text(r.bytes));
    if (wrong > 0) {
      note += fmt::format("; WRONG: {} elements", wrong);
      if (wrong_.empty())
        wrong_ = fmt::format("{} {} gave {} wrong elements", name, dtype_name(r.dtype), wrong);
    }
    run_.report({.name = on_gpu(run_) ? fmt::format("{} {}", name, dtype_name(r.dtype)) : name,
                 .value = busbw / 1e9,
                 .unit = "GB/s",
                 .share = share,
                 .peak = "copying as much",
                 .peak_rate = copies.rate(),
                 .more = more,
                 .note = note});
  }

  // Of GPUs alone: what a description says is of NCCL.
  std::string beside_published(const Group& group, const char* name, double busbw,
                               OrderedJson& more) const {
    const auto said = described_bandwidth(*machine_, name, group.place, network_of_run());
    if (!said) return "";
    const double share = busbw / 1e9 / said->gb_per_s;
    more.update({{"described", said->gb_per_s},
                 {"described_by", machine_->name},
                 {"described_source", said->source},
                 {"of_described", share}});
    return fmt::format("; {:.0f} % of '{}': {:.4g}, {}", 100 * share, machine_->name,
                       said->gb_per_s, said->source);
  }

  const BenchRun& run_;
  Meetings& world_;
  std::optional<Machine> machine_;
  std::string wrong_;
};

double best_matmul_s(const BenchRun& run) {
  constexpr double kFlops = 1e9;  // that the seconds are of
  for (std::int64_t i = 0; i < run.options.repeats; ++i) run.peaks.sample_matmul(Precision::fp32);
  return kFlops / run.peaks.own_matmul(Precision::fp32);
}

std::string slow_text(const BenchRun& run, const Slow& s) {
  const auto where = [&](int rank) {
    return fmt::format("rank {} on {}", rank, run.hosts[static_cast<std::size_t>(rank)]);
  };
  return s.other < 0
             ? fmt::format("SLOW {}: {}", where(s.rank), s.what)
             : fmt::format("SLOW pair {} and {}: {}", where(s.rank), where(s.other), s.what);
}

void bench_pairs(const BenchRun& run, std::int64_t max_bytes) {
  constexpr std::int64_t kMessageBytes = 1 << 20;
  constexpr int kTriedAgain = 2;
  PairPlan plan;
  plan.rounds = pair_rounds(run.hosts);
  plan.message_bytes = std::min(kMessageBytes, std::max<std::int64_t>(8, max_bytes));
  plan.trips = 4 * run.options.repeats;
  std::vector<PairTime> pairs = measure_pairs(run.grid.world(), plan, run.stream);
  const auto find = [&] {
    return find_slow(pairs, run.hosts, of_every_rank(run.grid, run.stream, best_matmul_s(run)),
                     plan.message_bytes);
  };
  // Suspicions are tried again: noise that lasted through all passes seldom comes back.
  std::vector<Slow> slow = find();
  for (int again = 0; again < kTriedAgain && !slow.empty(); ++again) {
    const std::vector<PairTime> once_more = measure_pairs(run.grid.world(), plan, run.stream);
    for (std::size_t i = 0; i < pairs.size(); ++i) {
      pairs[i].latency_s = std::min(pairs[i].latency_s, once_more[i].latency_s);
      pairs[i].message_s = std::min(pairs[i].message_s, once_more[i].message_s);
    }
    slow = find();
  }
  const auto say = [&](const std::string& what, double PairTime::*seconds, double bytes) {
    std::vector<double> values;
    const PairTime* worst = &pairs[0];
    for (const PairTime& p : pairs) {
      values.push_back(p.*seconds);
      if (p.*seconds > worst->*seconds) worst = &p;
    }
    const double middle = true_median(values);
    OrderedJson each = OrderedJson::array();
    for (const PairTime& p : pairs) each.push_back(OrderedJson::array({p.a, p.b, p.*seconds}));
    run.report({.name = fmt::format("pairs ({} of them): {}", pairs.size(), what),
                .value = bytes > 0 ? bytes / middle / 1e9 : middle * 1e6,
                .unit = bytes > 0 ? "GB/s" : "us",
                .peak = "",
                .more = {{"ranks", run.grid.shape().ranks()},
                         {"pairs", pairs.size()},
                         {"seconds_median", middle},
                         {"seconds_min", std::ranges::min(values)},
                         {"seconds_max", worst->*seconds},
                         {"slowest", {worst->a, worst->b}},
                         {"of_pairs", each}},
                .note = fmt::format("median; slowest: ranks {} and {}, {:.1f} us", worst->a,
                                    worst->b, worst->*seconds * 1e6)});
  };
  say("latency", &PairTime::latency_s, 0);
  say(bytes_text(plan.message_bytes) + " message", &PairTime::message_s,
      static_cast<double>(plan.message_bytes));
  std::set<std::pair<int, int>> named;
  for (const Slow& s : slow) {
    named.insert({s.rank, s.other});
    run.report({.name = slow_text(run, s),
                .value = s.seconds * 1e6,
                .unit = "us",
                .peak = "",
                .more = {{"ranks", run.grid.shape().ranks()},
                         {"slow", s.other < 0 ? "rank" : "pair"},
                         {"slow_ranks", s.other < 0 ? OrderedJson::array({s.rank})
                                                    : OrderedJson::array({s.rank, s.other})},
                         {"in", s.what},
                         {"seconds", s.seconds},
                         {"seconds_median", s.median}},
                .note = fmt::format("{:.1f} times the median of its like ({:.1f} us)",
                                    s.seconds / s.median, s.median * 1e6)});
  }
  run.report({.name = "slow ranks and pairs",
              .value = static_cast<double>(named.size()),
              .unit = "",
              .peak = "",
              .more = OrderedJson::object({{"ranks", run.grid.shape().ranks()}}),
              .note = run.grid.shape().ranks() < 3
                          ? "nothing to compare one pair with: 3 ranks or more"
                          : "by every pair's latency and bandwidth and each rank's matmul"});
}

}  // namespace

void bench_comm(const BenchRun& run) {
  const int n = run.grid.shape().ranks();
  CHECK_USER(n > 1,
             "weft bench comm: one rank has nobody to talk to; allowed: 2 ranks or more, as "
             "in mpiexec -n 2 weft bench comm");
  CHECK_USER(run.options.max_bytes == 0 || run.options.max_bytes >= 8,
             "--max-bytes is {}; allowed: 8 or more, or 0", run.options.max_bytes);
  const Groups groups(run);
  const std::int64_t max_bytes = run.options.max_bytes > 0 ? run.options.max_bytes
                                 : on_gpu(run)             ? kMostBytesOfGpu
                                                           : kMostBytesOfCpu;
  const std::vector<std::int64_t> sizes = sizes_up_to(max_bytes);
  std::vector<BestRate> copies;
  Meetings world(run.grid);
  for (const std::int64_t size : sizes) copies.push_back(copy_rate(run, world, size));
  std::vector<DType> dtypes = {DType::f32};
  if (on_gpu(run)) dtypes.push_back(DType::bf16);  // MPI sums none
  Collectives collectives(run, world);
  for (const Group& group : groups.all())
    for (const DType dtype : dtypes)
      for (std::size_t i = 0; i < sizes.size(); ++i)
        collectives.bench_size(group, sizes[i], dtype, copies[i]);
  collectives.expect_right();
  if (!on_gpu(run)) bench_pairs(run, max_bytes);
}

}  // namespace weft

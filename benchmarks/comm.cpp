// Collectives of each group of ranks by size, and which pairs and ranks are slow.
//
// Bandwidths are nccl-tests' (doc/PERFORMANCE.md): of n ranks algbw = size / time and
//   all_reduce                   busbw = algbw · 2 (n - 1) / n
//   all_gather, reduce_scatter   busbw = algbw · (n - 1) / n, size being all ranks' together
//   broadcast, send and recv     busbw = algbw
// so that busbw is what a link carries, whatever n. Groups of one kind (all tp groups) are at it at
// the same time, as in a step, and the slowest counts. The share is of the rate at which every rank
// copies as many bytes in its own memory at the same time: what is sent is copied once at least.
#include <algorithm>
#include <cstring>
#include <map>
#include <memory>
#include <set>
#include <vector>

#include "benchmarks/bench.h"
#include "benchmarks/pairs.h"

namespace weft {
namespace {

struct Group {
  std::string name;
  Communicator* ranks;
};

// The world, the grid's groups, those of a host and those of one rank a host; without those of one
// rank and those that are the world again.
class Groups {
 public:
  explicit Groups(const BenchRun& run) : run_(run) {
    Communicator& world = run.grid.world();
    all_.push_back({"world", &world});
    const GridShape& shape = run.grid.shape();
    add("tp", run.grid.tp(), shape.tp);
    add("pp", run.grid.pp(), shape.pp);
    add("dp", run.grid.dp(), shape.dp);
    std::map<std::string, int> seen;  // ranks of a host so far
    std::vector<int> host_of, place_of;
    std::map<std::string, int> number;
    for (const std::string& host : run.hosts) {
      host_of.push_back(number.emplace(host, static_cast<int>(number.size())).first->second);
      place_of.push_back(seen[host]++);
    }
    if (seen.size() < 2) return;
    const auto rank = static_cast<std::size_t>(world.rank());
    node_ = world.split(host_of[rank], world.rank());
    across_ = world.split(place_of[rank], world.rank());
    int most = 0;
    for (const auto& entry : seen) most = std::max(most, entry.second);
    add("node", *node_, most);
    add("across nodes", *across_, static_cast<int>(seen.size()));
  }
  const std::vector<Group>& all() const { return all_; }

 private:
  void add(const char* name, Communicator& ranks, int size) {
    if (size > 1 && size < run_.grid.shape().ranks()) all_.push_back({name, &ranks});
  }
  const BenchRun& run_;
  std::unique_ptr<Communicator> node_, across_;
  std::vector<Group> all_;
};

// Seconds of one call, many where one is too short for the clock.
double seconds_each(const BenchRun& run, const std::function<void()>& body) {
  constexpr double kLongEnough_s = 2e-3;
  constexpr std::int64_t kMost = 64;
  seconds_of(run.grid, run.stream, body);
  const double one = seconds_of(run.grid, run.stream, body);
  const auto inner = std::clamp(static_cast<std::int64_t>(kLongEnough_s / std::max(one, 1e-9)),
                                std::int64_t{1}, kMost);
  return median_seconds(run.grid, run.stream, run.options.repeats,
                        [&] {
                          for (std::int64_t i = 0; i < inner; ++i) body();
                        }) /
         static_cast<double>(inner);
}

std::vector<std::int64_t> sizes_up_to(std::int64_t max_bytes) {
  std::vector<std::int64_t> sizes;
  for (std::int64_t size = 8; size <= max_bytes; size *= 8) sizes.push_back(size);
  if (sizes.back() != max_bytes) sizes.push_back(max_bytes / 4 * 4);
  return sizes;
}

// Bytes/s at which a rank copies so many while the others do.
BestRate copy_rate(const BenchRun& run, std::int64_t size) {
  std::vector<char> from(static_cast<std::size_t>(size), 1), to(from.size());
  const double seconds = seconds_each(run, [&] {
    std::memcpy(to.data(), from.data(), from.size());
    volatile char seen = to[to.size() / 2];  // read, or the compiler leaves the copy out
    (void)seen;
  });
  BestRate rate;
  rate.sample(static_cast<double>(size) / seconds);
  return rate;
}

// All collectives of one group at one size. `copies`: bytes/s at which a rank copies that many.
void bench_size(const BenchRun& run, const Group& group, std::int64_t size, BestRate& copies) {
  Communicator& ranks = *group.ranks;
  const int n = ranks.size(), rank = ranks.rank();
  const std::int64_t elems = size / 4, part = std::max<std::int64_t>(1, elems / n);
  std::vector<float> x(static_cast<std::size_t>(std::max(elems, part * n))), y(x.size());
  const View whole(x.data(), Dims{elems}), other(y.data(), Dims{elems}),
      parts(x.data(), Dims{part * n}), mine(y.data(), Dims{part});
  const double shared = static_cast<double>(n - 1) / n;
  const auto report = [&](const char* name, std::int64_t bytes, double factor,
                          const std::function<void()>& body) {
    const double seconds = n > 1 ? seconds_each(run, body) : seconds_each(run, [] {});
    const double algbw = static_cast<double>(bytes) / seconds, busbw = algbw * factor;
    const double share = copies.share(busbw);
    run.report({.name = fmt::format("{} of {}: {} {}", group.name, n, name, bytes_text(bytes)),
                .value = busbw / 1e9,
                .unit = "GB/s",
                .share = share,
                .peak = "copying as much",
                .peak_rate = copies.rate(),
                .more = {{"collective", name},
                         {"group", group.name},
                         {"ranks", n},
                         {"bytes", bytes},
                         {"seconds", seconds},
                         {"algbw", algbw / 1e9},
                         {"busbw", busbw / 1e9}},
                .note = fmt::format("{:.1f} us", seconds * 1e6)});
  };
  Stream& stream = run.stream;
  report("all_reduce", 4 * elems, 2 * shared,
         [&] { ranks.all_reduce(whole, ReduceOp::sum, stream); });
  report("start_all_reduce and wait", 4 * elems, 2 * shared,
         [&] { ranks.start_all_reduce(whole, ReduceOp::sum, stream)->wait(); });
  report("all_gather", 4 * part * n, shared, [&] { ranks.all_gather(parts, mine, stream); });
  report("reduce_scatter", 4 * part * n, shared,
         [&] { ranks.reduce_scatter(mine, parts, ReduceOp::sum, stream); });
  report("broadcast", 4 * elems, 1, [&] { ranks.broadcast(whole, 0, stream); });
  // Every rank to the next one, from the one before.
  report("send and recv", 4 * elems, 1, [&] {
    const auto sent = ranks.start_send(whole, (rank + 1) % n, 0, stream);
    ranks.start_recv(other, (rank + n - 1) % n, 0, stream)->wait();
    sent->wait();
  });
}

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

void bench_pairs(const BenchRun& run) {
  constexpr std::int64_t kMessageBytes = 1 << 20;
  constexpr int kTriedAgain = 2;
  PairPlan plan;
  plan.rounds = pair_rounds(run.hosts);
  plan.message_bytes = std::min(kMessageBytes, std::max<std::int64_t>(8, run.options.max_bytes));
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
  const Groups groups(run);
  const std::vector<std::int64_t> sizes = sizes_up_to(run.options.max_bytes);
  std::vector<BestRate> copies;
  for (const std::int64_t size : sizes) copies.push_back(copy_rate(run, size));
  for (const Group& group : groups.all())
    for (std::size_t i = 0; i < sizes.size(); ++i) bench_size(run, group, sizes[i], copies[i]);
  bench_pairs(run);
}

}  // namespace weft

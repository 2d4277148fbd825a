#include "benchmarks/pairs.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <set>

#include "core/check.h"

namespace weft {
namespace {

constexpr int kPasses = 3;
constexpr double kMads = 6, kMadToSigma = 1.4826;  // a normal distribution's sigma in MADs
// How many times the median is slow. Latency differs by two within a host (one socket or two).
constexpr double kLatencyFactor = 3, kMessageFactor = 2, kKernelFactor = 1.25;
constexpr double kLeastLatency_s = 5e-6;  // what the clock and the system add now and then

double now_s() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// This rank's part of one game, `trips` round trips; the first of a pair knows the best of them.
double best_trip_s(Communicator& world, std::pair<int, int> pair, View x, std::int64_t trips,
                   Stream& stream) {
  const bool serves = world.rank() == pair.first;
  const int other = serves ? pair.second : pair.first;
  double best = std::numeric_limits<double>::infinity();
  for (std::int64_t i = 0; i <= trips; ++i) {  // the first one is not counted
    const double begin = now_s();
    if (serves) world.send(x, other, 0, stream);
    world.recv(x, other, 0, stream);
    if (!serves) world.send(x, other, 0, stream);
    if (i > 0) best = std::min(best, now_s() - begin);
  }
  return best;
}

// So many of them, evenly.
std::vector<PairRound> spread(std::vector<PairRound> rounds, std::size_t most) {
  if (rounds.size() <= most) return rounds;
  std::vector<PairRound> some;
  for (std::size_t i = 0; i < most; ++i) some.push_back(rounds[i * rounds.size() / most]);
  return some;
}

}  // namespace

std::vector<PairRound> tournament(int n) {
  std::vector<PairRound> rounds;
  const int circle = n + n % 2;  // an odd number gets a player that is not there
  for (int r = 0; r + 1 < circle; ++r) {
    PairRound round;
    for (int i = 0; i < circle / 2; ++i) {
      // The last player stays, the others go round.
      const int a = i == 0 ? circle - 1 : (r + i) % (circle - 1),
                b = (r - i + circle - 1) % (circle - 1);
      if (a < n && b < n) round.emplace_back(std::min(a, b), std::max(a, b));
    }
    if (!round.empty()) rounds.push_back(std::move(round));
  }
  return rounds;
}

std::vector<PairRound> pair_rounds(const std::vector<std::string>& hosts) {
  const int n = static_cast<int>(hosts.size());
  if (n <= kMostPlayers) return tournament(n);
  std::map<std::string, std::vector<int>> ranks_of;
  for (int r = 0; r < n; ++r) ranks_of[hosts[static_cast<std::size_t>(r)]].push_back(r);
  if (ranks_of.size() == 1) return spread(tournament(n), kMostPlayers);
  std::vector<std::vector<int>> players;
  for (const auto& entry : ranks_of) players.push_back(entry.second);
  std::vector<PairRound> rounds =
      spread(tournament(static_cast<int>(players.size())), kMostPlayers);
  for (std::size_t r = 0; r < rounds.size(); ++r)
    for (auto& [a, b] : rounds[r]) {
      const auto plays = [&](int host) {
        const std::vector<int>& ranks = players[static_cast<std::size_t>(host)];
        return ranks[r % ranks.size()];
      };
      a = plays(a), b = plays(b);
      if (a > b) std::swap(a, b);
    }
  return rounds;
}

std::vector<PairTime> measure_pairs(Communicator& world, const PairPlan& plan, Stream& stream) {
  std::vector<PairTime> times;
  for (const PairRound& round : plan.rounds)
    for (const auto& [a, b] : round) times.push_back({a, b, 0, 0});
  std::vector<float> buffer(static_cast<std::size_t>(
      std::max<std::int64_t>(2, plan.message_bytes / static_cast<std::int64_t>(sizeof(float)))));
  const View small(buffer.data(), Dims{2}),
      large(buffer.data(), Dims{static_cast<std::int64_t>(buffer.size())});
  // Of pairs whose first rank this is; 0 elsewhere, so that a sum over ranks is everybody's.
  std::vector<double> seconds(2 * times.size());
  for (int pass = 0; pass < kPasses; ++pass) {
    std::size_t at = 0;
    for (const PairRound& round : plan.rounds) {
      world.barrier();
      for (const auto& pair : round) {
        double* mine = &seconds[2 * at++];
        if (pair.first != world.rank() && pair.second != world.rank()) continue;
        const double latency = best_trip_s(world, pair, small, plan.trips, stream) / 2,
                     message = best_trip_s(world, pair, large, (plan.trips + 1) / 2, stream) / 2;
        if (pair.first != world.rank()) continue;
        mine[0] = pass == 0 ? latency : std::min(mine[0], latency);
        mine[1] = pass == 0 ? message : std::min(mine[1], message);
      }
    }
  }
  if (!seconds.empty())
    world.all_reduce(View(seconds.data(), Dims{static_cast<std::int64_t>(seconds.size())}),
                     ReduceOp::sum, stream);
  for (std::size_t i = 0; i < times.size(); ++i)
    times[i].latency_s = seconds[2 * i], times[i].message_s = seconds[2 * i + 1];
  return times;
}

double true_median(std::vector<double> values) {
  CHECK(!values.empty(), "the median of nothing");
  std::ranges::sort(values);
  const std::size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

Bounds upper_bounds(const std::vector<double>& values, double factor, double least) {
  constexpr double kNone = std::numeric_limits<double>::infinity();
  if (values.empty()) return {0, kNone};
  const double median = true_median(values);
  if (values.size() < 3) return {median, kNone};
  std::vector<double> deviations;
  for (double v : values) deviations.push_back(std::abs(v - median));
  const double mad = kMadToSigma * true_median(std::move(deviations));
  return {median, std::max({factor * median, median + kMads * mad, median + least})};
}

namespace {

struct Metric {
  std::string what;
  double PairTime::*seconds;
  double factor, least;
};

// Names what one metric shows of the pairs of one kind.
void find_slow_pairs(std::vector<Slow>& slow, const std::vector<PairTime>& pairs,
                     const Metric& metric) {
  std::map<int, double> best;  // of each rank, its best pair
  for (const PairTime& p : pairs)
    for (const int rank : {p.a, p.b}) {
      const auto at = best.emplace(rank, p.*metric.seconds).first;
      at->second = std::min(at->second, p.*metric.seconds);
    }
  std::vector<double> values;
  for (const auto& entry : best) values.push_back(entry.second);
  const Bounds of_ranks = upper_bounds(values, metric.factor, metric.least);
  std::set<int> slow_ranks;
  for (const auto& [rank, seconds] : best)
    if (seconds > of_ranks.limit) {
      slow_ranks.insert(rank);
      slow.push_back({rank, -1, metric.what, seconds, of_ranks.median});
    }
  std::vector<const PairTime*> left;
  values.clear();
  for (const PairTime& p : pairs)
    if (!slow_ranks.contains(p.a) && !slow_ranks.contains(p.b)) {
      left.push_back(&p);
      values.push_back(p.*metric.seconds);
    }
  const Bounds of_pairs = upper_bounds(values, metric.factor, metric.least);
  for (const PairTime* p : left)
    if (p->*metric.seconds > of_pairs.limit)
      slow.push_back({p->a, p->b, metric.what, p->*metric.seconds, of_pairs.median});
}

}  // namespace

std::vector<Slow> find_slow(const std::vector<PairTime>& pairs,
                            const std::vector<std::string>& hosts,
                            const std::vector<double>& kernel_s, std::int64_t message_bytes) {
  std::vector<Slow> slow;
  const Bounds of_kernels = upper_bounds(kernel_s, kKernelFactor);
  for (std::size_t r = 0; r < kernel_s.size(); ++r)
    if (kernel_s[r] > of_kernels.limit)
      slow.push_back({static_cast<int>(r), -1, "local matmul", kernel_s[r], of_kernels.median});
  std::vector<PairTime> within, across;
  for (const PairTime& p : pairs)
    (hosts[static_cast<std::size_t>(p.a)] == hosts[static_cast<std::size_t>(p.b)] ? within : across)
        .push_back(p);
  const Metric metrics[] = {{"latency", &PairTime::latency_s, kLatencyFactor, kLeastLatency_s},
                            {bytes_text(message_bytes) + " message", &PairTime::message_s,
                             kMessageFactor, kLeastLatency_s}};
  for (const Metric& metric : metrics)
    for (const auto* kind : {&within, &across}) find_slow_pairs(slow, *kind, metric);
  return slow;
}

std::string bytes_text(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  int unit = 0;
  while (unit < 3 && bytes >= 1024 && bytes % 1024 == 0) bytes /= 1024, ++unit;
  return fmt::format("{} {}", bytes, kUnits[unit]);
}

}  // namespace weft

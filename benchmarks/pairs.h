// Which ranks, and which pairs of ranks, are slower than their like: every pair plays ping-pong
// once a round of a tournament, and what lies outside robust bounds is named.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "comm/communicator.h"

namespace weft {

// Pairs of ranks that play at the same time.
using PairRound = std::vector<std::pair<int, int>>;

// n players, every pair once, each player at most once a round (circle method): n - 1 rounds, n
// where n is odd.
std::vector<PairRound> tournament(int n);

// The pairs of a run: all of them up to 64 ranks. Beyond that hosts meet instead (ranks[r] is the
// host of rank r): of a host another of its ranks each round, and of more than 64 rounds 64, spread
// evenly.
constexpr int kMostPlayers = 64;
std::vector<PairRound> pair_rounds(const std::vector<std::string>& hosts);

struct PairTime {
  int a = 0, b = 0;
  double latency_s = 0;  // half a round trip of 8 bytes, the best of many
  double message_s = 0;  // likewise of a large message
};

struct PairPlan {
  std::vector<PairRound> rounds;
  std::int64_t message_bytes = 1 << 20;
  std::int64_t trips = 8;  // of 8 bytes in each of the passes; half as many large ones
};

// Plays all rounds, three times over: a moment's noise then meets no pair in all of them. The same
// result on every rank, in the order of the rounds. Collective.
std::vector<PairTime> measure_pairs(Communicator& world, const PairPlan& plan, Stream& stream);

// A value is outside where it is more than `factor` times the median, and more than 6 scaled median
// absolute deviations and `least` beyond it. Of fewer than three values none is.
struct Bounds {
  double median = 0, limit = 0;  // limit: infinite where nothing can be said
};
Bounds upper_bounds(const std::vector<double>& values, double factor, double least = 0);
double true_median(std::vector<double> values);  // the mean of the middle two of an even number

// A rank or a pair that stands out, and in what: seconds of its like (the median) and its own.
struct Slow {
  int rank = -1, other = -1;  // other -1: a rank, else the pair
  std::string what;           // "latency", "1 MiB message", "local matmul"
  double seconds = 0, median = 0;
};

// Ranks by their local kernel (kernel_s, one a rank) and by their best pair: a rank that is slow in
// all of its pairs is slow itself, and its pairs are not named one by one. Pairs within a host and
// across hosts are not alike: each kind has its own bounds.
std::vector<Slow> find_slow(const std::vector<PairTime>& pairs,
                            const std::vector<std::string>& hosts,
                            const std::vector<double>& kernel_s, std::int64_t message_bytes);

std::string bytes_text(std::int64_t bytes);  // "8 B", "32 KiB", "1 MiB"

}  // namespace weft

// From logits to the next token, as transformers does it: float scores and double probabilities,
// summed in the order of ids.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scratch.h"

namespace weft::cpu {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Candidate {
  double probability;
  float score;
  std::int32_t id;
};

// Memory for one row at a time.
struct Room {
  float* scores;          // (V)
  Candidate* candidates;  // (V)
};

// The candidates are [begin, end), always in the order of their ids.
struct Kept {
  Candidate *begin, *end;
  std::int64_t size() const { return end - begin; }
};

// Softmax over the candidates alone; returns the largest probability.
double normalise(Kept k) {
  double max = -std::numeric_limits<double>::infinity(), sum = 0, largest = 0;
  for (const Candidate* c = k.begin; c != k.end; ++c)
    max = std::max(max, static_cast<double>(c->score));
  for (Candidate* c = k.begin; c != k.end; ++c)
    sum += c->probability = std::exp(static_cast<double>(c->score) - max);
  for (Candidate* c = k.begin; c != k.end; ++c) largest = std::max(largest, c->probability /= sum);
  return largest;
}

// A token's score: logit/temperature in fp32, as torch does it. Near 0 that would make infinities
// of all scores; then only distances from the likeliest are divided, which changes no probability.
class ScoreOf {
 public:
  ScoreOf(const float* logits, std::int64_t V, double temperature)
      : temperature_(temperature), divisor_(static_cast<float>(temperature)) {
    if (temperature == 1) return;
    double least = 0;
    for (const float* x = logits; x != logits + V; ++x) {
      most_ = std::max(most_, static_cast<double>(*x));
      if (*x > -kInfinity) least = std::min(least, static_cast<double>(*x));
    }
    overflows_ =
        !(std::max(std::abs(least), std::abs(most_)) / temperature < kLimit && divisor_ > 0);
  }
  float operator()(float logit) const {
    if (!overflows_ || logit == -kInfinity) return logit / divisor_;
    return static_cast<float>(
        std::max((static_cast<double>(logit) - most_) / temperature_, -kLimit));
  }

 private:
  static constexpr double kLimit = std::numeric_limits<float>::max();
  double temperature_, most_ = -std::numeric_limits<double>::infinity();
  float divisor_;
  bool overflows_ = false;
};

// The scores of at least the k-th; all but -inf where k is 0. Only the k-th is selected: sorting a
// whole vocabulary takes milliseconds.
Kept top_k(const float* logits, std::int64_t V, const ScoreOf& score_of, std::int64_t k,
           const Room& room) {
  float least = -kInfinity;
  if (k > 0 && k < V) {
    for (std::int64_t v = 0; v < V; ++v) room.scores[v] = score_of(logits[v]);
    std::nth_element(room.scores, room.scores + (k - 1), room.scores + V, std::greater<>());
    least = room.scores[k - 1];
  }
  Kept kept = {room.candidates, room.candidates};
  for (std::int64_t v = 0; v < V; ++v) {
    const float score = score_of(logits[v]);
    if (score >= least && score > -kInfinity)
      *kept.end++ = {0, score, static_cast<std::int32_t>(v)};
  }
  return kept;
}

// From the least likely on, of equals from the first id on, tokens go while `goes` says so; `keep`
// stay.
template <class Goes>
Kept drop(Kept k, std::int64_t keep, const Goes& goes) {
  std::sort(k.begin, k.end, [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability < b.probability : a.id < b.id;
  });
  while (k.size() > keep && goes(k.begin->probability)) ++k.begin;
  std::sort(k.begin, k.end, [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  return k;
}

// While what is gone holds at most 1 - p.
Kept top_p(Kept k, double p, std::int64_t keep) {
  normalise(k);
  double gone = 0;
  return drop(k, keep, [&](double probability) { return !((gone += probability) > 1 - p); });
}

Kept min_p(Kept k, double p, std::int64_t keep) {
  const double least = p * normalise(k);
  return drop(k, keep, [&](double probability) { return probability < least; });
}

// What temperature, top-k, top-p and min-p leave of a row.
Kept warp(const float* logits, std::int64_t V, const SampleRow& row, const Room& room) {
  Kept kept = top_k(logits, V, ScoreOf(logits, V, row.temperature),
                    row.top_k > 0 ? std::max(row.top_k, row.keep) : 0, room);
  if (row.top_p < 1) kept = top_p(kept, row.top_p, row.keep);
  if (row.min_p > 0) kept = min_p(kept, row.min_p, row.keep);
  return kept;
}

// `likeliest` where rounding leaves the sum below the draw.
std::int32_t draw(Kept k, double uniform, std::int32_t likeliest) {
  normalise(k);
  double sum = 0;
  for (const Candidate* c = k.begin; c != k.end; ++c) {
    sum += c->probability;
    if (uniform < sum) return c->id;
  }
  return likeliest;
}

double log_sum_exp(const float* logits, std::int64_t V, double max) {
  double sum = 0;
  for (std::int64_t v = 0; v < V; ++v) sum += std::exp(logits[v] - max);
  return max + std::log(sum);
}

void check_logits(const char* op, ConstView logits) {
  const auto [N, V] = logits.dims<2>();
  for (std::int64_t n = 0; n < N; ++n) {
    const float* row = logits.as<float>() + n * V;
    const bool finite = std::none_of(row, row + V, [](float x) { return !(x < kInfinity); });
    CHECK(finite && std::any_of(row, row + V, [](float x) { return x > -kInfinity; }),
          "{}: row {} holds a NaN, an infinity or nothing but -inf", op, n);
  }
}

// Rows that a thread of the team takes one after the other.
std::int64_t rows_of_thread(std::int64_t N, int n_threads) {
  return std::max<std::int64_t>((N + n_threads - 1) / n_threads, 1);
}

// body(row, room) for each of N rows of V. One room a thread: a row's result does not depend on
// which it gets.
template <class Body>
void for_each_row(Stream& stream, std::int64_t N, std::int64_t V, const Body& body) {
  const std::int64_t grain = rows_of_thread(N, stream.n_threads()), rooms = (N + grain - 1) / grain;
  auto* memory =
      static_cast<std::byte*>(stream.scratch(cpu::sample_scratch_bytes(N, V, stream.n_threads())));
  auto* candidates = reinterpret_cast<Candidate*>(memory);
  auto* scores =
      reinterpret_cast<float*>(memory + static_cast<std::size_t>(rooms * V) * sizeof(Candidate));
  parallel_for(stream, N, grain, [&](std::int64_t begin, std::int64_t end) {
    const std::int64_t r = begin / grain;
    for (std::int64_t n = begin; n < end; ++n) body(n, Room{scores + r * V, candidates + r * V});
  });
}

}  // namespace

std::size_t sample_scratch_bytes(std::int64_t N, std::int64_t V, int n_threads) {
  const std::int64_t grain = rows_of_thread(N, n_threads), rooms = (N + grain - 1) / grain;
  return static_cast<std::size_t>(rooms * V) * (sizeof(Candidate) + sizeof(float));
}

void sample(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
            Stream& stream) {
  check_logits("sample", logits);
  const auto [N, V] = logits.dims<2>();
  for_each_row(stream, N, V, [&, V = V](std::int64_t n, const Room& room) {
    const float* row = logits.as<float>() + n * V;
    const SampleRow& settings = rows[static_cast<std::size_t>(n)];
    const auto likeliest = static_cast<std::int32_t>(std::max_element(row, row + V) - row);
    const std::int32_t id = settings.greedy
                                ? likeliest
                                : draw(warp(row, V, settings, room), settings.uniform, likeliest);
    ids.as<std::int32_t>()[n] = id;
    if (!logprobs.empty())
      logprobs.as<float>()[n] = static_cast<float>(row[id] - log_sum_exp(row, V, row[likeliest]));
  });
}

void warp_logits(View scores, std::span<const SampleRow> rows, Stream& stream) {
  check_logits("warp_logits", scores);
  const auto [N, V] = scores.dims<2>();
  for_each_row(stream, N, V, [&, V = V](std::int64_t n, const Room& room) {
    float* row = scores.as<float>() + n * V;
    const Kept kept = warp(row, V, rows[static_cast<std::size_t>(n)], room);
    std::fill(row, row + V, -kInfinity);
    for (const Candidate* c = kept.begin; c != kept.end; ++c) row[c->id] = c->score;
  });
}

}  // namespace weft::cpu

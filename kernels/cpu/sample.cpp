// From logits to the next token, step by step as infer/sampler.cpp has it: the same float scores
// and double probabilities, summed in the same order, so that both keep the same tokens.
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"

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

// The scores of at least the k-th; all but -inf where k is 0. Only the k-th is selected: sorting a
// whole vocabulary takes milliseconds.
Kept top_k(const float* logits, std::int64_t V, float temperature, std::int64_t k,
           const Room& room) {
  float least = -kInfinity;
  if (k > 0 && k < V) {
    for (std::int64_t v = 0; v < V; ++v) room.scores[v] = logits[v] / temperature;
    std::nth_element(room.scores, room.scores + (k - 1), room.scores + V, std::greater<>());
    least = room.scores[k - 1];
  }
  Kept kept = {room.candidates, room.candidates};
  for (std::int64_t v = 0; v < V; ++v) {
    const float score = logits[v] / temperature;
    if (score >= least && score > -kInfinity)
      *kept.end++ = {0, score, static_cast<std::int32_t>(v)};
  }
  return kept;
}

// The least likely go, of equals the first ids first, while what is gone holds at most 1 - p; one
// stays.
Kept top_p(Kept k, double p) {
  normalise(k);
  std::sort(k.begin, k.end, [](const Candidate& a, const Candidate& b) {
    return a.probability != b.probability ? a.probability < b.probability : a.id < b.id;
  });
  double gone = 0;
  for (; k.size() > 1; ++k.begin) {
    gone += k.begin->probability;
    if (gone > 1 - p) break;
  }
  std::sort(k.begin, k.end, [](const Candidate& a, const Candidate& b) { return a.id < b.id; });
  return k;
}

Kept min_p(Kept k, double p) {
  const double least = p * normalise(k);
  k.end = std::remove_if(k.begin, k.end, [&](const Candidate& c) { return c.probability < least; });
  return k;
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

std::int32_t choose(const float* logits, std::int64_t V, std::int32_t likeliest,
                    const SampleRow& row, const Room& room) {
  const auto temperature = static_cast<float>(row.temperature);
  // So cold that the scores overflow, only the likeliest is left.
  if (row.greedy || !std::isfinite(logits[likeliest] / temperature)) return likeliest;
  Kept kept = top_k(logits, V, temperature, row.top_k, room);
  if (row.top_p < 1) kept = top_p(kept, row.top_p);
  if (row.min_p > 0) kept = min_p(kept, row.min_p);
  return draw(kept, row.uniform, likeliest);
}

}  // namespace

void sample(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
            Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  for (std::int64_t n = 0; n < N; ++n) {
    const float* row = logits.as<float>() + n * V;
    const bool finite = std::none_of(row, row + V, [](float x) { return !(x < kInfinity); });
    CHECK(finite && std::any_of(row, row + V, [](float x) { return x > -kInfinity; }),
          "sample: row {} holds a NaN, an infinity or nothing but -inf", n);
  }
  // One room a thread: a row's result does not depend on which it gets.
  const std::int64_t grain = std::max<std::int64_t>(
                         (N + stream.n_threads() - 1) / stream.n_threads(), 1),
                     rooms = (N + grain - 1) / grain;
  auto* memory = static_cast<std::byte*>(
      stream.scratch(static_cast<std::size_t>(rooms * V) * (sizeof(Candidate) + sizeof(float))));
  parallel_for(stream, N, grain, [&, V = V](std::int64_t begin, std::int64_t end) {
    const std::int64_t r = begin / grain;
    const Room room = {
        reinterpret_cast<float*>(memory + static_cast<std::size_t>(rooms * V) * sizeof(Candidate)) +
            r * V,
        reinterpret_cast<Candidate*>(memory) + r * V};
    for (std::int64_t n = begin; n < end; ++n) {
      const float* row = logits.as<float>() + n * V;
      const auto likeliest = static_cast<std::int32_t>(std::max_element(row, row + V) - row);
      const std::int32_t id = choose(row, V, likeliest, rows[static_cast<std::size_t>(n)], room);
      ids.as<std::int32_t>()[n] = id;
      if (!logprobs.empty())
        logprobs.as<float>()[n] = static_cast<float>(row[id] - log_sum_exp(row, V, row[likeliest]));
    }
  });
}

}  // namespace weft::cpu

#include <algorithm>
#include <cstdint>

#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/logits_row.cuh"
#include "kernels/ops.h"

// One block draws one row's token. What it adds up are integers, tokens' probabilities relative to
// the likeliest in steps of 2^-42: such sums are exact, so the choice depends neither on the order
// of threads nor on where in a batch the row lies. (A token less likely than 2^-43 of the likeliest
// is never drawn.) Thresholds are found by radix selection over the bits of the scores, not by
// sorting: a histogram over the upper 11 bits, one over the next 11 of those in the bin that
// matters, one over the last 10.
namespace weft::cuda {
namespace {

using Mass = unsigned long long;
constexpr int kBins = 2048, kMassBits = 42;
constexpr std::int64_t kMaxVocabulary = std::int64_t{1} << 20;  // so that Σ mass stays below 2^62

// Unsigned integers in the order of floats; both zeros are one.
__device__ __forceinline__ unsigned order_key(float x) {
  const unsigned bits = __float_as_uint(x + 0.0f);
  return bits >> 31 ? ~bits : bits | 0x80000000u;
}
__device__ __forceinline__ float from_key(unsigned key) {
  return __uint_as_float(key >> 31 ? key & 0x7FFFFFFFu : ~key);
}

// A search's result: the first index at which the running sum exceeds the target.
struct Found {
  Mass total, target, before;  // of everything; what was looked for; the sum before the index
  int index;
};

struct Best {
  float logit;
  int id;
};

// Shared memory: n entries, as two words each because 64-bit atomics there are loops; then a
// result.
struct Entries {
  unsigned *low, *high;  // (n)
  int n;
  Found* found;
  __device__ __forceinline__ Mass at(int i) const {
    return static_cast<Mass>(high[i]) << 32 | low[i];
  }
  __device__ __forceinline__ void set(int i, Mass x) const {
    low[i] = static_cast<unsigned>(x);
    high[i] = static_cast<unsigned>(x >> 32);
  }
  __device__ __forceinline__ void add(int i, Mass x) const {
    const unsigned part = static_cast<unsigned>(x), old = atomicAdd(&low[i], part);
    const unsigned rest = static_cast<unsigned>(x >> 32) + (old + part < old ? 1u : 0u);
    if (rest != 0) atomicAdd(&high[i], rest);
  }
};

// What elements weigh in a sum.
struct CountAll {
  __device__ __forceinline__ Mass operator()(float, int) const { return 1; }
};
struct CountEqual {
  unsigned key;
  __device__ __forceinline__ Mass operator()(float score, int) const {
    return order_key(score) == key ? 1 : 0;
  }
};
struct TokenMass {
  float max;           // score
  unsigned floor_key;  // smaller scores are out …
  int floor_cut;       // … and of those equal to it, ids up to this one
  double min_p;
  __device__ __forceinline__ Mass operator()(float score, int id) const {
    const unsigned key = order_key(score);
    if (key < floor_key || (key == floor_key && id <= floor_cut)) return 0;
    const double x = static_cast<double>(score) - static_cast<double>(max);
    if (!(x > -30)) return 0;  // exp(-30) is below half a step
    const double p = exp(x);
    return p < min_p ? 0 : static_cast<Mass>(p * static_cast<double>(Mass{1} << kMassBits) + 0.5);
  }
};

// A row's scores, logit/temperature in fp32 as on the CPU: rounding may make equals of neighbours.
// NaN is never chosen.
template <class T>
struct Scores {
  static constexpr int kPack = LogitsRow<const T>::kPack;
  LogitsRow<const T> row;
  float temperature;
  __device__ __forceinline__ void load(float (&x)[kPack], int pack) const {
    row.load(x, pack);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      if (temperature != 1) x[i] /= temperature;
      if (!(x[i] == x[i])) x[i] = kMinusInfinity;
    }
  }
  __device__ __forceinline__ int column(int pack) const { return row.column(pack); }
  __device__ __forceinline__ int packs() const { return row.packs; }
};

__device__ __forceinline__ Mass warp_total(Mass x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kFullWarp, x, lanes);
  return x;
}

__device__ __forceinline__ Mass warp_inclusive(Mass x) {
  const int lane = static_cast<int>(threadIdx.x) % 32;
#pragma unroll
  for (int step = 1; step < 32; step *= 2) {
    const Mass other = __shfl_up_sync(kFullWarp, x, step);
    if (lane >= step) x += other;
  }
  return x;
}

// Where the running sum over entries[0 … n) first exceeds `target`; or, where share >= 0, that
// share of the total. Every thread calls and gets the result. One warp does it: each lane adds up a
// stretch of entries, the lane that crosses the target walks its own.
__device__ Found search(const Entries& entries, int n, double share, Mass target) {
  __syncthreads();
  if (threadIdx.x < 32) {
    const int lane = static_cast<int>(threadIdx.x), stretch = (n + 31) / 32, begin = lane * stretch;
    Mass sum = 0;
    for (int i = 0, k = lane % stretch; i < stretch;
         ++i, k = k + 1 == stretch ? 0 : k + 1)  // lanes start apart: other banks
      if (begin + k < n) sum += entries.at(begin + k);
    const Mass inclusive = warp_inclusive(sum), total = __shfl_sync(kFullWarp, inclusive, 31);
    if (share >= 0) {
      target = static_cast<Mass>(share * static_cast<double>(total));
      if (target >= total) target = total == 0 ? 0 : total - 1;
    }
    const unsigned over = __ballot_sync(kFullWarp, inclusive > target);
    if (lane == (over == 0 ? 31 : __ffs(static_cast<int>(over)) - 1)) {
      Mass before = inclusive - sum;
      int i = begin;
      for (; i < min(n, begin + stretch) - 1 && before + entries.at(i) <= target; ++i)
        before += entries.at(i);
      *entries.found = {total, target, before, min(i, n - 1)};
    }
  }
  __syncthreads();
  const Found found = *entries.found;
  __syncthreads();
  return found;
}

// entries[bin] = Σ weight over the scores whose key has `prefix` in its upper bits (those above
// shift + bits), bin = the next `bits`.
template <class T, class Weight>
__device__ void histogram(const Entries& entries, const Scores<T>& row, const Weight& weight,
                          unsigned prefix, int shift, int bits) {
  constexpr int kPack = Scores<T>::kPack;
  for (int i = static_cast<int>(threadIdx.x); i < kBins; i += static_cast<int>(blockDim.x))
    entries.set(i, 0);
  __syncthreads();
  for (int p = static_cast<int>(threadIdx.x); p < row.packs(); p += static_cast<int>(blockDim.x)) {
    float x[kPack];
    row.load(x, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      const unsigned key = order_key(x[i]);
      if (shift + bits < 32 && key >> (shift + bits) != prefix) continue;
      const Mass w = weight(x[i], row.column(p) + i);
      if (w != 0) entries.add(static_cast<int>(key >> shift & ((1u << bits) - 1)), w);
    }
  }
}

// The score at which the running sum of weights, in ascending order of scores, first exceeds the
// target (or the share of the total).
struct Selected {
  unsigned key;
  Mass rest;  // target less the weight of all smaller scores
};
template <class T, class Weight>
__device__ Selected select(const Entries& entries, const Scores<T>& row, const Weight& weight,
                           double share, Mass target) {
  Found found = {};
  unsigned key = 0;
  int shift = 32;
  for (int bits = 11; shift > 0; bits = shift < 11 ? shift : 11) {
    shift -= bits;
    histogram(entries, row, weight, key, shift, bits);
    found = search(entries, 1 << bits, share, target);
    key = key << bits | static_cast<unsigned>(found.index);
    target = found.target - found.before;
    share = -1;
  }
  return {key, target};
}

// The first id at which the running sum of weights, in the order of ids, exceeds the target (or the
// share of the total); -1 where the total is 0. A chunk is what a warp reads at once.
template <class T, class Weight>
__device__ int locate(const Entries& entries, const Scores<T>& row, const Weight& weight,
                      double share, Mass target) {
  constexpr int kPack = Scores<T>::kPack;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps = static_cast<int>(blockDim.x) / 32;
  const int chunks = (row.packs() + 31) / 32;
  float x[kPack];
  for (int chunk = warp; chunk < chunks; chunk += warps) {
    row.load(x, chunk * 32 + lane);
    Mass sum = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) sum += weight(x[i], row.column(chunk * 32 + lane) + i);
    if (__any_sync(kFullWarp, sum != 0)) sum = warp_total(sum);
    if (lane == 0) entries.set(chunk, sum);
  }
  const Found found = search(entries, chunks, share, target);
  if (found.total == 0) return -1;
  if (warp == 0) {
    const int first = row.column(found.index * 32 + lane);
    row.load(x, found.index * 32 + lane);
    Mass sum = 0;
#pragma unroll
    for (int i = 0; i < kPack; ++i) sum += weight(x[i], first + i);
    const Mass inclusive = found.before + warp_inclusive(sum);
    const unsigned over = __ballot_sync(kFullWarp, inclusive > found.target);
    if (over != 0 && lane == __ffs(static_cast<int>(over)) - 1) {
      Mass running = inclusive - sum;
      int id = -1;
#pragma unroll
      for (int i = 0; i < kPack; ++i) {
        running += weight(x[i], first + i);
        if (id < 0 && running > found.target) id = first + i;
      }
      entries.found->index = id;
    }
  }
  __syncthreads();
  const int id = entries.found->index;
  __syncthreads();
  return id;
}

__device__ __forceinline__ Best better(const Best& a, const Best& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.id <= b.id) ? a : b;
}

__device__ __forceinline__ Best warp_best(Best best) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Best other = {__shfl_xor_sync(kFullWarp, best.logit, lanes),
                        __shfl_xor_sync(kFullWarp, best.id, lanes)};
    best = better(best, other);
  }
  return best;
}

// The largest logit and the first id that has it; of nothing but -inf, id 0.
template <class T>
__device__ Best likeliest(const Scores<T>& row, Best* shared) {
  constexpr int kPack = Scores<T>::kPack;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps = static_cast<int>(blockDim.x) / 32;
  Best best = {kMinusInfinity, 0};
  for (int p = static_cast<int>(threadIdx.x); p < row.packs(); p += static_cast<int>(blockDim.x)) {
    float x[kPack];
    row.load(x, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (x[i] > best.logit) best = {x[i], row.column(p) + i};
  }
  best = warp_best(best);
  if (lane == 0) shared[warp] = best;
  __syncthreads();
  best = warp_best(shared[lane < warps ? lane : 0]);
  __syncthreads();
  return best;
}

// log Σ exp(logit - max) of the raw logits.
template <class T>
__device__ float log_sum(const Scores<T>& row, float max, Mass* shared) {
  constexpr int kPack = Scores<T>::kPack;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps = static_cast<int>(blockDim.x) / 32;
  constexpr float kUnit = static_cast<float>(Mass{1} << kMassBits);
  Mass sum = 0;
  for (int p = static_cast<int>(threadIdx.x); p < row.packs(); p += static_cast<int>(blockDim.x)) {
    float x[kPack];
    row.load(x, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (x[i] > kMinusInfinity)
        sum += static_cast<Mass>((x[i] == max ? 1.0f : expf(x[i] - max)) * kUnit);
  }
  sum = warp_total(sum);
  if (lane == 0) shared[warp] = sum;
  __syncthreads();
  sum = warp_total(lane < warps ? shared[lane] : 0);
  __syncthreads();
  return static_cast<float>(
      log(static_cast<double>(sum) / static_cast<double>(Mass{1} << kMassBits)));
}

}  // namespace

template <class T>
__global__ void __launch_bounds__(1024) sample_kernel(int* __restrict__ ids,         // (N)
                                                      float* __restrict__ logprobs,  // (N), or null
                                                      const T* __restrict__ logits,  // (N, V)
                                                      const SampleRow* __restrict__ rows,  // (N)
                                                      int V, int n_entries) {
  auto* shared = shared_memory<unsigned>();
  const Entries entries = {shared, shared + n_entries, n_entries,
                           reinterpret_cast<Found*>(shared + 2 * n_entries)};
  const long long n = blockIdx.x;
  const SampleRow settings = rows[n];
  const Scores<T> raw = {LogitsRow<const T>(logits + n * V, V), 1};
  const Best best = likeliest(raw, reinterpret_cast<Best*>(shared));
  int id = best.id;
  const Scores<T> row = {raw.row, static_cast<float>(settings.temperature)};
  const float max = best.logit / row.temperature;
  // So cold that the scores overflow, only the likeliest is left.
  if (!settings.greedy && max > kMinusInfinity && max < -kMinusInfinity) {
    TokenMass mass = {max, 0, -1, 0};
    if (settings.top_k > 0 && settings.top_k < V) {
      // Counted from below, with what sticks out of the row (-inf) counted too: the k-th from
      // above.
      const Mass counted = static_cast<Mass>(row.packs()) * Scores<T>::kPack;
      mass.floor_key =
          select(entries, row, CountAll(), -1, counted - static_cast<Mass>(settings.top_k)).key;
    }
    if (settings.top_p < 1) {
      const Selected last = select(entries, row, mass, 1 - settings.top_p, 0);
      const Mass each =
          mass(from_key(last.key), V);           // not 0: the running sum exceeded its target there
      const Mass equals_out = last.rest / each;  // so many of those equal to the threshold
      if (equals_out > 0)
        mass.floor_cut = locate(entries, row, CountEqual{last.key}, -1, equals_out - 1);
      mass.floor_key = last.key;
    }
    mass.min_p = settings.min_p;
    const int drawn = locate(entries, row, mass, settings.uniform, 0);
    if (drawn >= 0) id = drawn;
  }
  float logprob = 0;
  if (logprobs)
    logprob = widen(raw.row.row[id]) - best.logit -
              log_sum(raw, best.logit, reinterpret_cast<Mass*>(shared));
  if (threadIdx.x != 0) return;
  ids[n] = id;
  if (logprobs) logprobs[n] = logprob;
}

namespace {

template <class T>
void sample_of(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
               Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  auto* settings = static_cast<SampleRow*>(stream.scratch(rows.size_bytes()));
  copy_bytes(settings, rows.data(), rows.size_bytes(), stream);
  constexpr std::int64_t kPack = 16 / static_cast<std::int64_t>(sizeof(T));
  const std::int64_t packs = ceil_div(V, kPack) + 1;  // one more where the row begins inside of one
  const std::int64_t n_entries = std::max<std::int64_t>(kBins, ceil_div(packs, 64) * 2);
  const auto threads =
      static_cast<unsigned>(std::min<std::int64_t>(1024, ceil_div(packs, 32) * 32));
  const auto elems = static_cast<double>(N * V);
  launch(
      sample_kernel<T>,
      {static_cast<unsigned>(N), threads, static_cast<std::size_t>(n_entries) * 8 + sizeof(Found)},
      {elems * sizeof(T) + 8.0 * static_cast<double>(N), elems}, stream, ids.as<std::int32_t>(),
      logprobs.empty() ? nullptr : logprobs.as<float>(), static_cast<const T*>(logits.data()),
      settings, static_cast<int>(V), static_cast<int>(n_entries));
}

}  // namespace

void sample(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
            Stream& stream) {
  if (rows.empty()) return;
  CHECK(logits.dim(1) <= kMaxVocabulary, "sample: a vocabulary of {} on a GPU; supported: up to {}",
        logits.dim(1), kMaxVocabulary);
  if (logits.dtype() == DType::f32)
    sample_of<float>(ids, logprobs, logits, rows, stream);
  else
    sample_of<__nv_bfloat16>(ids, logprobs, logits, rows, stream);
}

}  // namespace weft::cuda

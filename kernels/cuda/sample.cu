#include <algorithm>
#include <cstdint>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/logits_row.cuh"
#include "kernels/cuda/upload_ring.h"
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

constexpr float kLimit = 3.40282346638528859812e38f;

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
  float least;  // of all finite logits and 0
};

// Tokens below it are out: those of smaller scores and, of those equal to it, ids up to `cut`.
struct Threshold {
  unsigned key = 0;
  int cut = -1;
  __device__ __forceinline__ bool is_above(unsigned score, int id) const {
    return score < key || (score == key && id <= cut);
  }
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
  float max;  // score
  Threshold floor;
  double min_p;
  Threshold min_p_floor;  // what is not below it stays whatever min_p says
  __device__ __forceinline__ Mass operator()(float score, int id) const {
    const unsigned key = order_key(score);
    if (floor.is_above(key, id)) return 0;
    const double x = static_cast<double>(score) - static_cast<double>(max);
    if (!(x > -30)) return 0;  // exp(-30) is below half a step
    const double p = exp(x);
    return p < min_p && min_p_floor.is_above(key, id)
               ? 0
               : static_cast<Mass>(p * static_cast<double>(Mass{1} << kMassBits) + 0.5);
  }
  // Whether it is left, however little it weighs.
  __device__ __forceinline__ bool keeps(float score, int id) const {
    const unsigned key = order_key(score);
    return !floor.is_above(key, id) &&
           (!min_p_floor.is_above(key, id) ||
            exp(static_cast<double>(score) - static_cast<double>(max)) >= min_p);
  }
};

// A row's scores as on the CPU: logit/temperature in fp32, where rounding may make equals of
// neighbours; distances from the likeliest over it where that would overflow. NaN is never chosen.
template <class T>
struct Scores {
  static constexpr int kPack = LogitsRow<const T>::kPack;
  LogitsRow<const T> row;
  float temperature;
  bool overflows;
  float most;  // logit
  __device__ __forceinline__ explicit Scores(LogitsRow<const T> raw)
      : row(raw), temperature(1), overflows(false), most(0) {}
  __device__ __forceinline__ Scores(LogitsRow<const T> raw, const Best& best, double divisor)
      : row(raw),
        temperature(static_cast<float>(divisor)),
        overflows(!(fmaxf(-best.least, best.logit) / temperature <= kLimit)),
        most(best.logit) {}
  __device__ __forceinline__ float of(float logit) const {
    if (!(logit > kMinusInfinity)) return kMinusInfinity;
    if (temperature == 1) return logit;
    if (!overflows) return logit / temperature;
    return logit == most ? 0 : fmaxf((logit - most) / temperature, -kLimit);
  }
  __device__ __forceinline__ void load(float (&x)[kPack], int pack) const {
    row.load(x, pack);
#pragma unroll
    for (int i = 0; i < kPack; ++i) x[i] = of(x[i]);
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
  const bool first = a.logit > b.logit || (a.logit == b.logit && a.id <= b.id);
  return {first ? a.logit : b.logit, first ? a.id : b.id, fminf(a.least, b.least)};
}

__device__ __forceinline__ Best warp_best(Best best) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const Best other = {__shfl_xor_sync(kFullWarp, best.logit, lanes),
                        __shfl_xor_sync(kFullWarp, best.id, lanes),
                        __shfl_xor_sync(kFullWarp, best.least, lanes)};
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
  Best best = {kMinusInfinity, 0, 0};
  for (int p = static_cast<int>(threadIdx.x); p < row.packs(); p += static_cast<int>(blockDim.x)) {
    float x[kPack];
    row.load(x, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i) {
      if (x[i] > best.logit) best = {x[i], row.column(p) + i, best.least};
      if (x[i] > kMinusInfinity) best.least = fminf(best.least, x[i]);
    }
  }
  best = warp_best(best);
  if (lane == 0) shared[warp] = best;
  __syncthreads();
  best = warp_best(shared[lane < warps ? lane : 0]);
  __syncthreads();
  return best;
}

// The keep-th of the likeliest (of equals the last ids come first) stays, and what is likelier.
template <class T>
__device__ Threshold threshold_of_best(const Entries& entries, const Scores<T>& row, int V,
                                       std::int64_t keep) {
  if (keep >= V) return {};
  const Mass counted = static_cast<Mass>(row.packs()) * Scores<T>::kPack;
  const Selected last = select(entries, row, CountAll(), -1, counted - static_cast<Mass>(keep));
  if (last.key == order_key(kMinusInfinity)) return {};  // all that is above -inf
  if (last.rest == 0) return {last.key, -1};
  return {last.key, locate(entries, row, CountEqual{last.key}, -1, last.rest - 1)};
}

// What temperature, top-k, top-p and min-p leave of a row, and how likely each of it is.
template <class T>
__device__ TokenMass warped(const Entries& entries, const Scores<T>& row, const SampleRow& settings,
                            float max, int V) {
  TokenMass mass = {max, {}, 0, {~0u, V}};
  const std::int64_t top_k = settings.top_k > settings.keep ? settings.top_k : settings.keep;
  if (settings.top_k > 0 && top_k < V) {
    // Counted from below, with what sticks out of the row (-inf) counted too: the k-th from above.
    const Mass counted = static_cast<Mass>(row.packs()) * Scores<T>::kPack;
    mass.floor.key = select(entries, row, CountAll(), -1, counted - static_cast<Mass>(top_k)).key;
  }
  const bool cuts = settings.top_p < 1 || settings.min_p > 0;
  const Threshold best =
      settings.keep > 1 && cuts ? threshold_of_best(entries, row, V, settings.keep) : Threshold{};
  if (settings.top_p < 1) {
    const Selected last = select(entries, row, mass, 1 - settings.top_p, 0);
    const Mass each =
        mass(from_key(last.key), V);           // not 0: the running sum exceeded its target there
    const Mass equals_out = last.rest / each;  // so many of those equal to the threshold
    mass.floor = {last.key, -1};
    if (equals_out > 0)
      mass.floor.cut = locate(entries, row, CountEqual{last.key}, -1, equals_out - 1);
    if (settings.keep > 1 && !best.is_above(mass.floor.key, mass.floor.cut)) mass.floor = best;
  }
  mass.min_p = settings.min_p;
  if (settings.keep > 1) mass.min_p_floor = best;
  return mass;
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
  const Scores<T> raw(LogitsRow<const T>(logits + n * V, V));
  const Best best = likeliest(raw, reinterpret_cast<Best*>(shared));
  int id = best.id;
  if (!settings.greedy && best.logit > kMinusInfinity) {
    const Scores<T> row(raw.row, best, settings.temperature);
    const TokenMass mass = warped(entries, row, settings, row.of(best.logit), V);
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

__global__ void __launch_bounds__(1024)
    warp_logits_kernel(float* scores,                       // (N, V)
                       const SampleRow* __restrict__ rows,  // (N)
                       int V, int n_entries) {
  constexpr int kPack = Scores<float>::kPack;
  auto* shared = shared_memory<unsigned>();
  const Entries entries = {shared, shared + n_entries, n_entries,
                           reinterpret_cast<Found*>(shared + 2 * n_entries)};
  const long long n = blockIdx.x;
  const SampleRow settings = rows[n];
  const LogitsRow<float> out(scores + n * V, V);
  const Scores<float> raw(LogitsRow<const float>(scores + n * V, V));
  const Best best = likeliest(raw, reinterpret_cast<Best*>(shared));
  if (!(best.logit > kMinusInfinity)) return;  // nothing is left; the whole block agrees
  const Scores<float> row(raw.row, best, settings.temperature);
  const TokenMass mass = warped(entries, row, settings, row.of(best.logit), V);
  for (int p = static_cast<int>(threadIdx.x); p < row.packs(); p += static_cast<int>(blockDim.x)) {
    float x[kPack];
    row.load(x, p);
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (!mass.keeps(x[i], row.column(p) + i)) x[i] = kMinusInfinity;
    out.store(x, p);
  }
}

namespace {

// A block a row of V elements of `pack` to 16 bytes.
struct Blocks {
  std::int64_t packs, n_entries;
  Blocks(const char* op, std::int64_t V, std::int64_t pack)
      : packs(ceil_div(V, pack) + 1),  // one more where the row begins inside of one
        n_entries(std::max<std::int64_t>(kBins, ceil_div(packs, 64) * 2)) {
    CHECK(V <= kMaxVocabulary, "{}: a vocabulary of {} on a GPU; supported: up to {}", op, V,
          kMaxVocabulary);
  }
  LaunchShape shape(std::int64_t N) const {
    return {n_blocks(N),
            static_cast<unsigned>(std::min<std::int64_t>(1024, ceil_div(packs, 32) * 32)),
            static_cast<std::size_t>(n_entries) * 8 + sizeof(Found)};
  }
};

template <class T>
void sample_of(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
               Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  const Blocks blocks("sample", V, 16 / static_cast<std::int64_t>(sizeof(T)));
  const auto elems = static_cast<double>(N * V);
  launch(sample_kernel<T>, blocks.shape(N),
         {elems * sizeof(T) + 8.0 * static_cast<double>(N), elems}, stream,
         pointer<std::int32_t>(ids), logprobs.empty() ? nullptr : pointer<float>(logprobs),
         static_cast<const T*>(logits.data()), uploaded(rows, stream), as_int(V),
         static_cast<int>(blocks.n_entries));
}

}  // namespace

void sample(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
            Stream& stream) {
  if (rows.empty()) return;
  if (logits.dtype() == DType::f32)
    sample_of<float>(ids, logprobs, logits, rows, stream);
  else
    sample_of<__nv_bfloat16>(ids, logprobs, logits, rows, stream);
}

void warp_logits(View scores, std::span<const SampleRow> rows, Stream& stream) {
  if (rows.empty()) return;
  const auto [N, V] = scores.dims<2>();
  const Blocks blocks("warp_logits", V, 4);
  const auto elems = static_cast<double>(N * V);
  launch(warp_logits_kernel, blocks.shape(N), {2 * elems * 4, elems}, stream,
         pointer<float>(scores), uploaded(rows, stream), as_int(V),
         static_cast<int>(blocks.n_entries));
}

}  // namespace weft::cuda

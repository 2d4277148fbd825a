#include <algorithm>
#include <cstdint>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace weft::cuda {

// A block a row.
template <class T, class W, int kWidth>
__global__ void __launch_bounds__(256)
    embedding_kernel(T* __restrict__ y,            // (N, C)
                     const int* __restrict__ ids,  // (N)
                     const W* __restrict__ table,  // (V_tp, C)
                     long long first_row, long long V, int C, bool accumulate) {
  const long long n = blockIdx.x, row = ids[n] - first_row;
  const bool here = row >= 0 && row < V;
  if (!here && accumulate) return;
  for (int c = static_cast<int>(threadIdx.x) * kWidth; c < C;
       c += static_cast<int>(blockDim.x) * kWidth) {
    auto* to = reinterpret_cast<Pack<T, kWidth>*>(y + n * C + c);
    Pack<T, kWidth> out;
    if (accumulate) out = *to;
    Pack<W, kWidth> in;
    if (here) in = *reinterpret_cast<const Pack<W, kWidth>*>(table + row * C + c);
#pragma unroll
    for (int i = 0; i < kWidth; ++i) {
      const float x = here ? widen(in.e[i]) : 0.0f;
      out.e[i] = narrow<T>(accumulate ? widen(out.e[i]) + x : x);
    }
    *to = out;
  }
}

// ---- backward

// Rows of dy are first put in the order of (row of the table, n) by a stable radix sort, 8 bits a
// pass, least significant first. A pass is two launches: every tile counts its digits, then every
// tile adds up what lies before each of its elements and moves them there. Tokens outside the shard
// have the key V_tp and end up last.
constexpr int kDigits = 256, kSortWarps = 8, kSortThreads = 32 * kSortWarps, kTile = 4096,
              kWarpTile = kTile / kSortWarps;

struct SortPass {
  const int* ids;           // (N) the first pass reads these; null in later ones
  const unsigned* keys_in;  // (N)
  const int* order_in;      // (N)
  unsigned* keys_out;       // (N)
  int* order_out;           // (N)
  int* counts;              // (tiles, kDigits)
  long long first_row, V;
  int N, shift;
};

namespace {

__device__ __forceinline__ unsigned sort_key(const SortPass& pass, int n) {
  if (!pass.ids) return pass.keys_in[n];
  const long long row = pass.ids[n] - pass.first_row;
  return static_cast<unsigned>(row >= 0 && row < pass.V ? row : pass.V);
}

// The digits of this warp's part of the tile: counts (kDigits) of the warp in shared memory, zeroed
// and filled.
__device__ void count_digits(int* counts, const SortPass& pass) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  for (int d = lane; d < kDigits; d += 32) counts[d] = 0;
  __syncwarp(kFullWarp);
  const int begin = static_cast<int>(blockIdx.x) * kTile + warp * kWarpTile,
            end = min(pass.N, begin + kWarpTile);
  for (int n = begin + lane; n < end; n += 32)
    atomicAdd(&counts[sort_key(pass, n) >> pass.shift & (kDigits - 1)], 1);
}

}  // namespace

__global__ void __launch_bounds__(kSortThreads) sort_count_kernel(SortPass pass) {
  int* counts = shared_memory<int>();  // (kSortWarps, kDigits)
  const int thread = static_cast<int>(threadIdx.x);
  count_digits(counts + thread / 32 * kDigits, pass);
  __syncthreads();
  int sum = 0;  // of the digit `thread`
  for (int w = 0; w < kSortWarps; ++w) sum += counts[w * kDigits + thread];
  pass.counts[blockIdx.x * kDigits + thread] = sum;
}

__global__ void __launch_bounds__(kSortThreads) sort_move_kernel(SortPass pass) {
  int* next =
      shared_memory<int>();  // (kSortWarps, kDigits): where a warp's next element of a digit goes
  int* warp_sums = next + kSortWarps * kDigits;  // (kSortWarps)
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  count_digits(next + warp * kDigits, pass);

  // Thread d: all elements of digit d, and those of them in earlier tiles.
  int total = 0, before = 0;
  for (unsigned tile = 0; tile < gridDim.x; ++tile) {
    const int count = pass.counts[tile * kDigits + thread];
    if (tile < blockIdx.x) before += count;
    total += count;
  }
  int inclusive = total;
  for (int step = 1; step < 32; step *= 2) {
    const int other = __shfl_up_sync(kFullWarp, inclusive, step);
    if (lane >= step) inclusive += other;
  }
  if (lane == 31) warp_sums[warp] = inclusive;
  __syncthreads();
  int at = inclusive - total + before;  // smaller digits, then the same digit in earlier tiles
  for (int w = 0; w < warp; ++w) at += warp_sums[w];
  for (int w = 0; w < kSortWarps; ++w) {
    const int count = next[w * kDigits + thread];
    next[w * kDigits + thread] = at;
    at += count;
  }
  __syncthreads();

  int* own = next + warp * kDigits;
  const int begin = static_cast<int>(blockIdx.x) * kTile + warp * kWarpTile,
            end = min(pass.N, begin + kWarpTile);
  for (int first = begin; first < end; first += 32) {  // the same for all lanes
    const int n = first + lane;
    const bool live = n < end;
    const unsigned key = live ? sort_key(pass, n) : 0, digit = key >> pass.shift & (kDigits - 1);
    unsigned same = __ballot_sync(kFullWarp, live);  // the lanes of the same digit
#pragma unroll
    for (int bit = 0; bit < 8; ++bit) {
      const unsigned set = __ballot_sync(kFullWarp, digit >> bit & 1);
      same &= (digit >> bit & 1) ? set : ~set;
    }
    const int earlier = __popc(same & ((1u << lane) - 1));
    const int base = live ? own[digit] : 0;
    __syncwarp(kFullWarp);
    if (live && earlier == 0) own[digit] = base + __popc(same);
    __syncwarp(kFullWarp);
    if (!live) continue;
    pass.keys_out[base + earlier] = key;
    pass.order_out[base + earlier] = pass.ids ? n : pass.order_in[n];
  }
}

// A warp for each place of the sorted order and each 32·kWidth columns; the first place of a run of
// equal rows does the work. Indices of the run are fetched 32 at a time, and of those kInFlight
// rows of dy, which are then added in order.
template <class T, int kWidth>
__global__ void __launch_bounds__(256, 4)
    embedding_backward_kernel(float* __restrict__ dtable,         // (V_tp, C)
                              const T* __restrict__ dy,           // (N, C)
                              const unsigned* __restrict__ keys,  // (N) sorted
                              const int* __restrict__ order,      // (N)
                              long long V, int N, int C) {
  constexpr int kInFlight = 8;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int place = static_cast<int>(blockIdx.x * (blockDim.x / 32) + threadIdx.x / 32);
  if (place >= N) return;
  const unsigned key = keys[place];
  if (key >= V || (place > 0 && keys[place - 1] == key)) return;  // the same for the whole warp
  const int c = (static_cast<int>(blockIdx.y) * 32 + lane) * kWidth;
  const bool live = c < C;
  auto* to = reinterpret_cast<Pack<float, kWidth>*>(dtable + static_cast<long long>(key) * C + c);
  Pack<float, kWidth> sum = {};
  if (live) sum = *to;
  for (int first = place;; first += 32) {
    const int at = first + lane;
    const bool mine = at < N && keys[at] == key;
    const int n = mine ? order[at] : 0;
    const int count = __popc(__ballot_sync(kFullWarp, mine));
    for (int r = 0; r < count; r += kInFlight) {
      Pack<T, kWidth> rows[kInFlight];
#pragma unroll
      for (int i = 0; i < kInFlight; ++i) {
        const long long from = __shfl_sync(kFullWarp, n, (r + i) % 32);
        if (live && r + i < count)
          rows[i] = *reinterpret_cast<const Pack<T, kWidth>*>(dy + from * C + c);
      }
#pragma unroll
      for (int i = 0; i < kInFlight; ++i)
        if (live && r + i < count)
#pragma unroll
          for (int k = 0; k < kWidth; ++k) sum.e[k] += widen(rows[i].e[k]);
    }
    if (count < 32) break;
  }
  if (live) *to = sum;
}

namespace {

template <class T, class W, int kWidth>
void launch_embedding(View y, ConstView ids, ConstView table, std::int64_t first_row,
                      bool accumulate, Stream& stream) {
  const auto [N, C] = y.dims<2>();
  const auto threads =
      static_cast<unsigned>(std::min<std::int64_t>(256, ceil_div(ceil_div(C, kWidth), 32) * 32));
  const double bytes = static_cast<double>(N * C) *
                           static_cast<double>(sizeof(W) + sizeof(T) * (accumulate ? 2 : 1)) +
                       4.0 * static_cast<double>(N);
  launch(embedding_kernel<T, W, kWidth>, {n_blocks(N), threads},
         {bytes, accumulate ? static_cast<double>(N * C) : 0}, stream, static_cast<T*>(y.data()),
         pointer<std::int32_t>(ids), static_cast<const W*>(table.data()), first_row, table.dim(0),
         as_int(C), accumulate);
}

template <class T, class W>
void choose_width(View y, ConstView ids, ConstView table, std::int64_t first_row, bool accumulate,
                  Stream& stream) {
  if (y.dim(1) % 8 == 0 && aligned(y.data(), table.data()))
    launch_embedding<T, W, 8>(y, ids, table, first_row, accumulate, stream);
  else
    launch_embedding<T, W, 1>(y, ids, table, first_row, accumulate, stream);
}

template <class T>
void choose_table(View y, ConstView ids, ConstView table, std::int64_t first_row, bool accumulate,
                  Stream& stream) {
  if (table.dtype() == DType::f32)
    choose_width<T, float>(y, ids, table, first_row, accumulate, stream);
  else if (table.dtype() == DType::bf16)
    choose_width<T, __nv_bfloat16>(y, ids, table, first_row, accumulate, stream);
  else
    choose_width<T, __half>(y, ids, table, first_row, accumulate, stream);
}

struct SortedRows {
  const unsigned* keys;
  const int* order;
};

std::int64_t padded_rows(std::int64_t N) { return ceil_div(N, 16) * 16; }  // 64-byte pieces

SortedRows sort_rows(ConstView ids, std::int64_t first_row, std::int64_t V, Stream& stream) {
  const std::int64_t N = ids.elems(), tiles = ceil_div(N, kTile), padded = padded_rows(N);
  auto* scratch = static_cast<unsigned*>(stream.scratch(embedding_backward_scratch_bytes(N)));
  unsigned* keys[2] = {scratch, scratch + padded};
  int* order[2] = {reinterpret_cast<int*>(scratch + 2 * padded),
                   reinterpret_cast<int*>(scratch + 3 * padded)};
  SortPass pass = {};
  pass.ids = pointer<std::int32_t>(ids);
  pass.counts = reinterpret_cast<int*>(scratch + 4 * padded);
  pass.first_row = first_row;
  pass.V = V;
  pass.N = as_int(N);
  int to = 0;
  for (; pass.shift == 0 || (V >> pass.shift) != 0; pass.shift += 8, to ^= 1) {  // keys go up to V
    pass.keys_out = keys[to];
    pass.order_out = order[to];
    const double moved = static_cast<double>(N) * (pass.ids ? 12 : 16);
    launch(sort_count_kernel,
           {static_cast<unsigned>(tiles), kSortThreads, kSortWarps * kDigits * sizeof(int)},
           {4.0 * static_cast<double>(N), 0}, stream, pass);
    launch(sort_move_kernel,
           {static_cast<unsigned>(tiles), kSortThreads,
            (kSortWarps * kDigits + kSortWarps) * sizeof(int)},
           {moved, 0}, stream, pass);
    pass.ids = nullptr;
    pass.keys_in = keys[to];
    pass.order_in = order[to];
  }
  return {pass.keys_in, pass.order_in};
}

template <class T, int kWidth>
void launch_backward(View dtable, ConstView dy, const SortedRows& rows, Stream& stream) {
  const auto [N, C] = dy.dims<2>();
  const auto elems = static_cast<double>(N * C);
  launch(embedding_backward_kernel<T, kWidth>,
         {{n_blocks(ceil_div(N, 8)), n_blocks(ceil_div(C, 32 * kWidth))}, 256},
         {elems * (sizeof(T) + 8.0), elems}, stream, pointer<float>(dtable),
         static_cast<const T*>(dy.data()), rows.keys, rows.order, dtable.dim(0), as_int(N),
         as_int(C));
}

}  // namespace

std::size_t embedding_backward_scratch_bytes(std::int64_t N) {
  return static_cast<std::size_t>(4 * padded_rows(N) + ceil_div(N, kTile) * kDigits) * 4;
}

void embedding(View y, ConstView ids, ConstView table, std::int64_t first_row, bool accumulate,
               Stream& stream) {
  if (y.elems() == 0) return;
  if (y.dtype() == DType::f32)
    choose_table<float>(y, ids, table, first_row, accumulate, stream);
  else
    choose_table<__nv_bfloat16>(y, ids, table, first_row, accumulate, stream);
}

void embedding_backward(View dtable, ConstView dy, ConstView ids, std::int64_t first_row,
                        Stream& stream) {
  if (dy.elems() == 0 || dtable.elems() == 0) return;
  CHECK(dy.dim(0) <= INT32_MAX - 64, "embedding_backward: {} rows", dy.dim(0));
  const SortedRows rows = sort_rows(ids, first_row, dtable.dim(0), stream);
  const bool wide = dy.dim(1) % 4 == 0 && aligned(dtable.data(), dy.data());
  if (dy.dtype() == DType::f32) {
    if (wide)
      launch_backward<float, 4>(dtable, dy, rows, stream);
    else
      launch_backward<float, 1>(dtable, dy, rows, stream);
  } else {
    if (wide)
      launch_backward<__nv_bfloat16, 4>(dtable, dy, rows, stream);
    else
      launch_backward<__nv_bfloat16, 1>(dtable, dy, rows, stream);
  }
}

}  // namespace weft::cuda

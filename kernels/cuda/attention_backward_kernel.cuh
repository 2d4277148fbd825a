// FlashAttention-2 (Dao, 2023), algorithm 2, without atomics: one kernel owns keys and sums dK and
// dV over the queries of all heads that share them, in one order; another owns queries and sums dQ
// over keys. Each recomputes the probabilities, p, so together they do seven products where one
// kernel with atomics does five. Both are the same code: a warp holds 16 of the block's rows, x and
// y, and meets columns, u and w, with  s = x uᵀ,  dp = y wᵀ,  ds = p ∘ (dp - Σ p dp).
//   rows are keys:     x, y, u, w = K, V, Q, dOut     dK = scale · ds u     dV = p w
//   rows are queries:  x, y, u, w = Q, dOut, K, V     dQ = scale · ds u
#pragma once

#include "kernels/cuda/attention_tile.cuh"

namespace weft::cuda {

// Wide heads' accumulators do not fit a warp's registers (keys have two): then several warps share
// 16 rows, each sums a share of D.
template <class T, int kWidth, bool kKeys>
struct BackwardShape {
  static constexpr bool kNarrow = sizeof(T) == 2;
  static constexpr int kShares = kWidth < 128 || (kNarrow && kWidth == 128)
                                     ? 1
                                     : (kKeys ? 2 : 1) * (kNarrow || kWidth == 128 ? 1 : 2);
  static constexpr int kWarps = kNarrow ? (kWidth <= 64 || (kWidth > 192 && !kKeys) ? 4 : 8) : 4;
  static constexpr int kThreads = 32 * kWarps, kRows = 16 * kWarps / kShares;
  // At least, of a multiprocessor; 0: as many as ptxas finds without a spill.
  static constexpr int kBlocks = kNarrow && kWidth == 32 && kKeys ? 2 : 0;
  static constexpr int kColumns =
      kNarrow ? (kWidth > 192 || (kWidth > 128 && !kKeys) ? 32 : 64) : (kWidth > 128 ? 16 : 32);
  static constexpr int kAtOnce = kWidth <= 64 ? kColumns
                                 : kNarrow    ? 32
                                              : 16;  // columns whose scores are in registers
  static constexpr std::size_t kSharedBytes = (2 * kRows + 4 * kColumns) * kWidth * sizeof(T) +
                                              (kKeys ? 4 * kColumns * sizeof(float) : 0) +
                                              kRows * sizeof(Span);
};

constexpr int kStatsRows = 128;  // stats are padded to whole tiles of queries

template <class T, int kWidth, bool kKeys>
__global__ void __launch_bounds__(BackwardShape<T, kWidth, kKeys>::kThreads,
                                  BackwardShape<T, kWidth, kKeys>::kBlocks)
    attention_backward_kernel(
        T* dqkv,             // (B, T, H + 2 Hkv, D)
        const T* dout,       // (B, T, H, D)
        const float* stats,  // (B, H, 2, padded_T): log2 of the softmax denominator, Σ_d dout·out
        const T* qkv,        // (B, T, H + 2 Hkv, D)
        int padded_T, AttentionProblem p) {
  using Shape = BackwardShape<T, kWidth, kKeys>;
  using F = Fragments<T>;
  using Layout = Tile<T, kWidth>;
  constexpr int kThreads = Shape::kThreads, kRows = Shape::kRows, kColumns = Shape::kColumns,
                kAtOnce = Shape::kAtOnce, kTiles = kAtOnce / 8;
  constexpr int kOwn = kWidth / Shape::kShares, kOut = kOwn / 8;
  T* x_tile = shared_memory<T>();                // (kRows, kWidth)
  T* y_tile = x_tile + kRows * kWidth;           // (kRows, kWidth)
  T* u_tiles = y_tile + kRows * kWidth;          // (2, kColumns, kWidth)
  T* w_tiles = u_tiles + 2 * kColumns * kWidth;  // (2, kColumns, kWidth)
  Span* spans = reinterpret_cast<Span*>(
      w_tiles + 2 * kColumns * kWidth);  // (kRows): columns that see or are seen by each row
  float* column_stats =
      reinterpret_cast<float*>(spans + kRows);  // (2, 2, kColumns), if columns are queries
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int warp_row = warp / Shape::kShares * 16, own = warp % Shape::kShares * kOwn;

  const int n_tiles = (p.T + kRows - 1) / kRows, n_heads = kKeys ? p.Hkv : p.H, group = p.H / p.Hkv;
  const int at = static_cast<int>(blockIdx.x) % n_tiles,
            head = static_cast<int>(blockIdx.x) / n_tiles % n_heads;
  const int b = static_cast<int>(blockIdx.x) / n_tiles / n_heads;
  const int first_row = (kKeys ? at : n_tiles - 1 - at) * kRows;  // the longest first if causal
  const int kv = kKeys ? head : head / group, first_head = kKeys ? head * group : head;
  const std::int64_t stride = static_cast<std::int64_t>(p.H + 2 * p.Hkv) * p.D,
                     out_stride = static_cast<std::int64_t>(p.H) * p.D;
  const T *q = qkv + b * p.T * stride, *k = q + (p.H + kv) * p.D, *v = k + p.Hkv * p.D,
          *dout_rows = dout + b * p.T * out_stride;
  stats += static_cast<std::int64_t>(b) * p.H * 2 * padded_T;

  const int row_end = kKeys || p.n_packed > 0 ? key_end(p, b) : p.T,
            last_row = min(first_row + kRows, row_end) - 1;
  Span first_span = {0, 0}, last_span = {0, 0};
  if (first_row <= last_row) {
    first_span = kKeys ? queries_of_key(p, first_row) : keys_of_query(p, b, first_row);
    last_span = kKeys ? queries_of_key(p, last_row) : keys_of_query(p, b, last_row);
    for (int i = thread; i < kRows; i += kThreads)
      spans[i] = kKeys ? queries_of_key(p, min(first_row + i, last_row))
                       : keys_of_query(p, b, min(first_row + i, last_row));
  }
  const int first_column = first_span.begin / kColumns * kColumns;
  const int n_column_tiles = max(last_span.end - first_column + kColumns - 1, 0) / kColumns,
            n_steps = n_column_tiles * (kKeys ? group : 1);

  float row_log2_sum[2] = {0, 0}, row_dot[2] = {0, 0};
  if (!kKeys) {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float* from = stats + static_cast<std::int64_t>(head) * 2 * padded_T + first_row +
                          warp_row + 8 * half + lane / 4;
      row_log2_sum[half] = from[0];
      row_dot[half] = from[padded_T];
    }
  }
  float du[1][kOut][4], dw[1][kKeys ? kOut : 1][4];
  clear(du);
  clear(dw);
  load_tile<T, kWidth, kRows, kThreads>(x_tile, kKeys ? k : q + head * p.D, stride, first_row,
                                        row_end, p.D);
  load_tile<T, kWidth, kRows, kThreads>(y_tile, kKeys ? v : dout_rows + head * p.D,
                                        kKeys ? stride : out_stride, first_row, row_end, p.D);

  int h = first_head, tile_column = first_column - kColumns;  // of the step
  for (int step = -1; step < n_steps; ++step) {
    if (step >= 0) {
      wait_copies<0>();
      __syncthreads();  // this step's columns are there, and those before are no longer read
    }
    const bool last_column = tile_column + kColumns >= last_span.end;
    const int next = step + 1, next_h = last_column ? h + 1 : h,
              next_column = last_column ? first_column : tile_column + kColumns;
    if (next < n_steps) {
      T *u = u_tiles + (next & 1) * kColumns * kWidth,
        *w = w_tiles + (next & 1) * kColumns * kWidth;
      load_tile<T, kWidth, kColumns, kThreads>(u, kKeys ? q + next_h * p.D : k, stride, next_column,
                                               last_span.end, p.D);
      load_tile<T, kWidth, kColumns, kThreads>(w, kKeys ? dout_rows + next_h * p.D : v,
                                               kKeys ? out_stride : stride, next_column,
                                               last_span.end, p.D);
      if (kKeys && thread < kColumns / 2)  // two rows of stats, four floats a thread
        copy_async_16(
            column_stats + (next & 1) * 2 * kColumns + 4 * thread,
            stats + (static_cast<std::int64_t>(next_h) * 2 + thread / (kColumns / 4)) * padded_T +
                next_column + 4 * (thread % (kColumns / 4)),
            true);
      commit_copies();
    }
    const T *u = u_tiles + (step & 1) * kColumns * kWidth,
            *w = w_tiles + (step & 1) * kColumns * kWidth;
#pragma unroll 1
    for (int from = step < 0 ? kColumns : 0; from < kColumns; from += kAtOnce) {
      const int column = tile_column + from;
      const Span first = spans[warp_row], last = spans[warp_row + 15];  // of this warp's rows
      if (column + kAtOnce <= first.begin || column >= last.end) continue;
      std::uint32_t kept = 0;
      if (p.drop.threshold != 0)
        kept = kept_of_tiles<kKeys, kTiles>(p, b, h, first_row + warp_row, column, lane);

      float s[1][kTiles][4], ds[1][kTiles][4];
      clear(s);
      clear(ds);
      multiply_rows<T, kWidth>(s, x_tile, warp_row, u, from, lane);
      multiply_rows<T, kWidth>(ds, y_tile, warp_row, w, from, lane);

      // What few tiles or calls need is branched around. First ds becomes dp - Σ p dp, times the
      // soft cap's slope.
      if (p.drop.threshold != 0) {
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            ds[0][n][e] = (kept >> (4 * n + e) & 1) != 0 ? ds[0][n][e] * p.drop.scale : 0.0f;
      }
      const float* of_columns = column_stats + (step & 1) * 2 * kColumns + from + 2 * (lane % 4);
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e)
          ds[0][n][e] -= kKeys ? of_columns[kColumns + 8 * n + (e & 1)] : row_dot[e / 2];
      if (p.softcap > 0) {
        const float inner = p.scale / p.softcap;
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) {
            const float t = F::tanh(s[0][n][e] * inner), slope = 1 - t * t;
            s[0][n][e] = p.softcap * t;
            ds[0][n][e] *= slope;
          }
      }
      if (last.begin > column || first.end < column + kAtOnce) {
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const Span span = spans[warp_row + 8 * half + lane / 4];
#pragma unroll
          for (int n = 0; n < kTiles; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              const int own_column = column + 8 * n + 2 * (lane % 4) + e;
              if (own_column < span.begin || own_column >= span.end)
                s[0][n][2 * half + e] = -kInfinity;
            }
        }
      }
#pragma unroll
      for (int n = 0; n < kTiles; ++n)
#pragma unroll
        for (int e = 0; e < 4; ++e) {
          const float log2_sum = kKeys ? of_columns[8 * n + (e & 1)] : row_log2_sum[e / 2];
          s[0][n][e] = exp2_approx(fmaf(s[0][n][e], p.log2_unit, -log2_sum));
          ds[0][n][e] *= s[0][n][e];
        }
      multiply_columns<T, kWidth>(du, ds, u, from, own, lane);
      if constexpr (kKeys) {
        if (p.drop.threshold != 0) {  // 1/(1-p) comes last
#pragma unroll
          for (int n = 0; n < kTiles; ++n)
#pragma unroll
            for (int e = 0; e < 4; ++e)
              if ((kept >> (4 * n + e) & 1) == 0) s[0][n][e] = 0;
        }
        multiply_columns<T, kWidth>(dw, s, w, from, own, lane);
      }
    }
    h = next_h;
    tile_column = next_column;
  }
  wait_copies<0>();
  __syncthreads();  // all have read the rows, which now take the results

#pragma unroll
  for (int n = 0; n < kOut; ++n)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const int column = own + 8 * n + 2 * (lane % 4);
      const int place = Layout::offset(warp_row + lane / 4 + 8 * half, column / Layout::kChunk) +
                        column % Layout::kChunk;
      store_pair(x_tile + place, du[0][n][2 * half] * p.scale, du[0][n][2 * half + 1] * p.scale);
      if constexpr (kKeys)
        store_pair(y_tile + place, dw[0][n][2 * half] * p.drop.scale,
                   dw[0][n][2 * half + 1] * p.drop.scale);
    }
  __syncthreads();
  constexpr int kStored = 16 / Shape::kShares;
  const int store_row = warp_row + warp % Shape::kShares * kStored;
  T* to = dqkv + b * p.T * stride + (kKeys ? p.H + kv : head) * p.D;
  store_rows<T, kWidth, kStored>(to, stride, x_tile, store_row, first_row + store_row, p.T, row_end,
                                 p.D, lane);
  if constexpr (kKeys)
    store_rows<T, kWidth, kStored>(to + p.Hkv * p.D, stride, y_tile, store_row,
                                   first_row + store_row, p.T, row_end, p.D, lane);
}

struct BackwardTensors {
  View dqkv;
  ConstView dout;
  const float* stats;  // (B, H, 2, padded_T)
  ConstView qkv;
  int padded_T;
};

template <class T, int kWidth, bool kKeys>
void launch_backward_rows(const BackwardTensors& t, const AttentionProblem& p, Stream& stream) {
  using Shape = BackwardShape<T, kWidth, kKeys>;
  static_assert(kStatsRows % Shape::kColumns == 0 && (kKeys || kStatsRows % Shape::kRows == 0));
  const std::int64_t B = t.qkv.dim(0);
  const double H = p.H, Hkv = p.Hkv, written = kKeys ? 2 * Hkv : H;
  const double row_bytes =
                   static_cast<double>(p.D) * sizeof(T) * (H + 2 * Hkv + H + written) + 8 * H,
               products = kKeys ? 4 : 3;
  const Work work = {static_cast<double>(B * p.T) * row_bytes,
                     2 * products * static_cast<double>(B * p.H * p.D) * visible_pairs(p)};
  const auto blocks = n_blocks(B * (kKeys ? p.Hkv : p.H) * ceil_div(p.T, Shape::kRows));
  launch(attention_backward_kernel<T, kWidth, kKeys>,
         {dim3(blocks), dim3(Shape::kThreads), Shape::kSharedBytes}, work, stream,
         static_cast<T*>(t.dqkv.data()), static_cast<const T*>(t.dout.data()), t.stats,
         static_cast<const T*>(t.qkv.data()), t.padded_T, p);
}

template <class T, int kWidth>
void launch_backward(const BackwardTensors& t, const AttentionProblem& p, Stream& stream) {
  launch_backward_rows<T, kWidth, true>(t, p, stream);
  launch_backward_rows<T, kWidth, false>(t, p, stream);
}

// One source each, for the time that they take to compile.
void attention_backward_fp32(const BackwardTensors& t, const AttentionProblem& p, Stream& stream);
void attention_backward_bf16(const BackwardTensors& t, const AttentionProblem& p,
                             Stream& stream);  // D <= 96
void attention_backward_bf16_wide(const BackwardTensors& t, const AttentionProblem& p,
                                  Stream& stream);  // D > 96

}  // namespace weft::cuda

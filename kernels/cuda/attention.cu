// FlashAttention-2 (Dao, 2023), algorithm 1: a block takes a tile of queries of one head through
// its keys with an online softmax. While K Qᵀ of a tile is multiplied its V is under way, and while
// P V is, the next K: shared memory holds one tile of each.
#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/attention_tile.cuh"

namespace weft::cuda {

// Rows of 32 queries a warp halve what it reads of K and V, while the registers last; and while
// they last for 128 keys, the sums so far are rescaled half as often. kPlain: neither dropout nor
// soft cap, whose code needs registers too.
template <class T, int kWidth, bool kPlain>
struct ForwardShape {
  static constexpr bool kNarrow = sizeof(T) == 2, kTwice = kNarrow && kWidth <= 128;
  static constexpr int kWarps = kNarrow && kWidth > 128 ? 8 : 4, kRowTiles = kTwice ? 2 : 1,
                       kThreads = 32 * kWarps, kBlocks = kTwice ? 2 : 1;
  static constexpr int kQueries = kWarps * kRowTiles * 16,
                       kKeys = kNarrow ? (kPlain ? 128 : 64) : (kWidth <= 128 ? 32 : 16);
  static_assert(!kPlain || (kNarrow && kWidth <= 64));
  static constexpr std::size_t kSharedBytes =
      (kQueries + 2 * kKeys) * kWidth * sizeof(T) + kQueries * sizeof(Span);
};

template <class T, int kWidth, bool kPlain>
__global__ void __launch_bounds__(ForwardShape<T, kWidth, kPlain>::kThreads,
                                  ForwardShape<T, kWidth, kPlain>::kBlocks)
    attention_kernel(T* out,        // (B, T, H, D)
                     float* lse,    // (B, H, T)
                     const T* qkv,  // (B, T, H + 2 Hkv, D)
                     AttentionProblem p) {
  using Shape = ForwardShape<T, kWidth, kPlain>;
  using F = Fragments<T>;
  constexpr int kRowTiles = Shape::kRowTiles, kThreads = Shape::kThreads,
                kQueries = Shape::kQueries, kKeys = Shape::kKeys;
  constexpr int kTiles = kKeys / 8, kOut = kWidth / 8;
  T* q_tile = shared_memory<T>();          // (kQueries, kWidth)
  T* k_tile = q_tile + kQueries * kWidth;  // (kKeys, kWidth)
  T* v_tile = k_tile + kKeys * kWidth;     // (kKeys, kWidth)
  Span* spans =
      reinterpret_cast<Span*>(v_tile + kKeys * kWidth);  // (kQueries): keys that each query sees
  const int lane = static_cast<int>(threadIdx.x) % 32,
            warp_row = static_cast<int>(threadIdx.x) / 32 * kRowTiles * 16;

  const int tile = static_cast<int>(gridDim.x - 1 - blockIdx.x),  // the longest first if causal
      h = static_cast<int>(blockIdx.y), b = static_cast<int>(blockIdx.z), head = b * p.H + h;
  const int kv = h / (p.H / p.Hkv), first_query = tile * kQueries,
            last_query = min(first_query + kQueries, p.T) - 1;
  const int stride = (p.H + 2 * p.Hkv) * p.D;
  const T* row = qkv + static_cast<std::int64_t>(b) * p.T * stride;
  const T *q = row + h * p.D, *k = row + (p.H + kv) * p.D, *v = row + (p.H + p.Hkv + kv) * p.D;

  const Span first_span = keys_of_query(p, b, first_query),
             last_span = keys_of_query(p, b, last_query);
  for (int i = static_cast<int>(threadIdx.x); i < kQueries; i += kThreads)
    spans[i] = keys_of_query(p, b, min(first_query + i, last_query));

  float o[kRowTiles][kOut][4], max_score[kRowTiles][2], sum[kRowTiles][2];
  clear(o);
#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      max_score[r][half] = -kInfinity;
      sum[r][half] = 0;
    }

  load_tile<T, kWidth, kQueries, kThreads>(q_tile, q, stride, first_query, p.T, p.D);
  int j = first_span.begin / kKeys * kKeys;
  if (j < last_span.end)
    load_tile<T, kWidth, kKeys, kThreads>(k_tile, k, stride, j, last_span.end, p.D);
  commit_copies();
  for (; j < last_span.end; j += kKeys) {
    wait_copies<0>();
    __syncthreads();  // K is there, and the V before is no longer read
    load_tile<T, kWidth, kKeys, kThreads>(v_tile, v, stride, j, last_span.end, p.D);
    commit_copies();

    std::uint32_t kept[kRowTiles];
    if constexpr (!kPlain)
      if (p.drop.threshold != 0) {
#pragma unroll
        for (int r = 0; r < kRowTiles; ++r)
          kept[r] = kept_of_tiles<false, kTiles>(p, b, h, first_query + warp_row + 16 * r, j, lane);
      }

    float s[kRowTiles][kTiles][4];
    clear(s);
    multiply_rows<T, kWidth>(s, q_tile, warp_row, k_tile, 0, lane);

    if (!kPlain && p.softcap > 0) {
      const float inner = p.scale / p.softcap;
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e) s[r][n][e] = p.softcap * F::tanh(s[r][n][e] * inner);
    }
    // Whether a mask cuts the warp's scores; in fp32, for want of registers, the block's.
    const int last_begin =
                  kRowTiles > 1 ? spans[warp_row + 16 * kRowTiles - 1].begin : last_span.begin,
              first_end = kRowTiles > 1 ? spans[warp_row].end : first_span.end;
    if (last_begin > j || first_end < j + kKeys) {
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
        for (int half = 0; half < 2; ++half) {
          const Span span = spans[warp_row + 16 * r + 8 * half + lane / 4];
#pragma unroll
          for (int n = 0; n < kTiles; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              const int key = j + 8 * n + 2 * (lane % 4) + e;
              if (key < span.begin || key >= span.end) s[r][n][2 * half + e] = -kInfinity;
            }
        }
    }

    wait_copies<0>();
    __syncthreads();  // V is there, and K is no longer read
    if (j + kKeys < last_span.end)
      load_tile<T, kWidth, kKeys, kThreads>(k_tile, k, stride, j + kKeys, last_span.end, p.D);
    commit_copies();

#pragma unroll
    for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        float now = max_score[r][half];
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
          now = fmaxf(now, fmaxf(s[r][n][2 * half], s[r][n][2 * half + 1]));
        now = quad_max(now);
        // A query that sees no key yet keeps -inf; subtracting 0 instead avoids inf - inf.
        const float base = now == -kInfinity ? 0.0f : now * p.log2_unit;
        const float rescale = exp2_approx(fmaf(max_score[r][half], p.log2_unit, -base));
        max_score[r][half] = now;
        float total = 0;
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) {
            s[r][n][e] = exp2_approx(fmaf(s[r][n][e], p.log2_unit, -base));
            total += s[r][n][e];
          }
        sum[r][half] = fmaf(sum[r][half], rescale, total);  // of this lane's columns
#pragma unroll
        for (int n = 0; n < kOut; ++n)
#pragma unroll
          for (int e = 2 * half; e < 2 * half + 2; ++e) o[r][n][e] *= rescale;
      }
    if (!kPlain && p.drop.threshold != 0) {  // 1/(1-p) comes last, with 1/sum
#pragma unroll
      for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
        for (int n = 0; n < kTiles; ++n)
#pragma unroll
          for (int e = 0; e < 4; ++e)
            if ((kept[r] >> (4 * n + e) & 1) == 0) s[r][n][e] = 0;
    }
    multiply_columns<T, kWidth>(o, s, v_tile, 0, 0, lane);
  }
  wait_copies<0>();
  __syncthreads();  // Q has landed even where no key was seen: its rows now take the result

#pragma unroll
  for (int r = 0; r < kRowTiles; ++r)
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float total = quad_sum(sum[r][half]);
      const int tile_row = warp_row + 16 * r + 8 * half + lane / 4;
      if (lane % 4 == 0 && first_query + tile_row < p.T) {
        const float score = max_score[r][half] * (p.softcap > 0 ? 1.0f : p.scale);
        lse[static_cast<std::int64_t>(head) * p.T + first_query + tile_row] =
            total == 0 ? -kInfinity : score + logf(total);
      }
      const float inverse = total == 0 ? 0.0f : p.drop.scale / total;
#pragma unroll
      for (int n = 0; n < kOut; ++n) {
        T* to = q_tile +
                Tile<T, kWidth>::offset(tile_row, 8 * n / Tile<T, kWidth>::kChunk +
                                                      2 * (lane % 4) / Tile<T, kWidth>::kChunk);
        store_pair(to + 2 * (lane % 4) % Tile<T, kWidth>::kChunk, o[r][n][2 * half] * inverse,
                   o[r][n][2 * half + 1] * inverse);
      }
    }
  __syncwarp(kFullWarp);
  store_rows<T, kWidth, kRowTiles * 16>(
      out + static_cast<std::int64_t>(b) * p.T * p.H * p.D + h * p.D,
      static_cast<std::int64_t>(p.H) * p.D, q_tile, warp_row, first_query + warp_row, p.T, p.T, p.D,
      lane);
}

template <class T, int kWidth, bool kPlain>
void launch_attention(View out, View lse, ConstView qkv, const AttentionProblem& p,
                      Stream& stream) {
  const std::int64_t B = qkv.dim(0);
  const Work work = {static_cast<double>(qkv.bytes() + out.bytes() + lse.bytes()),
                     4.0 * static_cast<double>(B * p.H * p.D) * visible_pairs(p)};
  using Shape = ForwardShape<T, kWidth, kPlain>;
  const dim3 grid(n_blocks(ceil_div(p.T, Shape::kQueries)), n_blocks(p.H), n_blocks(B));
  launch(attention_kernel<T, kWidth, kPlain>, {grid, dim3(Shape::kThreads), Shape::kSharedBytes},
         work, stream, static_cast<T*>(out.data()), static_cast<float*>(lse.data()),
         static_cast<const T*>(qkv.data()), p);
}

template <class T, int kWidth>
void launch_attention(View out, View lse, ConstView qkv, const AttentionProblem& p,
                      Stream& stream) {
  if constexpr (sizeof(T) == 2 && kWidth <= 64)
    if (p.drop.threshold == 0 && p.softcap <= 0)
      return launch_attention<T, kWidth, true>(out, lse, qkv, p, stream);
  launch_attention<T, kWidth, false>(out, lse, qkv, p, stream);
}

void attention(View out, View lse, ConstView qkv, ConstView lengths, const AttentionArgs& args,
               Stream& stream) {
  expect_aligned("attention", out, qkv);
  const AttentionProblem p = attention_problem("attention", qkv, lengths, args);
  CHECK(qkv.dim(0) < 1 << 16, "attention: a batch of {}; supported on a GPU: at most 65535",
        qkv.dim(0));
  const int D = args.head_dim;
  if (qkv.dtype() == DType::bf16) {
    if (D <= 32)
      launch_attention<__nv_bfloat16, 32>(out, lse, qkv, p, stream);
    else if (D <= 64)
      launch_attention<__nv_bfloat16, 64>(out, lse, qkv, p, stream);
    else if (D <= 96)
      launch_attention<__nv_bfloat16, 96>(out, lse, qkv, p, stream);
    else if (D <= 128)
      launch_attention<__nv_bfloat16, 128>(out, lse, qkv, p, stream);
    else if (D <= 192)
      launch_attention<__nv_bfloat16, 192>(out, lse, qkv, p, stream);
    else
      launch_attention<__nv_bfloat16, 256>(out, lse, qkv, p, stream);
  } else {
    if (D <= 64)
      launch_attention<float, 64>(out, lse, qkv, p, stream);
    else if (D <= 128)
      launch_attention<float, 128>(out, lse, qkv, p, stream);
    else
      launch_attention<float, 256>(out, lse, qkv, p, stream);
  }
}

}  // namespace weft::cuda

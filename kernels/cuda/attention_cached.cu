// attention_cached: new keys and values are appended to the paged cache, then query vectors attend
// to it in the manner of flash-decoding.
//
// Keys are cut into chunks of 256 at absolute positions. Within a chunk an online softmax goes
// through tiles of 64 keys (32 of wide heads), also at absolute positions; chunks are joined in
// order. Slices of few query vectors give each chunk a block and join them in a second kernel
// (attention_decode_kernel, attention_combine_kernel); slices of many let one block go through all
// chunks of its query tile (attention_chunk_kernel) and join them as it goes. Both do the same
// operations in the same order for a query vector, wherever it lies in which tile (see
// attention_cached_tile.cuh): tiles that it does not see multiply its sums by 1 and add 0. So a
// row's bits depend neither on the batch nor on how many rows its slice brings.
#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/attention_cached_block.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/ops.h"
#include "kernels/scratch.h"

namespace weft::cuda {

constexpr int kDecodeThreads = 128;
constexpr int kRowThreads = 128;  // of blocks that do a row a warp

// ---- append

// A warp copies a new token's keys and values, both of them contiguous, into the token's place in
// its page.
template <class T>
__global__ void attention_append_kernel(CachedCall<T> call, int n_tokens) {
  const int token = static_cast<int>(blockIdx.x * (kRowThreads / 32) + threadIdx.x / 32);
  if (token >= n_tokens) return;
  const int index = slice_of(call.first_token, call.n_slices, token);
  const CachedSlice slice = call.slices[index];
  if (slice.n_rows == 0) return;
  const int i = token - call.first_token[index], position = slice.n_cached + i,
            kv_row = call.Hkv * call.D;
  const int page = call.pages[slice.pages + position / call.S];
  const std::int64_t to = (static_cast<std::int64_t>(page) * call.S + position % call.S) * kv_row;
  const std::int64_t from =
      (static_cast<std::int64_t>(slice.first_row + i) * (call.H + 2 * call.Hkv) + call.H) * call.D;
  const auto* row = reinterpret_cast<const float4*>(call.qkv + from);  // (2, Hkv, D)
  auto *k = reinterpret_cast<float4*>(call.k + to), *v = reinterpret_cast<float4*>(call.v + to);
  const int units = kv_row / (16 / static_cast<int>(sizeof(T)));
#pragma unroll 4
  for (int u = static_cast<int>(threadIdx.x) % 32; u < 2 * units; u += 32) {
    if (u < units)
      k[u] = row[u];
    else
      v[u - units] = row[u];
  }
}

// ---- decode

// One chunk of keys for 16 query vectors: each warp scores a quarter of a tile's keys and gathers a
// quarter of the columns; in between the scores are exchanged in shared memory, and every warp does
// the whole softmax, in the order in which attention_chunk_kernel does it.
template <class T, int kWidth>
struct DecodeShape {
  static constexpr int kSlots = kWidth * sizeof(T) > 256 ? 2 : 4;
  static constexpr int kKeyTiles = CacheTile<T, kWidth>::kKeys / 8;
  static constexpr std::size_t kSharedBytes =
      sizeof(T) * (kDecodeVectors * kWidth + kSlots * CacheTile<T, kWidth>::kElems) +
      sizeof(float4) * kKeyTiles * 32;
};

template <class T, int kWidth>
__global__ void __launch_bounds__(kDecodeThreads, 1) attention_decode_kernel(CachedCall<T> call) {
  using Shape = DecodeShape<T, kWidth>;
  using Layout = CacheTile<T, kWidth>;
  constexpr int kWarps = kDecodeThreads / 32, kKeyTiles = Shape::kKeyTiles,
                kTiles = kWidth / 8 / kWarps;
  constexpr int kOwnKeyTiles =
      sizeof(T) == 2 || kKeyTiles > kWarps
          ? 2
          : 1;  // bf16 keys are read in pairs of tiles, if only by two warps
  static_assert(kKeyTiles % kOwnKeyTiles == 0 && kKeyTiles <= kWarps * kOwnKeyTiles);
  T* q = shared_memory<T>();               // (16, kWidth)
  T* slots = q + kDecodeVectors * kWidth;  // (kSlots, kKeys, kWidth)
  auto* exchange = reinterpret_cast<float4*>(
      slots + Shape::kSlots * Layout::kElems);  // (kKeyTiles, 32): a thread's part of a fragment
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32,
            kv = static_cast<int>(blockIdx.y);

  const int index = slice_of(call.first_block, call.n_slices, static_cast<int>(blockIdx.x));
  const CachedSlice slice = call.slices[index];
  if (slice.n_rows == 0) return;  // more blocks were launched than there are
  const int group = call.H / call.Hkv, n_vectors = slice.n_rows * group,
            n_tiles = (n_vectors + kDecodeVectors - 1) / kDecodeVectors;
  const int item = static_cast<int>(blockIdx.x) - call.first_block[index],
            chunk = item / n_tiles;  // a chunk's tiles side by side
  const QueryTile tile = {kv, group, item % n_tiles * kDecodeVectors, n_vectors};

  const int chunk_begin = (slice.first_chunk + chunk) * kChunkKeys;
  const int last_vector = min(tile.first_vector + kDecodeVectors, n_vectors) - 1;
  const int begin = keys_of_row(call, slice, tile.row(tile.first_vector)).begin,
            end = keys_of_row(call, slice, tile.row(last_vector)).end;
  const TileRing<T, kWidth, Shape::kSlots, kDecodeThreads> ring(
      slots, {max(begin, chunk_begin), min(end, chunk_begin + kChunkKeys)});
  Span seen[2];
  seen_by_rows(seen, call, slice, tile, tile.first_vector);

  copy_queries<T, kWidth, kDecodeVectors, kDecodeThreads>(q, call, slice, tile);
  for (int half = 0; half < Shape::kSlots - 1; ++half) ring.copy(half, call, slice, kv);
  SoftmaxState state;
  float acc[kTiles][4] = {};
#pragma unroll 1
  for (int i = 0; i < ring.n_tiles; ++i) {
    ring.advance(2 * i, call, slice, kv);
    if (const int first_tile = warp * kOwnKeyTiles; first_tile < kKeyTiles) {
      float s[kOwnKeyTiles][4];
      multiply_keys<kWidth>(s, q, ring.slot(2 * i), 8 * first_tile);
      scale_and_mask(s, call, seen, ring.first_key(i) + 8 * first_tile);
      put_scores(exchange, s, first_tile);
    }
    ring.advance(2 * i + 1, call, slice, kv);  // its barrier is the exchange's too
    float p[kKeyTiles][4];
    take_scores(p, exchange);
    const RowPair scale = online_softmax(p, state);
    multiply_values<kWidth>(acc, scale, p, ring.slot(2 * i + 1), warp * kTiles);
  }
  wait_copies<0>();
  join_quad(state);

  if (slice.n_chunks == 1)
    return store_out(acc, state, call, slice, tile, tile.first_vector, warp * kTiles);
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const int vector = tile.first_vector + lane / 4 + 8 * r;
    if (vector >= n_vectors) continue;
    const std::int64_t partial =
        slice.first_partial +
        (static_cast<std::int64_t>(tile.row(vector)) * call.H + tile.head(vector)) *
            slice.n_chunks +
        chunk;
    if (warp == 0 && lane % 4 == 0)
      call.partial[partial] = make_float2(state.max.of[r], state.sum.of[r]);
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      const int column = 8 * (warp * kTiles + n) + 2 * (lane % 4);
      if (column < call.D)
        store_pair(call.partial_out + partial * call.D + column, acc[n][2 * r], acc[n][2 * r + 1]);
    }
  }
}

// Joins a row's chunks in order: a warp does 64 columns of one query vector.
template <class T>
__global__ void attention_combine_kernel(CachedCall<T> call, int n_tokens) {
  const int vector = static_cast<int>(blockIdx.x * (kRowThreads / 32) + threadIdx.x / 32),
            token = vector / call.H;
  if (token >= n_tokens) return;
  const int index = slice_of(call.first_token, call.n_slices, token);
  const CachedSlice slice = call.slices[index];
  const int column = static_cast<int>(blockIdx.y) * 64 + static_cast<int>(threadIdx.x) % 32 * 2;
  if (slice.n_chunks <= 1 || column >= call.D) return;
  const int row = token - call.first_token[index], head = vector % call.H;
  const std::int64_t first =
      slice.first_partial + (static_cast<std::int64_t>(row) * call.H + head) * slice.n_chunks;
  const float2* stats = call.partial + first;
  const float* from = call.partial_out + first * call.D + column;
  float max = -kInfinity, sum = 0, low = 0, high = 0;
#pragma unroll 8
  for (int chunk = 0; chunk < slice.n_chunks; ++chunk) {
    const float2 stat = stats[chunk], part = *reinterpret_cast<const float2*>(
                                          from + static_cast<std::int64_t>(chunk) * call.D);
    const float2 factors = join_chunk(max, sum, stat.x, stat.y);
    low = join_value(low, part.x, factors);
    high = join_value(high, part.y, factors);
  }
  const float inverse = 1.0f / sum;
  store_pair(call.out +
                 (static_cast<std::int64_t>(slice.first_row + row) * call.H + head) * call.D +
                 column,
             low * inverse, high * inverse);
}

// ---- prefill

// All chunks, one after the other, for a tile of query vectors: 16 a warp, or, of wide heads, 16
// two warps, which share keys and columns as attention_decode_kernel's do, so that the sums fit
// into registers. What the chunks before gave waits in shared memory.
template <class T, int kWidth>
struct ChunkShape {
  static constexpr int kVectors = query_tile(kWidth, sizeof(T)), kWarpsARow = kWidth > 128 ? 2 : 1;
  static constexpr int kThreads = kVectors / 16 * 32 * kWarpsARow, kSlots = 2;
  static constexpr int kKeyTiles = CacheTile<T, kWidth>::kKeys / 8,
                       kTiles = kWidth / 8 / kWarpsARow;
  static constexpr std::size_t kExchangeBytes = kWarpsARow > 1 ? sizeof(float4) * kVectors /
                                                                     16 * kKeyTiles * 32
                                                               : 0;
  static constexpr std::size_t kSharedBytes =
      sizeof(T) * (kVectors * kWidth + kSlots * CacheTile<T, kWidth>::kElems) + kExchangeBytes;
  static constexpr std::size_t kJoinBytes =
      sizeof(float4) * kThreads * (kTiles + 1);  // more, where some slice has more than one chunk
};

template <class T, int kWidth>
__global__ void __launch_bounds__(ChunkShape<T, kWidth>::kThreads, 1)
    attention_chunk_kernel(CachedCall<T> call) {
  using Shape = ChunkShape<T, kWidth>;
  using Layout = CacheTile<T, kWidth>;
  constexpr int kTiles = Shape::kTiles, kTilesOfChunk = kChunkKeys / Layout::kKeys;
  T* q = shared_memory<T>();                // (kVectors, kWidth)
  T* slots = q + Shape::kVectors * kWidth;  // (kSlots, kKeys, kWidth)
  auto* exchange = reinterpret_cast<float4*>(
      slots + Shape::kSlots * Layout::kElems);  // (kVectors / 16, kKeyTiles, 32)
  float4* joined = exchange + Shape::kExchangeBytes /
                                  sizeof(float4);  // (kTiles + 1, threads): each thread's own
  const int warp = static_cast<int>(threadIdx.x) / 32 / Shape::kWarpsARow,
            kv = static_cast<int>(blockIdx.y);
  const int share = static_cast<int>(threadIdx.x) / 32 % Shape::kWarpsARow;
  exchange += warp * Shape::kKeyTiles * 32;

  const int index = slice_of(call.first_block, call.n_slices, static_cast<int>(blockIdx.x));
  const CachedSlice slice = call.slices[index];
  const int group = call.H / call.Hkv, n_vectors = slice.n_rows * group,
            n_tiles = (n_vectors + Shape::kVectors - 1) / Shape::kVectors;
  const int item = n_tiles - 1 -
                   (static_cast<int>(blockIdx.x) - call.first_block[index]);  // the long ones first
  const QueryTile tile = {kv, group, item * Shape::kVectors, n_vectors};
  const int last_vector = min(tile.first_vector + Shape::kVectors, n_vectors) - 1,
            first_vector = tile.first_vector + 16 * warp;
  const TileRing<T, kWidth, Shape::kSlots, Shape::kThreads> ring(
      slots, {keys_of_row(call, slice, tile.row(tile.first_vector)).begin,
              keys_of_row(call, slice, tile.row(last_vector)).end});
  Span seen[2];
  seen_by_rows(seen, call, slice, tile, first_vector);

  copy_queries<T, kWidth, Shape::kVectors, Shape::kThreads>(q, call, slice, tile);
  for (int half = 0; half < Shape::kSlots - 1; ++half) ring.copy(half, call, slice, kv);
  SoftmaxState state;  // of this chunk
  float acc[kTiles][4] = {};
  bool first_chunk = true;
#pragma unroll 1
  for (int i = 0; i < ring.n_tiles; ++i) {
    float s[Shape::kKeyTiles][4];
    ring.advance(2 * i, call, slice, kv);
    if constexpr (Shape::kWarpsARow == 1) {
      multiply_keys<kWidth>(s, q + 16 * warp * kWidth, ring.slot(2 * i), 0);
      scale_and_mask(s, call, seen, ring.first_key(i));
      ring.advance(2 * i + 1, call, slice, kv);
    } else {
      constexpr int kOwnKeyTiles = Shape::kKeyTiles / Shape::kWarpsARow;
      float own[kOwnKeyTiles][4];
      multiply_keys<kWidth>(own, q + 16 * warp * kWidth, ring.slot(2 * i),
                            8 * share * kOwnKeyTiles);
      scale_and_mask(own, call, seen, ring.first_key(i) + 8 * share * kOwnKeyTiles);
      put_scores(exchange, own, share * kOwnKeyTiles);
      ring.advance(2 * i + 1, call, slice, kv);  // its barrier is the exchange's too
      take_scores(s, exchange);
    }
    const RowPair scale = online_softmax(s, state);
    multiply_values<kWidth>(acc, scale, s, ring.slot(2 * i + 1), share * kTiles);

    const bool last = i + 1 == ring.n_tiles;
    if (!last && (ring.first_tile + i + 1) % kTilesOfChunk != 0) continue;
    join_quad(state);
    float4& before = joined[kTiles * Shape::kThreads + threadIdx.x];  // maxima, sums
    if (!first_chunk) {
      float4 all = before;
      const float2 factors[2] = {join_chunk(all.x, all.z, state.max.of[0], state.sum.of[0]),
                                 join_chunk(all.y, all.w, state.max.of[1], state.sum.of[1])};
      state = {{{all.x, all.y}}, {{all.z, all.w}}};
#pragma unroll
      for (int n = 0; n < kTiles; ++n) {
        const float4 old = joined[n * Shape::kThreads + threadIdx.x];
        acc[n][0] = join_value(old.x, acc[n][0], factors[0]);
        acc[n][1] = join_value(old.y, acc[n][1], factors[0]);
        acc[n][2] = join_value(old.z, acc[n][2], factors[1]);
        acc[n][3] = join_value(old.w, acc[n][3], factors[1]);
      }
    }
    if (last) break;
    first_chunk = false;
    before = make_float4(state.max.of[0], state.max.of[1], state.sum.of[0], state.sum.of[1]);
    state = SoftmaxState{};
#pragma unroll
    for (int n = 0; n < kTiles; ++n) {
      joined[n * Shape::kThreads + threadIdx.x] =
          make_float4(acc[n][0], acc[n][1], acc[n][2], acc[n][3]);
#pragma unroll
      for (int e = 0; e < 4; ++e) acc[n][e] = 0;
    }
  }
  wait_copies<0>();
  store_out(acc, state, call, slice, tile, first_vector, share * kTiles);
}

// ---- host

namespace {

std::size_t align_16(std::size_t bytes) { return (bytes + 15) / 16 * 16; }

// Scratch of a call: partials' states | partials.
struct CallScratch {
  std::size_t states, partials;
  std::size_t bytes() const { return states + partials; }
};
CallScratch call_scratch(std::size_t n_partials, std::int64_t D) {
  return {.states = align_16(n_partials * sizeof(float2)),
          .partials = n_partials * static_cast<std::size_t>(D) * sizeof(float)};
}

template <class T, int kWidth>
void attend(CachedCall<T> call, const CachedPlan& plan, Stream& stream) {
  const double row_bytes = static_cast<double>(call.D) * sizeof(T), flops = 4.0 * call.D * call.H;
  const auto Hkv = static_cast<unsigned>(call.Hkv);
  const auto rows_bytes = [&](const CachedPlan::Part& part) {
    return 2 * row_bytes *
           (call.Hkv * part.keys + double{1} * call.H * static_cast<double>(part.tokens));
  };
  if (plan.split.entries > 0) {
    call.n_slices = as_int(plan.split.entries);
    const double partials = static_cast<double>(plan.split.partials),
                 partial_bytes = partials * (call.D + 2) * sizeof(float);
    launch(
        attention_decode_kernel<T, kWidth>,
        {{n_blocks(plan.split.blocks), Hkv}, kDecodeThreads, DecodeShape<T, kWidth>::kSharedBytes},
        {rows_bytes(plan.split) + partial_bytes, flops * plan.split.pairs}, stream, call);
    const double n_tokens = static_cast<double>(plan.split.tokens);
    if (plan.split.joins)
      launch(attention_combine_kernel<T>,
             {{n_blocks(ceil_div(plan.split.tokens * call.H, kRowThreads / 32)),
               n_blocks(ceil_div(call.D, 64))},
              kRowThreads,
              0},
             {partial_bytes + row_bytes * call.H * n_tokens, 2.0 * call.D * partials}, stream, call,
             as_int(plan.split.tokens));
  }
  if (plan.whole.entries > 0) {
    using Shape = ChunkShape<T, kWidth>;
    call.slices += plan.split.entries;
    call.first_block += plan.split.entries;
    call.n_slices = as_int(plan.whole.entries);
    launch(attention_chunk_kernel<T, kWidth>,
           {{n_blocks(plan.whole.blocks), Hkv},
            Shape::kThreads,
            Shape::kSharedBytes + (plan.whole.joins ? Shape::kJoinBytes : 0)},
           {rows_bytes(plan.whole), flops * plan.whole.pairs}, stream, call);
  }
}

template <class T>
void append_and_attend(View out, View k_cache, View v_cache, ConstView qkv, ConstView pages,
                       const CachedPlan& plan, const AttentionArgs& args, Stream& stream) {
  const std::int64_t Hkv = args.n_kv_heads, D = args.head_dim;
  expect_aligned("attention_cached", out, qkv, k_cache, v_cache);
  const CachedTable<const int> table(pointer<std::int32_t>(plan.table), plan.n_slices);
  CachedCall<T> call = {};
  call.slices = table.slices;
  call.first_token = table.first_token;
  call.first_block = table.first_block;
  call.pages = pages.empty() ? table.own_pages : pointer<std::int32_t>(pages);
  if (plan.split.joins) {
    const CallScratch room = call_scratch(static_cast<std::size_t>(plan.n_partials), D);
    auto* scratch = static_cast<unsigned char*>(stream.scratch(room.bytes()));
    call.partial = reinterpret_cast<float2*>(scratch);
    call.partial_out = reinterpret_cast<float*>(scratch + room.states);
  }

  call.qkv = static_cast<const T*>(qkv.data()), call.out = static_cast<T*>(out.data());
  call.k = static_cast<T*>(k_cache.data()), call.v = static_cast<T*>(v_cache.data());
  call.n_slices = as_int(plan.split.entries + plan.whole.entries), call.H = args.n_heads,
  call.Hkv = args.n_kv_heads, call.D = args.head_dim, call.S = as_int(k_cache.dim(1));
  call.scale = args.softcap > 0 ? args.scale / args.softcap : args.scale * kLog2E;
  call.softcap = args.softcap * kLog2E;
  call.causal = args.causal, call.window_left = args.window_left,
  call.window_right = args.window_right;

  const std::int64_t n_tokens = plan.split.tokens + plan.whole.tokens;
  launch(attention_append_kernel<T>,
         {n_blocks(ceil_div(n_tokens, kRowThreads / 32)), kRowThreads, 0},
         {4.0 * static_cast<double>(n_tokens * Hkv * D) * sizeof(T), 0}, stream, call,
         as_int(n_tokens));
  if (D <= 64)
    attend<T, 64>(call, plan, stream);
  else if (D <= 128)
    attend<T, 128>(call, plan, stream);
  else
    attend<T, 256>(call, plan, stream);
}

}  // namespace

void attention_cached(View out, View k_cache, View v_cache, ConstView qkv, ConstView pages,
                      const CachedPlan& plan, const AttentionArgs& args, Stream& stream) {
  const auto run =
      qkv.dtype() == DType::f32 ? append_and_attend<float> : append_and_attend<__nv_bfloat16>;
  run(out, k_cache, v_cache, qkv, pages, plan, args, stream);
}

}  // namespace weft::cuda

namespace weft {

std::size_t cuda_attention_cached_scratch_bytes(const CachedAttentionSizes& s,
                                                const AttentionArgs& args) {
  return cuda::call_scratch(static_cast<std::size_t>(cuda::most_partials(s, args)), args.head_dim)
      .bytes();
}

}  // namespace weft

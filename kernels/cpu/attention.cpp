// Cuts batches, heads and caches into the single-head problems of attention_tile, and shares them
// among the threads.
#include <omp.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/backends.h"
#include "kernels/cached_plan.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/parallel.h"
#include "kernels/scratch.h"
#include "kernels/work.h"

namespace weft::cpu {
namespace {

// A piece of scratch for each thread of the team.
class TeamScratch {
 public:
  TeamScratch(Stream& stream, std::int64_t elems)
      : elems_(padded(elems)),
        base_(static_cast<float*>(stream.scratch(bytes(elems, stream.n_threads())))) {}
  static std::size_t bytes(std::int64_t elems, int n_threads) {
    return static_cast<std::size_t>(padded(elems) * n_threads) * sizeof(float);
  }
  float* mine() const { return base_ + elems_ * omp_get_thread_num(); }

 private:
  static std::int64_t padded(std::int64_t elems) { return (elems + 15) / 16 * 16; }

  std::int64_t elems_;
  float* base_;
};

HeadWindow window(const AttentionArgs& args) {
  const auto side = [](int size) { return size < 0 ? kUnbounded : std::int64_t{size}; };
  return {side(args.window_left), args.causal ? 0 : side(args.window_right)};
}

// Rows [begin, begin + n_rows) of batch row b, which see each other's first n_keys.
struct Sequence {
  std::int64_t b, begin, n_rows, n_keys;
};

std::vector<Sequence> sequences(const char* op, ConstView lengths, std::int64_t B, std::int64_t T,
                                bool packed) {
  std::vector<Sequence> all;
  const std::int32_t* at = lengths.empty() ? nullptr : lengths.as<std::int32_t>();
  if (!packed) {
    for (std::int64_t b = 0; b < B; ++b)
      all.push_back({b, 0, T, at ? std::clamp<std::int64_t>(at[b], 0, T) : T});
    return all;
  }
  CHECK(at[0] == 0, "{}: the first packed sequence begins at {}, not at 0", op, at[0]);
  for (std::int64_t s = 0; s + 1 < lengths.elems(); ++s) {
    CHECK(at[s] <= at[s + 1] && at[s + 1] <= T, "{}: packed sequence {} is rows [{}, {}) of {}", op,
          s, at[s], at[s + 1], T);
    all.push_back({0, at[s], at[s + 1] - at[s], at[s + 1] - at[s]});
  }
  return all;
}

// Queries [0, n_rows) at positions behind `cached` tokens, over all heads; by FLOPs of a pair and
// dim.
void count(Stream& stream, const AttentionArgs& args, std::int64_t cached, std::int64_t n_rows,
           std::int64_t n_keys, double flops_of_pair) {
  const double pairs = attention_pairs(cached, n_rows, n_keys, args.window_left,
                                       args.causal ? 0 : args.window_right);
  count_matmul_flops(stream, flops_of_pair * args.head_dim * args.n_heads * pairs);
}

// Of a packed batch row: where its padding begins.
std::int64_t padding_begin(const std::vector<Sequence>& all) {
  return all.empty() ? 0 : all.back().begin + all.back().n_rows;
}

HeadDropout head_dropout(const AttentionArgs& args, std::int64_t h, const Sequence& s,
                         std::int64_t T) {
  return {args.drop, args.first_head + h, T, args.drop.first_sample + s.b, s.begin};
}

std::int64_t cached_scratch_elems(std::int64_t D) {
  return std::max(head_decode_scratch_elems(D), head_forward_scratch_elems(D));
}

// A head's D new keys or values into the cache, rounded to its dtype; int8 by a scale of their own,
// which is not finite where one of them is not. Where all are next to nothing, they are 0.
void put_row(BFloat16* to, const float* from, std::int64_t D) {
  for (std::int64_t c = 0; c < D; ++c) to[c] = to_bfloat16(from[c]);
}
void put_row(std::int8_t* to, const float* from, std::int64_t D) {
  float most = 0, finite = 0;  // NaN where an element is not finite, else 0
  for (std::int64_t c = 0; c < D; ++c) {
    most = std::max(most, std::abs(from[c]));
    finite += from[c] * 0;
  }
  const float scale = most / 127 + finite, inverse = most > 1e-30f && finite == 0 ? 127 / most : 0;
  for (std::int64_t c = 0; c < D; ++c)
    to[c] =
        inverse == 0 ? std::int8_t{0} : static_cast<std::int8_t>(std::nearbyint(from[c] * inverse));
  std::memcpy(to + D, &scale, sizeof scale);
}

// Rows [row, row + n_heads) of the cache from n_heads of D.
template <class T>
void put_token(View cache, std::int64_t row, const float* from, std::int64_t n_heads,
               std::int64_t D) {
  const std::int64_t size = cache.dim(3);
  auto* to = cache.as<T>() + row * size;
  if constexpr (std::is_same_v<T, float>)
    std::memcpy(to, from, static_cast<std::size_t>(n_heads * D) * sizeof(float));
  else
    for (std::int64_t h = 0; h < n_heads; ++h) put_row(to + h * size, from + h * D, D);
}

void put_token(View cache, std::int64_t row, const float* from, std::int64_t n_heads,
               std::int64_t D) {
  if (cache.dtype() == DType::f32) return put_token<float>(cache, row, from, n_heads, D);
  if (cache.dtype() == DType::bf16) return put_token<BFloat16>(cache, row, from, n_heads, D);
  put_token<std::int8_t>(cache, row, from, n_heads, D);
}

std::vector<CacheSlice> slices_of(const CachedPlan& plan) {
  const CachedTable<const int> table(plan.table.as<std::int32_t>(), plan.n_slices);
  std::vector<CacheSlice> slices;
  for (const CachedSlice* s = table.slices; s->n_rows > 0; ++s)
    slices.push_back({s->first_row, s->n_rows, s->n_cached, table.own_pages[s - table.slices]});
  return slices;
}

void check_pages(ConstView pages, const CacheSlice& s, std::int64_t n_pages, std::int64_t S) {
  const std::int64_t M = pages.dim(1);
  for (std::int64_t m = 0; m * S < s.n_cached + s.n_rows; ++m) {
    const std::int32_t page = pages.as<std::int32_t>()[s.slot * M + m];
    CHECK(page >= 0 && page < n_pages, "attention_cached: page {} of slot {} is {}, of {} pages", m,
          s.slot, page, n_pages);
  }
}

}  // namespace

std::size_t attention_scratch_bytes(std::int64_t head_dim, int n_threads) {
  return TeamScratch::bytes(head_forward_scratch_elems(head_dim), n_threads);
}

void attention(View out, View lse, ConstView qkv, ConstView lengths, const AttentionArgs& args,
               Stream& stream) {
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim, group = H / Hkv;
  const std::int64_t B = qkv.dim(0), T = qkv.dim(1), stride = (H + 2 * Hkv) * D;
  const auto* in = qkv.as<float>();
  auto *result = out.as<float>(), *denominator = lse.as<float>();

  struct Task {
    const Sequence* sequence;
    std::int64_t head, tile;
  };
  const std::vector<Sequence> all = sequences("attention", lengths, B, T, args.packed);
  std::vector<Task> tasks;
  for (const Sequence& s : all) count(stream, args, 0, s.n_rows, s.n_keys, kForwardFlopsOfPair);
  for (const Sequence& s : all)
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t tile = (s.n_rows + kTile - 1) / kTile; tile-- > 0;)
        tasks.push_back({&s, h, tile});  // the long ones first
  if (args.packed) {
    const std::int64_t end = padding_begin(all);
    std::fill(result + end * H * D, result + T * H * D, 0.0f);
    for (std::int64_t h = 0; h < H; ++h)
      std::fill(denominator + h * T + end, denominator + (h + 1) * T,
                -std::numeric_limits<float>::infinity());
  }

  const TeamScratch scratch(stream, head_forward_scratch_elems(D));
  parallel_tasks(stream, static_cast<std::int64_t>(tasks.size()), [&](std::int64_t t) {
    const auto [s, h, tile] = tasks[static_cast<std::size_t>(t)];
    const std::int64_t first = s->b * T + s->begin;  // row of the batch
    const float* row = in + first * stride;
    head_forward({.q = row + h * D,
                  .k = row + (H + h / group) * D,
                  .v = row + (H + Hkv + h / group) * D,
                  .out = result + (first * H + h) * D,
                  .lse = denominator + (s->b * H + h) * T + s->begin,
                  .q_stride = stride,
                  .kv_stride = stride,
                  .out_stride = H * D,
                  .first_query = tile * kTile,
                  .n_q = std::min(kTile, s->n_rows - tile * kTile),
                  .n_keys = s->n_keys,
                  .offset = 0,
                  .D = D,
                  .window = window(args),
                  .pages = {},
                  .scale = args.scale,
                  .softcap = args.softcap,
                  .drop = head_dropout(args, h, *s, T)},
                 scratch.mine());
  });
}

void attention_backward(View dqkv, ConstView dout, ConstView out, ConstView lse, ConstView qkv,
                        ConstView lengths, const AttentionArgs& args, Stream& stream) {
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim, group = H / Hkv;
  const std::int64_t B = qkv.dim(0), T = qkv.dim(1), stride = (H + 2 * Hkv) * D;
  const auto* in = qkv.as<float>();
  auto* grad = dqkv.as<float>();

  const std::vector<Sequence> all = sequences("attention_backward", lengths, B, T, args.packed);
  std::int64_t most_rows = 0;
  for (const Sequence& s : all) {
    most_rows = std::max(most_rows, s.n_rows);
    count(stream, args, 0, s.n_rows, s.n_keys, kBackwardFlopsOfPair);
  }
  if (args.packed) std::fill(grad + padding_begin(all) * stride, grad + T * stride, 0.0f);

  const TeamScratch scratch(stream, head_backward_scratch_elems(most_rows, D));
  parallel_tasks(stream, static_cast<std::int64_t>(all.size()) * Hkv, [&](std::int64_t task) {
    const Sequence& s = all[static_cast<std::size_t>(task / Hkv)];
    const std::int64_t kv = task % Hkv, first = s.b * T + s.begin;
    const float* row = in + first * stride;
    float* grad_row = grad + first * stride;
    float *dk = grad_row + (H + kv) * D, *dv = grad_row + (H + Hkv + kv) * D;
    for (std::int64_t t = 0; t < s.n_rows; ++t) {
      std::fill(dk + t * stride, dk + t * stride + D, 0.0f);
      std::fill(dv + t * stride, dv + t * stride + D, 0.0f);
    }
    for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h)
      head_backward({.q = row + h * D,
                     .k = row + (H + kv) * D,
                     .v = row + (H + Hkv + kv) * D,
                     .out = out.as<float>() + (first * H + h) * D,
                     .dout = dout.as<float>() + (first * H + h) * D,
                     .lse = lse.as<float>() + (s.b * H + h) * T + s.begin,
                     .dq = grad_row + h * D,
                     .dk = dk,
                     .dv = dv,
                     .qkv_stride = stride,
                     .out_stride = H * D,
                     .T = s.n_rows,
                     .n_keys = s.n_keys,
                     .D = D,
                     .window = window(args),
                     .scale = args.scale,
                     .softcap = args.softcap,
                     .drop = head_dropout(args, h, s, T)},
                    scratch.mine());
  });
}

std::size_t attention_cached_scratch_bytes(std::int64_t head_dim, int n_threads) {
  return TeamScratch::bytes(cached_scratch_elems(head_dim), n_threads);
}

void attention_cached(View out, View k_cache, View v_cache, ConstView qkv, ConstView pages,
                      const CachedPlan& plan, const AttentionArgs& args, Stream& stream) {
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim, group = H / Hkv;
  const std::int64_t stride = (H + 2 * Hkv) * D, S = k_cache.dim(1), size = k_cache.dim(3);
  const auto* in = qkv.as<float>();
  const auto head_of = [&](View cache, std::int64_t elem) -> const void* {
    return static_cast<const std::byte*>(cache.data()) +
           static_cast<std::size_t>(elem) * dtype_bytes(cache.dtype());
  };
  const std::vector<CacheSlice> slices = slices_of(plan);
  const auto table = [&](const CacheSlice& s) {
    return pages.empty() ? nullptr : pages.as<std::int32_t>() + s.slot * pages.dim(1);
  };
  const auto cache_row = [&](const CacheSlice& s, std::int64_t token) {
    return pages.empty() ? s.slot * S + token : table(s)[token / S] * S + token % S;
  };

  struct Task {
    const CacheSlice* slice;
    std::int64_t head, first_query;
  };
  std::vector<Task> tasks;
  // Where what one thread does behind each other begins: some heads of few queries, whose time goes
  // with reading keys that it then knows beforehand.
  std::vector<std::size_t> runs;
  const auto decodes =
      std::ranges::count_if(slices, [](const CacheSlice& s) { return s.n_rows == 1; });
  const std::int64_t most = std::clamp<std::int64_t>(decodes * H / (4 * stream.n_threads()), 1, 16);
  std::int64_t in_run = most;
  for (const CacheSlice& s : slices) {
    if (!pages.empty()) check_pages(pages, s, k_cache.dim(0), S);
    for (std::int64_t i = 0; i < s.n_rows; ++i) {
      const float* row = in + (s.first_row + i) * stride;
      const std::int64_t at = cache_row(s, s.n_cached + i) * Hkv;
      put_token(k_cache, at, row + H * D, Hkv, D);
      put_token(v_cache, at, row + (H + Hkv) * D, Hkv, D);
    }
    count(stream, args, s.n_cached, s.n_rows, s.n_cached + s.n_rows, kForwardFlopsOfPair);
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t i = 0; i < s.n_rows; i += kTile, ++in_run) {
        if (in_run >= most || s.n_rows > 1) {
          runs.push_back(tasks.size());
          in_run = s.n_rows > 1 ? most : 0;
        }
        tasks.push_back({&s, h, i});
      }
  }
  const TeamScratch scratch(stream, cached_scratch_elems(D));
  const auto head_of_task = [&](const Task& task) -> HeadForward {
    const CacheSlice& s = *task.slice;
    const std::int64_t h = task.head,
                       cache = ((pages.empty() ? s.slot * S * Hkv : 0) + h / group) * size;
    return {.q = in + s.first_row * stride + h * D,
            .k = head_of(k_cache, cache),
            .v = head_of(v_cache, cache),
            .out = out.as<float>() + (s.first_row * H + h) * D,
            .lse = nullptr,
            .kv = k_cache.dtype(),
            .q_stride = stride,
            .kv_stride = Hkv * size,
            .out_stride = H * D,
            .first_query = task.first_query,
            .n_q = std::min(kTile, s.n_rows - task.first_query),
            .n_keys = s.n_cached + s.n_rows,
            .offset = s.n_cached,
            .D = D,
            .window = window(args),
            .pages = {table(s), S},
            .scale = args.scale,
            .softcap = args.softcap,
            .drop = {}};
  };
  runs.push_back(tasks.size());
  parallel_tasks(stream, static_cast<std::int64_t>(runs.size()) - 1, [&](std::int64_t r) {
    const std::size_t end = runs[static_cast<std::size_t>(r) + 1];
    for (std::size_t t = runs[static_cast<std::size_t>(r)]; t < end; ++t) {
      const HeadForward head = head_of_task(tasks[t]);
      if (head.n_q > 1) {
        head_forward(head, scratch.mine());
      } else if (t + 1 < end) {
        const HeadForward next = head_of_task(tasks[t + 1]);
        head_decode(head, &next, scratch.mine());
      } else {
        head_decode(head, nullptr, scratch.mine());
      }
    }
  });
}

}  // namespace weft::cpu

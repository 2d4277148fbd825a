// Cuts batches, heads and caches into the single-head problems of attention_tile, and shares them among the threads.
#include <omp.h>

#include <algorithm>
#include <cstring>
#include <vector>

#include "kernels/backends.h"
#include "kernels/cpu/attention_tile.h"
#include "kernels/cpu/parallel.h"

namespace weft::cpu {
namespace {

// A piece of scratch for each thread of the team.
class TeamScratch {
 public:
  TeamScratch(Stream& stream, std::int64_t elems)
      : elems_((elems + 15) / 16 * 16),
        base_(static_cast<float*>(stream.scratch(static_cast<std::size_t>(elems_ * stream.n_threads()) * sizeof(float)))) {}
  float* mine() const { return base_ + elems_ * omp_get_thread_num(); }

 private:
  std::int64_t elems_;
  float* base_;
};

HeadDropout head_dropout(const AttentionArgs& args, std::int64_t h, std::int64_t b, std::int64_t T) {
  return {args.drop, args.first_head + h, T, args.drop.first_sample + b};
}

}  // namespace

void attention(View out, View lse, ConstView qkv, ConstView lengths, const AttentionArgs& args, Stream& stream) {
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim, group = H / Hkv;
  const std::int64_t B = qkv.dim(0), T = qkv.dim(1), stride = (H + 2 * Hkv) * D, tiles = (T + kTile - 1) / kTile;
  const auto* in = qkv.as<float>();
  const TeamScratch scratch(stream, head_forward_scratch_elems(D));
  parallel_tasks(stream, B * H * tiles, [&](std::int64_t task) {
    const std::int64_t b = task / (H * tiles), h = task / tiles % H, tile = tiles - 1 - task % tiles;  // the long ones first
    const float* row = in + b * T * stride;
    head_forward({.q = row + h * D, .k = row + (H + h / group) * D, .v = row + (H + Hkv + h / group) * D,
                  .out = out.as<float>() + b * T * H * D + h * D, .lse = lse.as<float>() + (b * H + h) * T,
                  .q_stride = stride, .kv_stride = stride, .out_stride = H * D,
                  .first_query = tile * kTile, .n_q = std::min(kTile, T - tile * kTile),
                  .n_keys = lengths.empty() ? T : std::clamp<std::int64_t>(lengths.as<std::int32_t>()[b], 0, T), .offset = 0, .D = D,
                  .causal = args.causal, .scale = args.scale, .drop = head_dropout(args, h, b, T)},
                 scratch.mine());
  });
}

void attention_backward(View dqkv, ConstView dout, ConstView out, ConstView lse, ConstView qkv, ConstView lengths, const AttentionArgs& args,
                        Stream& stream) {
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim, group = H / Hkv;
  const std::int64_t B = qkv.dim(0), T = qkv.dim(1), stride = (H + 2 * Hkv) * D;
  const auto* in = qkv.as<float>();
  auto* grad = dqkv.as<float>();
  const TeamScratch scratch(stream, head_backward_scratch_elems(T, D));
  parallel_tasks(stream, B * Hkv, [&](std::int64_t task) {
    const std::int64_t b = task / Hkv, kv = task % Hkv;
    const float* row = in + b * T * stride;
    float* grad_row = grad + b * T * stride;
    float *dk = grad_row + (H + kv) * D, *dv = grad_row + (H + Hkv + kv) * D;
    for (std::int64_t t = 0; t < T; ++t) {
      std::fill(dk + t * stride, dk + t * stride + D, 0.0f);
      std::fill(dv + t * stride, dv + t * stride + D, 0.0f);
    }
    for (std::int64_t h = kv * group; h < (kv + 1) * group; ++h)
      head_backward({.q = row + h * D, .k = row + (H + kv) * D, .v = row + (H + Hkv + kv) * D,
                     .out = out.as<float>() + b * T * H * D + h * D, .dout = dout.as<float>() + b * T * H * D + h * D,
                     .lse = lse.as<float>() + (b * H + h) * T, .dq = grad_row + h * D, .dk = dk, .dv = dv, .qkv_stride = stride,
                     .out_stride = H * D, .T = T,
                     .n_keys = lengths.empty() ? T : std::clamp<std::int64_t>(lengths.as<std::int32_t>()[b], 0, T), .D = D,
                     .causal = args.causal, .scale = args.scale, .drop = head_dropout(args, h, b, T)},
                    scratch.mine());
  });
}

void attention_cached(View out, View k_cache, View v_cache, ConstView qkv, std::span<const CacheSlice> slices, const AttentionArgs& args,
                      Stream& stream) {
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim, group = H / Hkv;
  const std::int64_t stride = (H + 2 * Hkv) * D, S = k_cache.dim(1), kv_row = Hkv * D;
  const auto* in = qkv.as<float>();
  auto *k = k_cache.as<float>(), *v = v_cache.as<float>();

  const auto decodes = [&](const CacheSlice& s) { return s.n_rows == 1 && !args.fixed_order; };
  struct Task {
    const CacheSlice* slice;
    std::int64_t head, first_query;
  };
  std::vector<Task> tasks;
  std::int64_t most_keys = 0;
  for (const CacheSlice& s : slices) {
    for (std::int64_t i = 0; i < s.n_rows; ++i) {
      const float* row = in + (s.first_row + i) * stride;
      const std::int64_t at = (s.slot * S + s.n_cached + i) * kv_row;
      std::memcpy(k + at, row + H * D, static_cast<std::size_t>(kv_row) * sizeof(float));
      std::memcpy(v + at, row + (H + Hkv) * D, static_cast<std::size_t>(kv_row) * sizeof(float));
    }
    most_keys = std::max(most_keys, s.n_cached + s.n_rows);
    const std::int64_t step = decodes(s) ? 1 : kTile;
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t i = 0; i < s.n_rows; i += step) tasks.push_back({&s, h, i});
  }
  const TeamScratch scratch(stream, std::max(most_keys, head_forward_scratch_elems(D)));
  parallel_tasks(stream, static_cast<std::int64_t>(tasks.size()), [&](std::int64_t t) {
    const Task& task = tasks[static_cast<std::size_t>(t)];
    const CacheSlice& s = *task.slice;
    const std::int64_t h = task.head, cache = s.slot * S * kv_row + h / group * D;
    const HeadForward head = {.q = in + s.first_row * stride + h * D, .k = k + cache, .v = v + cache,
                              .out = out.as<float>() + (s.first_row * H + h) * D, .lse = nullptr, .q_stride = stride, .kv_stride = kv_row,
                              .out_stride = H * D, .first_query = task.first_query, .n_q = std::min(kTile, s.n_rows - task.first_query),
                              .n_keys = s.n_cached + s.n_rows, .offset = s.n_cached, .D = D, .causal = args.causal, .scale = args.scale,
                              .drop = {}};
    if (decodes(s)) head_decode(head, scratch.mine());
    else head_forward(head, scratch.mine());
  });
}

}  // namespace weft::cpu

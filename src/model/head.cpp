#include "model/head.h"

#include <algorithm>
#include <cstring>

#include "model/tensor_parallel.h"

namespace weft {
namespace {

constexpr std::int64_t kLogitsBytes = 64 << 20;  // of one block of logits: large enough for the matmul's full speed

ConstView matmul_weight(const LocalParameter& p) { return p.weight_bf16.empty() ? p.weight : p.weight_bf16; }

}  // namespace

std::int64_t logits_block_rows(std::int64_t n_rows, std::int64_t V_tp) {
  const std::int64_t fit = kLogitsBytes / (4 * std::max<std::int64_t>(V_tp, 1)) / 64 * 64;
  const std::int64_t most = std::clamp<std::int64_t>(fit, 64, 1024);
  const std::int64_t blocks = (n_rows + most - 1) / most;
  return std::max<std::int64_t>(1, (n_rows + blocks - 1) / std::max<std::int64_t>(blocks, 1));
}

HeadScratch allocate_head_scratch(Arena& arena, std::int64_t n_rows, std::int64_t V_tp, int tp) {
  const std::int64_t R = logits_block_rows(n_rows, V_tp);
  HeadScratch s;
  s.logits = arena.alloc(DType::f32, {R, V_tp});
  s.stats = arena.alloc(DType::f32, {R, 3});
  s.gathered = arena.alloc(DType::f32, {tp, R, 3});
  s.lse = arena.alloc(DType::f32, {R});
  return s;
}

void head_loss(const Context& ctx, View loss, View dy, ConstView y, ConstView labels, const LocalParameter& weight, float scale_factor,
               const HeadScratch& scratch) {
  const auto [N, C] = y.dims<2>();
  const std::int64_t R = scratch.logits.dim(0), V_tp = scratch.logits.dim(1), tp = ctx.grid.shape().tp;
  const std::int64_t first_vocab = weight.slice.whole() ? 0 : weight.slice.ranges[0].begin;
  const ConstView w = matmul_weight(weight);
  for (std::int64_t begin = 0; begin < N; begin += R) {
    const std::int64_t end = std::min(N, begin + R), n = end - begin;
    const View logits = scratch.logits.rows(0, n), stats = scratch.stats.rows(0, n), lse = scratch.lse.rows(0, n);
    const ConstView y_rows = y.rows(begin, end), label_rows = labels.rows(begin, end);
    if (V_tp > 0) linear(logits, y_rows, w, ConstView(), ctx.precision, ctx.stream);
    cross_entropy_stats(stats, logits, label_rows, first_vocab, 0, ctx.stream);
    View all = View(scratch.gathered.as<float>(), Dims{tp, n, 3});
    if (tp == 1) {
      all = stats.reshape({1, n, 3});
    } else {
      const auto booked = book(ctx, Share::comm);
      ctx.grid.tp().all_gather(all, stats, ctx.stream);
    }
    cross_entropy_combine(loss.rows(begin, end), lse, all, label_rows, ctx.stream);
    if (dy.empty()) continue;
    cross_entropy_backward(logits, lse, label_rows, first_vocab, scale_factor, 0, ctx.stream);
    if (V_tp > 0) {
      linear_backward_weight(weight.grad, View(), logits, y_rows, ctx.precision, ctx.stream);
      linear_backward_input(dy.rows(begin, end), logits, w, ctx.precision, ctx.stream);
    } else {
      std::memset(dy.rows(begin, end).data(), 0, dy.rows(begin, end).bytes());
    }
  }
  if (!dy.empty()) all_reduce_tp(ctx, dy);
}

void head_logits(const Context& ctx, View logits, View shard, View gathered, ConstView y, const LocalParameter& weight, std::int64_t V) {
  const int tp = ctx.grid.shape().tp;
  if (tp == 1) return linear(logits, y, matmul_weight(weight), ConstView(), ctx.precision, ctx.stream);
  const std::int64_t V_tp = shard.dim(1);
  if (V_tp > 0) linear(shard, y, matmul_weight(weight), ConstView(), ctx.precision, ctx.stream);
  std::vector<std::int64_t> widths;
  for (int r = 0; r < tp; ++r) widths.push_back(split_range(V, tp, r).size());
  gather_columns_tp(ctx, logits, gathered, shard, widths);
}

}  // namespace weft

#include "model/head.h"

#include <algorithm>
#include <vector>

#include "model/parameter_views.h"
#include "model/tensor_parallel.h"

namespace weft {
namespace {

constexpr std::int64_t kLogitsBytes =
    64 << 20;  // of one block of logits: large enough for the matmul's full speed
constexpr std::int64_t kGpuRows = 4096;

// Columns of each tp rank: of the vocabulary, and as they lie in memory.
struct RankColumns {
  std::vector<std::int64_t> widths, held;
  std::int64_t all_held = 0;
};
RankColumns rank_columns(std::int64_t V, int tp, Device device) {
  RankColumns c;
  for (int r = 0; r < tp; ++r) {
    const std::int64_t width = c.widths.emplace_back(split_range(V, tp, r).size());
    c.all_held += c.held.emplace_back(padded_vocab(width, device));
  }
  return c;
}

// The scratch's views of N rows: (1, N, C) and (N, C).
View stream(View x, std::int64_t N) {
  return x.reshape({x.dim(1), x.dim(2)}).rows(0, N).reshape({1, N, x.dim(2)});
}
View rows(View x, std::int64_t N) { return x.reshape({x.dim(1), x.dim(2)}).rows(0, N); }
NormStatistics statistics(const NormStatistics& s, std::int64_t N) {
  const auto first = [&](View x) {
    return x.empty() ? View() : x.reshape({x.elems()}).rows(0, N).reshape({1, N});
  };
  return {first(s.mean), first(s.rstd)};
}

// z = norm(act(y Wᵀ + b))
View transform(const Context& ctx, ConstView y, const LmHeadParameters& head,
               const HeadScratch& s) {
  const std::int64_t N = y.dim(0);
  linear(rows(s.dense, N), y, matmul_weight(*head.dense_w), weight_of(head.dense_b), ctx.precision,
         ctx.stream);
  activation(rows(s.act, N), rows(s.dense, N), ConstView(), head.activation, ctx.stream);
  add_norm(ctx, stream(s.z, N), View(), statistics(s.norm, N), stream(s.act, N), ConstView(),
           head.norm, {});
  return rows(s.z, N);
}

// dy from dz, which is in s.d.
void transform_backward(const Context& ctx, View dy, ConstView y, const LmHeadParameters& head,
                        const HeadScratch& s) {
  const std::int64_t N = y.dim(0);
  const View d_act = s.z;  // z itself is spent
  fill(d_act, 0, ctx.stream);
  add_norm_backward(ctx, stream(d_act, N), View(), stream(s.d, N), stream(s.act, N),
                    statistics(s.norm, N), head.norm, {});
  activation_backward(rows(d_act, N), begin_grad(head.dense_b), rows(d_act, N), rows(s.dense, N),
                      ConstView(), head.activation, ctx.stream);
  linear_backward_weight(begin_grad(head.dense_w), {}, rows(d_act, N), y, ctx.precision,
                         ctx.stream);
  linear_backward_input(dy, rows(d_act, N), matmul_weight(*head.dense_w), ctx.precision,
                        ctx.stream);
}

}  // namespace

LmHeadParameters find_lm_head(const Parameters& parameters) {
  LmHeadParameters head;
  head.weight = parameters.find("head.weight");
  if (!head.weight) head.weight = &parameters.at("embed.tokens.weight");  // tied, on the same stage
  head.bias = parameters.find("head.bias");
  head.dense_w = parameters.find("head.dense.weight");
  head.dense_b = parameters.find("head.dense.bias");
  head.norm = find_norm(parameters, "head.norm");
  head.activation = parameters.config().head_activation;
  head.softcap = parameters.config().logit_softcap;
  return head;
}

std::int64_t padded_columns(std::int64_t V, int tp, Device device) {
  return rank_columns(V, tp, device).all_held;
}

std::int64_t logits_block_rows(std::int64_t n_rows, std::int64_t V_tp, Device device) {
  if (device.type == DeviceType::cuda) return std::clamp<std::int64_t>(n_rows, 1, kGpuRows);
  const std::int64_t fit = kLogitsBytes / (4 * std::max<std::int64_t>(V_tp, 1)) / 64 * 64;
  const std::int64_t most = std::clamp<std::int64_t>(fit, 64, 1024);
  const std::int64_t blocks = (n_rows + most - 1) / most;
  return std::max<std::int64_t>(1, (n_rows + blocks - 1) / std::max<std::int64_t>(blocks, 1));
}

HeadScratch allocate_head_scratch(Arena& arena, const ModelConfig& config, const HeadShape& shape) {
  const auto& [n_rows, V_tp, tp, act, device] = shape;
  // As the rank with most of the vocabulary cuts them: all of them gather a block together.
  const std::int64_t most = split_range(config.vocab, tp, 0).size(),
                     R = logits_block_rows(n_rows, most, device);
  HeadScratch s;
  s.logits = arena.alloc(act, {R, padded_vocab(V_tp, device)});
  s.stats = arena.alloc(DType::f32, {R, 3});
  s.gathered = arena.alloc(DType::f32, {tp, R, 3});
  s.lse = arena.alloc(DType::f32, {R});
  if (!config.head_transform) return s;
  for (View* x : {&s.dense, &s.act, &s.z, &s.d}) *x = arena.alloc(act, {1, n_rows, config.width});
  s.norm = allocate_norm(arena, config, 1, n_rows);
  return s;
}

void head_loss(const Context& ctx, View loss, View dy, ConstView y, ConstView labels,
               const LmHeadParameters& head, float scale_factor, const HeadScratch& scratch) {
  const auto [N, C] = y.dims<2>();
  const std::int64_t R = scratch.logits.dim(0), tp = ctx.grid.shape().tp;
  const LocalParameter& weight = *head.weight;
  const Range vocab = weight.slice.ranges[0];
  const VocabColumns columns = {vocab.begin, vocab.size()};
  const bool has_vocab = columns.n > 0;
  const ConstView w = padded(&weight, matmul_weight(weight)),
                  b = padded(head.bias, weight_of(head.bias));
  const ConstView z = head.dense_w ? ConstView(transform(ctx, y, head, scratch)) : y;
  const View dz = head.dense_w && !dy.empty() ? rows(scratch.d, N) : dy;
  RowSums sums;  // of dz
  for (std::int64_t begin = 0; begin < N; begin += R) {
    const std::int64_t end = std::min(N, begin + R), n = end - begin;
    const View logits = scratch.logits.rows(0, n), stats = scratch.stats.rows(0, n),
               lse = scratch.lse.rows(0, n);
    const ConstView z_rows = z.rows(begin, end), label_rows = labels.rows(begin, end);
    if (has_vocab) linear(logits, z_rows, w, b, ctx.precision, ctx.stream);
    cross_entropy_stats(stats, logits, label_rows, columns, head.softcap, ctx.stream);
    View all = scratch.gathered.reshape({tp * R * 3}).rows(0, tp * n * 3).reshape({tp, n, 3});
    if (tp == 1) {
      all = stats.reshape({1, n, 3});
    } else {
      const auto timed = time_as(ctx, TimeShare::comm);
      ctx.grid.tp().all_gather(all, stats, ctx.stream);
    }
    cross_entropy_combine(loss.rows(begin, end), lse, all, label_rows, ctx.stream);
    if (dz.empty()) continue;
    cross_entropy_backward(logits, lse, label_rows, columns, scale_factor, head.softcap,
                           ctx.stream);
    const View dz_rows = dz.rows(begin, end);
    if (has_vocab)
      linear_backward_input(dz_rows, logits, w, ctx.precision, ctx.stream);
    else
      fill(dz_rows, 0, ctx.stream);
    sums.start(ctx, dz_rows, begin);  // runs while the weight's gradient is made
    if (has_vocab)
      linear_backward_weight(begin_padded_grad(&weight), begin_padded_grad(head.bias), logits,
                             z_rows, ctx.precision, ctx.stream);
  }
  if (dz.empty()) return;
  sums.wait();
  if (head.dense_w) transform_backward(ctx, dy, y, head, scratch);
}

void head_logits(const Context& ctx, View logits, View shard, View gathered, ConstView y,
                 const LmHeadParameters& head, const HeadScratch& scratch) {
  const int tp = ctx.grid.shape().tp;
  const ConstView z = head.dense_w ? ConstView(transform(ctx, y, head, scratch)) : y;
  const RankColumns columns = rank_columns(logits.dim(1), tp, logits.device());
  const View product = tp == 1 && columns.held == columns.widths ? logits : shard;
  if (product.dim(1) > 0)
    linear(product, z, padded(head.weight, matmul_weight(*head.weight)),
           padded(head.bias, weight_of(head.bias)), ctx.precision, ctx.stream);
  if (tp > 1)
    gather_columns_tp(ctx, logits, gathered, product, columns.widths, columns.held);
  else if (product.dim(1) > logits.dim(1))
    join_columns(logits, product.reshape({product.elems()}), columns.widths, columns.held,
                 ctx.stream);
  if (head.softcap > 0) soft_cap(logits, logits, head.softcap, ctx.stream);
}

}  // namespace weft

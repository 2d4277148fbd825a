#include "model/qk_norm.h"

#include "model/parameter_views.h"
#include "model/tensor_parallel.h"

namespace weft {
namespace {

// The two parts of squares or dots: (N, G of q), (N, G of k).
struct Groups {
  View q, k;
};
Groups groups_of(const QkNormShape& s, View flat, std::int64_t N) {
  const std::int64_t q = N * s.q_groups, all = N * s.groups();
  return {flat.rows(0, q).reshape({N, s.q_groups}), flat.rows(q, all).reshape({N, s.k_groups})};
}

}  // namespace

QkNormShape qk_norm_shape(const ModelConfig& c, const Grid& grid, ParameterUse use) {
  QkNormShape s;
  if (c.qk_norm == QkNorm::none) return s;
  const int tp = grid.shape().tp, rank = grid.tp().rank();
  const HeadShard mine = split_heads(c.heads, c.kv_heads, tp, rank);
  const bool whole = c.qk_norm == QkNorm::whole;
  s.q = {.whole = whole,
         .first_row = 0,
         .n_heads = static_cast<int>(mine.q.size()),
         .place = whole ? static_cast<int>(mine.q.begin) : 0,
         .n_repeated = 0,
         .offset = c.norm_offset,
         .eps = c.norm_eps};
  s.k = s.q;
  s.k.first_row = s.q.n_heads;
  s.k.n_heads = static_cast<int>(mine.kv.size());
  if (whole) {
    s.k.place = static_cast<int>(mine.kv.begin);
    s.k.n_repeated = static_cast<int>(repeated_kv_heads(c, tp, rank));
  }
  s.q_groups = whole ? c.heads : s.q.n_heads;
  s.k_groups = whole ? c.kv_heads : s.k.n_heads;
  s.keeps_raw = use == ParameterUse::training;
  return s;
}

QkNormActivations allocate_qk_norm(Arena& arena, const QkNormShape& s, std::int64_t N,
                                   std::int64_t D, DType act) {
  if (s.groups() == 0) return {};
  const auto raw = [&](std::int64_t heads) {
    return s.keeps_raw ? arena.alloc(act, {N, heads, D}) : View();
  };
  return {.q_raw = raw(s.q.n_heads),
          .k_raw = raw(s.k.n_heads),
          .squares = arena.alloc(DType::f32, {N * s.groups()})};
}

void norm_qk(const Context& ctx, const QkNormShape& s, const QkNormParameters& p,
             const QkNormActivations& acts, View qkv) {
  const Groups squares = groups_of(s, acts.squares, qkv.dim(0));
  head_squares(squares.q, qkv, s.q, ctx.stream);
  head_squares(squares.k, qkv, s.k, ctx.stream);
  // A head's squares come from one rank, zeros from the others: the sum is exact.
  if (s.q.whole) all_reduce_tp(ctx, acts.squares);
  head_norm(qkv, acts.q_raw, squares.q, p.q->weight, s.q, ctx.stream);
  head_norm(qkv, acts.k_raw, squares.k, p.k->weight, s.k, ctx.stream);
}

void norm_qk_backward(const Context& ctx, const QkNormShape& s, const QkNormParameters& p,
                      const QkNormActivations& acts, View d_qkv, View dots) {
  const std::int64_t N = d_qkv.dim(0);
  const Groups squares = groups_of(s, acts.squares, N), both = groups_of(s, dots, N);
  head_dots(both.q, d_qkv, acts.q_raw, p.q->weight, s.q, ctx.stream);
  head_dots(both.k, d_qkv, acts.k_raw, p.k->weight, s.k, ctx.stream);
  if (s.q.whole) all_reduce_tp(ctx, dots);
  head_norm_backward(d_qkv, begin_grad(p.q), acts.q_raw, squares.q, both.q, p.q->weight, s.q,
                     ctx.stream);
  head_norm_backward(d_qkv, begin_grad(p.k), acts.k_raw, squares.k, both.k, p.k->weight, s.k,
                     ctx.stream);
}

}  // namespace weft

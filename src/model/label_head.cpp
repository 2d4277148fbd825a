#include "model/label_head.h"

#include <algorithm>

#include "model/parameter_views.h"

namespace weft {
namespace {

Activation activation_of(const ModelConfig& config) {
  return config.pooling == Pooling::first_relu ? Activation::relu : Activation::tanh;
}

// Dropout counts elements of a sequence: here the M states are the sequences.
View as_sequences(View x) { return x.reshape({x.dim(0), 1, x.dim(1)}); }

}  // namespace

LabelHeadParameters find_label_head(const Parameters& parameters, const ModelConfig& config) {
  const std::string dense = config.pooler ? "pooler" : "pool",
                    labels = config.head == HeadKind::classify_tokens ? "token_labels" : "labels";
  return {parameters.find(dense + ".weight"), parameters.find(dense + ".bias"),
          parameters.find(labels + ".weight"), parameters.find(labels + ".bias")};
}

LabelScratch allocate_label_scratch(Arena& arena, const ModelConfig& c, std::int64_t M, DType act) {
  LabelScratch s;
  for (View* x : {&s.picked, &s.dense, &s.pooled, &s.d_pooled, &s.d_picked})
    *x = arena.alloc(act, {M, c.width});
  s.logits = arena.alloc(act, {M, c.n_labels});
  s.lse = arena.alloc(DType::f32, {M});
  s.stats = arena.alloc(DType::f32, {M, 3});
  return s;
}

std::int64_t classified_end(std::int32_t pad_id, std::span<const std::int32_t> ids) {
  const auto n = static_cast<std::int64_t>(ids.size());
  if (pad_id < 0) return n;
  const auto last =
      std::find_if(ids.rbegin(), ids.rend(), [&](std::int32_t id) { return id != pad_id; });
  return last == ids.rend() ? std::min<std::int64_t>(n, 1) : ids.rend() - last;
}

std::vector<std::int64_t> labelled_rows(const ModelConfig& c, std::span<const std::int64_t> begins,
                                        std::span<const std::int64_t> ends) {
  std::vector<std::int64_t> rows;
  const bool last = c.head == HeadKind::classify && c.pooling == Pooling::last_token;
  for (std::size_t i = 0; i < begins.size(); ++i)
    rows.push_back(begins[i] == ends[i] ? -1 : last ? ends[i] - 1 : begins[i]);
  return rows;
}

void label_logits(const LabelCall& call, ConstView y) {
  const auto& [ctx, config, head, s, rows, drop] = call;
  const std::int64_t M = rows.dim(0);
  const View picked = s.picked.rows(0, M), dense = s.dense.rows(0, M), pooled = s.pooled.rows(0, M);
  gather_rows(picked, y, rows, ctx.stream);
  ConstView state = picked;
  if (head.dense_w) {
    linear(dense, picked, head.dense_w->weight, weight_of(head.dense_b), ctx.precision, ctx.stream);
    activation(pooled, dense, ConstView(), activation_of(config), ctx.stream);
    state = pooled;
  }
  if (!head.labels_w) return;
  if (drop.p > 0) {
    const View dropped = head.dense_w ? pooled : picked;
    dropout(as_sequences(dropped), as_sequences(dropped), drop, ctx.stream);
  }
  linear(s.logits.rows(0, M), state, head.labels_w->weight, weight_of(head.labels_b), ctx.precision,
         ctx.stream);
}

void label_loss(const LabelCall& call, View loss, View dy, ConstView labels, ConstView targets,
                float scale_factor) {
  const auto& [ctx, config, head, s, rows, drop] = call;
  const std::int64_t M = rows.dim(0);
  const View logits = s.logits.rows(0, M);
  if (config.problem == Problem::single_label || config.head == HeadKind::classify_tokens) {
    const View stats = s.stats.rows(0, M), lse = s.lse.rows(0, M);
    const VocabColumns all = {0, logits.dim(1)};
    cross_entropy_stats(stats, logits, labels, all, 0, ctx.stream);
    cross_entropy_combine(loss, lse, stats.reshape({1, M, 3}), labels, ctx.stream);
    if (!dy.empty()) cross_entropy_backward(logits, lse, labels, all, scale_factor, 0, ctx.stream);
  } else {
    const ElementLoss kind = config.problem == Problem::regression
                                 ? ElementLoss::squared_error
                                 : ElementLoss::binary_cross_entropy;
    element_loss(loss, dy.empty() ? View() : logits, logits, labels, targets, kind, scale_factor,
                 ctx.stream);
  }
  if (dy.empty()) return;

  const View picked = s.picked.rows(0, M), pooled = s.pooled.rows(0, M), dense = s.dense.rows(0, M),
             d_pooled = s.d_pooled.rows(0, M);
  View d_picked = s.d_picked.rows(0, M);
  linear_backward_weight(begin_grad(head.labels_w), begin_grad(head.labels_b), logits,
                         head.dense_w ? pooled : picked, ctx.precision, ctx.stream);
  linear_backward_input(d_pooled, logits, head.labels_w->weight, ctx.precision, ctx.stream);
  if (drop.p > 0) dropout(as_sequences(d_pooled), as_sequences(d_pooled), drop, ctx.stream);
  if (head.dense_w) {
    activation_backward(d_pooled, begin_grad(head.dense_b), d_pooled, dense, ConstView(),
                        activation_of(config), ctx.stream);
    linear_backward_weight(begin_grad(head.dense_w), {}, d_pooled, picked, ctx.precision,
                           ctx.stream);
    linear_backward_input(d_picked, d_pooled, head.dense_w->weight, ctx.precision, ctx.stream);
  } else {
    d_picked = d_pooled;
  }
  scatter_rows(dy, d_picked, rows, ctx.stream);
}

}  // namespace weft

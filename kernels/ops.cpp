// Checks what every op is given, then calls the back end of the device; attention's are in
// ops_attention.cpp.
#include "kernels/op_checks.h"

namespace weft {
using namespace op_checks;

void linear(View y, ConstView x, ConstView w, ConstView bias, Precision precision, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const auto [O, I_w] = matrix_dims(w);
  const DType act = act_dtype("linear", x, stream);
  expect("linear", "x", x, {N, I_w}, act);
  expect_matrix("linear", w, {O, I}, precision, stream);
  expect("linear", "y", y, {N, O}, act);
  expect_optional("linear", "bias", bias, {O});
  backend(stream).linear(y, x, w, bias, precision, stream);
}

void linear_gelu(View y, View pre, ConstView x, ConstView w, ConstView bias, Precision precision,
                 Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const auto [O, I_w] = matrix_dims(w);
  const DType act = act_dtype("linear_gelu", x, stream);
  expect("linear_gelu", "x", x, {N, I_w}, act);
  expect_matrix("linear_gelu", w, {O, I}, precision, stream);
  expect("linear_gelu", "y", y, {N, O}, act);
  expect("linear_gelu", "pre", pre, {N, O}, act);
  expect_optional("linear_gelu", "bias", bias, {O});
  backend(stream).linear_gelu(y, pre, x, w, bias, precision, stream);
}

void linear_gelu_backward(View dpre, ConstView dy, ConstView w, ConstView pre, Precision precision,
                          Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const auto [O_w, I] = w.dims<2>();
  const DType act = act_dtype("linear_gelu_backward", dy, stream);
  expect("linear_gelu_backward", "dy", dy, {N, O_w}, act);
  expect_weight("linear_gelu_backward", w, {O, I});
  expect("linear_gelu_backward", "pre", pre, {N, I}, act);
  expect("linear_gelu_backward", "dpre", dpre, {N, I}, act);
  backend(stream).linear_gelu_backward(dpre, dy, w, pre, precision, stream);
}

void linear_backward_input(View dx, ConstView dy, ConstView w, Precision precision,
                           Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const auto [O_w, I] = w.dims<2>();
  const DType act = act_dtype("linear_backward_input", dy, stream);
  expect("linear_backward_input", "dy", dy, {N, O_w}, act);
  expect_weight("linear_backward_input", w, {O, I});
  expect("linear_backward_input", "dx", dx, {N, I}, act);
  backend(stream).linear_backward_input(dx, dy, w, precision, stream);
}

namespace {

// Whether sums over `rows` rows are of none; then they are 0, and there is nothing else to do.
bool sum_no_rows(std::int64_t rows, std::initializer_list<Gradient> sums, Stream& stream) {
  if (rows > 0) return false;
  for (const Gradient& g : sums)
    if (!g.empty() && !g.accumulate) fill(g.sum, 0, stream);
  return true;
}

}  // namespace

void linear_backward_weight(Gradient dw, Gradient dbias, ConstView dy, ConstView x,
                            Precision precision, Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const auto [N_x, I] = x.dims<2>();
  const DType act = act_dtype("linear_backward_weight", dy, stream);
  expect("linear_backward_weight", "dy", dy, {N_x, O}, act);
  expect("linear_backward_weight", "x", x, {N, I}, act);
  expect("linear_backward_weight", "dw", dw.sum, {O, I});
  expect_optional("linear_backward_weight", "dbias", dbias.sum, {O});
  if (sum_no_rows(N, {dw, dbias}, stream)) return;
  backend(stream).linear_backward_weight(dw, dbias, dy, x, precision, stream);
}

void dropout(View y, ConstView x, const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = x.dims<3>();
  const DType act = act_dtype("dropout", x, stream);
  expect("dropout", "x", x, {B, T, C}, act);
  expect("dropout", "y", y, {B, T, C}, act);
  backend(stream).dropout(y, x, drop, stream);
}

void add_layer_norm(View y, View sum, View mean, View rstd, ConstView x, ConstView delta,
                    ConstView weight, ConstView bias, float eps, const Dropout& drop,
                    Stream& stream) {
  const auto [B, T, C] = x.dims<3>();
  const DType act = act_dtype("add_layer_norm", x, stream);
  expect("add_layer_norm", "x", x, {B, T, C}, act);
  expect_optional("add_layer_norm", "delta", delta, {B, T, C}, act);
  expect_optional("add_layer_norm", "sum", sum, {B, T, C}, act);
  CHECK(delta.empty() || !sum.empty(),
        "add_layer_norm: delta is given, but nowhere to put the sum");
  if (!y.empty()) {
    expect("add_layer_norm", "y", y, {B, T, C}, act);
    expect("add_layer_norm", "mean", mean, {B, T});
    expect("add_layer_norm", "rstd", rstd, {B, T});
    expect("add_layer_norm", "weight", weight, {C});
    expect_optional("add_layer_norm", "bias", bias, {C});
  }
  backend(stream).add_layer_norm(y, sum, mean, rstd, x, delta, weight, bias, eps, drop, stream);
}

void add_layer_norm_backward(View dsum, View ddelta, Gradient dweight, Gradient dbias, ConstView dy,
                             ConstView sum, ConstView mean, ConstView rstd, ConstView weight,
                             const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = dsum.dims<3>();
  const DType act = act_dtype("add_layer_norm_backward", dsum, stream);
  expect("add_layer_norm_backward", "dsum", dsum, {B, T, C}, act);
  expect_optional("add_layer_norm_backward", "ddelta", ddelta, {B, T, C}, act);
  if (!dy.empty()) {
    expect("add_layer_norm_backward", "dy", dy, {B, T, C}, act);
    expect("add_layer_norm_backward", "sum", sum, {B, T, C}, act);
    expect("add_layer_norm_backward", "mean", mean, {B, T});
    expect("add_layer_norm_backward", "rstd", rstd, {B, T});
    expect("add_layer_norm_backward", "weight", weight, {C});
    expect("add_layer_norm_backward", "dweight", dweight.sum, {C});
    expect_optional("add_layer_norm_backward", "dbias", dbias.sum, {C});
    if (sum_no_rows(B * T, {dweight, dbias}, stream)) return;
  }
  backend(stream).add_layer_norm_backward(dsum, ddelta, dweight, dbias, dy, sum, mean, rstd, weight,
                                          drop, stream);
}

void add_rms_norm(View y, View sum, View rstd, ConstView x, ConstView delta, ConstView weight,
                  float offset, float eps, const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = x.dims<3>();
  const DType act = act_dtype("add_rms_norm", x, stream);
  expect_optional("add_rms_norm", "delta", delta, {B, T, C}, act);
  expect_optional("add_rms_norm", "sum", sum, {B, T, C}, act);
  CHECK(delta.empty() || !sum.empty(), "add_rms_norm: delta is given, but nowhere to put the sum");
  if (!y.empty()) {
    expect("add_rms_norm", "y", y, {B, T, C}, act);
    expect("add_rms_norm", "rstd", rstd, {B, T});
    expect("add_rms_norm", "weight", weight, {C});
  }
  backend(stream).add_rms_norm(y, sum, rstd, x, delta, weight, offset, eps, drop, stream);
}

void add_rms_norm_backward(View dsum, View ddelta, Gradient dweight, ConstView dy, ConstView sum,
                           ConstView rstd, ConstView weight, float offset, const Dropout& drop,
                           Stream& stream) {
  const auto [B, T, C] = dsum.dims<3>();
  const DType act = act_dtype("add_rms_norm_backward", dsum, stream);
  expect_optional("add_rms_norm_backward", "ddelta", ddelta, {B, T, C}, act);
  if (!dy.empty()) {
    expect("add_rms_norm_backward", "dy", dy, {B, T, C}, act);
    expect("add_rms_norm_backward", "sum", sum, {B, T, C}, act);
    expect("add_rms_norm_backward", "rstd", rstd, {B, T});
    expect("add_rms_norm_backward", "weight", weight, {C});
    expect("add_rms_norm_backward", "dweight", dweight.sum, {C});
    if (sum_no_rows(B * T, {dweight}, stream)) return;
  }
  backend(stream).add_rms_norm_backward(dsum, ddelta, dweight, dy, sum, rstd, weight, offset, drop,
                                        stream);
}

namespace {

// heads: (N, R, D), the gradient in backward; groups: squares or dots.
void check_head_norm(const char* op, ConstView heads, ConstView groups, const HeadNormArgs& args,
                     const Stream& stream) {
  const auto [N, R, D] = heads.dims<3>();
  const std::int64_t h = args.n_heads, G = groups.dims<2>()[1];
  act_dtype(op, heads, stream);
  CHECK(args.first_row >= 0 && h >= 1 && args.first_row + h <= R, "{}: heads {} to {} of {}", op,
        args.first_row, args.first_row + h, R);
  CHECK(args.whole ? args.place >= 0 && args.place + h <= G
                   : args.place == 0 && args.n_repeated == 0 && G == h,
        "{}: {} heads from {} on, {} of them repeated, of {}", op, h, args.place, args.n_repeated,
        G);
  CHECK(args.n_repeated >= 0 && args.n_repeated <= h, "{}: {} of {} heads are repeated", op,
        args.n_repeated, h);
  if (stream.device().type == DeviceType::cuda)
    CHECK(D <= 256, "{}: head dim {} on a GPU; supported: up to 256", op, D);
  expect(op, "squares or dots", groups, {N, G});
}

void check_head_weight(const char* op, ConstView heads, ConstView raw, ConstView weight,
                       const HeadNormArgs& args) {
  const auto [N, R, D] = heads.dims<3>();
  expect_optional(op, "raw", raw, {N, args.n_heads, D}, heads.dtype());
  expect(op, "weight", weight, {args.whole ? args.n_heads * D : D});
}

}  // namespace

void head_squares(View squares, ConstView heads, const HeadNormArgs& args, Stream& stream) {
  check_head_norm("head_squares", heads, squares, args, stream);
  backend(stream).head_squares(squares, heads, args, stream);
}

void head_norm(View heads, View raw, ConstView squares, ConstView weight, const HeadNormArgs& args,
               Stream& stream) {
  check_head_norm("head_norm", heads, squares, args, stream);
  check_head_weight("head_norm", heads, raw, weight, args);
  backend(stream).head_norm(heads, raw, squares, weight, args, stream);
}

void head_dots(View dots, ConstView dheads, ConstView raw, ConstView weight,
               const HeadNormArgs& args, Stream& stream) {
  check_head_norm("head_dots", dheads, dots, args, stream);
  CHECK(!raw.empty(), "head_dots: raw is empty");
  check_head_weight("head_dots", dheads, raw, weight, args);
  backend(stream).head_dots(dots, dheads, raw, weight, args, stream);
}

void head_norm_backward(View dheads, Gradient dweight, ConstView raw, ConstView squares,
                        ConstView dots, ConstView weight, const HeadNormArgs& args,
                        Stream& stream) {
  check_head_norm("head_norm_backward", dheads, squares, args, stream);
  check_head_norm("head_norm_backward", dheads, dots, args, stream);
  CHECK(!raw.empty(), "head_norm_backward: raw is empty");
  check_head_weight("head_norm_backward", dheads, raw, weight, args);
  expect("head_norm_backward", "dweight", dweight.sum, weight.shape());
  if (sum_no_rows(dheads.dim(0), {dweight}, stream)) return;
  backend(stream).head_norm_backward(dheads, dweight, raw, squares, dots, weight, args, stream);
}

void activation(View y, ConstView x, ConstView bias, Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  const DType act = act_dtype("activation", x, stream);
  expect("activation", "y", y, {N, F}, act);
  expect_optional("activation", "bias", bias, {F});
  backend(stream).activation(y, x, bias, kind, stream);
}

void activation_backward(View dx, Gradient dbias, ConstView dy, ConstView x, ConstView bias,
                         Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  const DType act = act_dtype("activation_backward", x, stream);
  expect("activation_backward", "dy", dy, {N, F}, act);
  expect("activation_backward", "dx", dx, {N, F}, act);
  expect_optional("activation_backward", "dbias", dbias.sum, {F});
  expect_optional("activation_backward", "bias", bias, {F});
  if (sum_no_rows(N, {dbias}, stream)) return;
  backend(stream).activation_backward(dx, dbias, dy, x, bias, kind, stream);
}

void gated_activation(View y, ConstView x, ConstView bias, Activation kind, Stream& stream) {
  const auto [N, F] = y.dims<2>();
  const DType act = act_dtype("gated_activation", x, stream);
  expect("gated_activation", "x", x, {N, 2 * F}, act);
  expect("gated_activation", "y", y, {N, F}, act);
  expect_optional("gated_activation", "bias", bias, {2 * F});
  backend(stream).gated_activation(y, x, bias, kind, stream);
}

void gated_activation_backward(View dx, Gradient dbias, ConstView dy, ConstView x, ConstView bias,
                               Activation kind, Stream& stream) {
  const auto [N, F] = dy.dims<2>();
  const DType act = act_dtype("gated_activation_backward", x, stream);
  expect("gated_activation_backward", "x", x, {N, 2 * F}, act);
  expect("gated_activation_backward", "dy", dy, {N, F}, act);
  expect("gated_activation_backward", "dx", dx, {N, 2 * F}, act);
  expect_optional("gated_activation_backward", "dbias", dbias.sum, {2 * F});
  expect_optional("gated_activation_backward", "bias", bias, {2 * F});
  if (sum_no_rows(N, {dbias}, stream)) return;
  backend(stream).gated_activation_backward(dx, dbias, dy, x, bias, kind, stream);
}

namespace {

void check_rope(const char* op, ConstView heads, ConstView positions, ConstView table,
                const RopeArgs& args, const Stream& stream) {
  const auto [N, R, D] = heads.dims<3>();
  const auto [S, two, half] = table.dims<3>();
  act_dtype(op, heads, stream);
  expect(op, "positions", positions, {N}, DType::i32);
  expect(op, "table", table, {S, 2, half});
  CHECK(half >= 1 && 2 * half <= D && args.n_heads >= 0 && args.n_heads <= R,
        "{}: {} of {} heads turned, {} of {} dims", op, args.n_heads, R, 2 * half, D);
}

}  // namespace

void rope(View heads, ConstView positions, ConstView table, const RopeArgs& args, Stream& stream) {
  check_rope("rope", heads, positions, table, args, stream);
  backend(stream).rope(heads, positions, table, args, stream);
}

void rope_backward(View heads, ConstView positions, ConstView table, const RopeArgs& args,
                   Stream& stream) {
  check_rope("rope_backward", heads, positions, table, args, stream);
  backend(stream).rope_backward(heads, positions, table, args, stream);
}

void embedding(View y, ConstView ids, ConstView table, std::int64_t first_row, bool accumulate,
               Stream& stream) {
  const auto [N, C] = y.dims<2>();
  const auto [V, C_t] = matrix_dims(table);
  expect("embedding", "y", y, {N, C_t}, act_dtype("embedding", y, stream));
  expect("embedding", "ids", ids, {N}, DType::i32);
  expect_matrix("embedding", table, {V, C}, Precision::fp32, stream);
  backend(stream).embedding(y, ids, table, first_row, accumulate, stream);
}

void embedding_backward(View dtable, ConstView dy, ConstView ids, std::int64_t first_row,
                        Stream& stream) {
  const auto [N, C] = dy.dims<2>();
  const auto [V, C_t] = dtable.dims<2>();
  expect("embedding_backward", "dy", dy, {N, C_t}, act_dtype("embedding_backward", dy, stream));
  expect("embedding_backward", "dtable", dtable, {V, C});
  expect("embedding_backward", "ids", ids, {N}, DType::i32);
  backend(stream).embedding_backward(dtable, dy, ids, first_row, stream);
}

namespace {

void check_columns(const char* op, VocabColumns columns, std::int64_t W) {
  CHECK(0 <= columns.n && columns.n <= W, "{}: {} of the logits' {} columns", op, columns.n, W);
}

}  // namespace

void cross_entropy_stats(View stats, ConstView logits, ConstView labels, VocabColumns columns,
                         float softcap, Stream& stream) {
  const auto [N, W] = logits.dims<2>();
  check_columns("cross_entropy_stats", columns, W);
  act_dtype("cross_entropy_stats", logits, stream);
  expect("cross_entropy_stats", "stats", stats, {N, 3});
  expect("cross_entropy_stats", "labels", labels, {N}, DType::i32);
  backend(stream).cross_entropy_stats(stats, logits, labels, columns, softcap, stream);
}

void cross_entropy_combine(View loss, View lse, ConstView stats, ConstView labels, Stream& stream) {
  const auto [shards, N, three] = stats.dims<3>();
  expect("cross_entropy_combine", "stats", stats, {shards, N, 3});
  expect("cross_entropy_combine", "loss", loss, {N});
  expect("cross_entropy_combine", "lse", lse, {N});
  expect("cross_entropy_combine", "labels", labels, {N}, DType::i32);
  backend(stream).cross_entropy_combine(loss, lse, stats, labels, stream);
}

void cross_entropy_backward(View logits, ConstView lse, ConstView labels, VocabColumns columns,
                            float scale, float softcap, Stream& stream) {
  const auto [N, W] = logits.dims<2>();
  check_columns("cross_entropy_backward", columns, W);
  act_dtype("cross_entropy_backward", logits, stream);
  expect("cross_entropy_backward", "lse", lse, {N});
  expect("cross_entropy_backward", "labels", labels, {N}, DType::i32);
  backend(stream).cross_entropy_backward(logits, lse, labels, columns, scale, softcap, stream);
}

void adamw(std::span<const AdamWTensor> tensors, ConstView grad_scale, const AdamWArgs& args,
           Stream& stream) {
  CHECK(args.step >= 1, "adamw: step is {}; it counts from 1", args.step);
  for (const AdamWTensor& t : tensors) {
    expect("adamw", "weight", t.weight, t.weight.shape());
    expect("adamw", "m", t.m, t.weight.shape());
    expect("adamw", "v", t.v, t.weight.shape());
    expect("adamw", "grad", t.grad, t.weight.shape());
    expect_optional("adamw", "weight_bf16", t.weight_bf16, t.weight.shape(), DType::bf16);
  }
  expect_optional("adamw", "grad_scale", grad_scale, {1});
  backend(stream).adamw(tensors, grad_scale, args, stream);
}

void sum_of_squares(View total, std::span<const ConstView> tensors, Stream& stream) {
  expect("sum_of_squares", "total", total, {1}, DType::f64);
  for (ConstView x : tensors) expect("sum_of_squares", "x", x, x.shape());
  backend(stream).sum_of_squares(total, tensors, stream);
}

void clip_scale(View scale, ConstView square, double max_norm, Stream& stream) {
  CHECK(max_norm >= 0, "clip_scale: the largest norm is {}", max_norm);
  expect("clip_scale", "scale", scale, {1});
  expect("clip_scale", "square", square, {1}, DType::f64);
  backend(stream).clip_scale(scale, square, max_norm, stream);
}

void add(View y, ConstView x, Stream& stream) {
  CHECK(x.shape() == y.shape(), "add: {} to {}", x.shape().str(), y.shape().str());
  act_dtype("add", x, stream);
  act_dtype("add", y, stream);
  backend(stream).add(y, x, stream);
}

void scale(View y, float s, Stream& stream) {
  act_dtype("scale", y, stream);
  backend(stream).scale(y, s, stream);
}

void soft_cap(View y, ConstView x, float cap, Stream& stream) {
  CHECK(cap > 0, "soft_cap: the cap is {}; it is positive", cap);
  expect("soft_cap", "y", y, x.shape(), act_dtype("soft_cap", x, stream));
  backend(stream).soft_cap(y, x, cap, stream);
}

void convert(View y, ConstView x, Stream& stream) {
  CHECK(x.elems() == y.elems(), "convert: {} into {}", x.shape().str(), y.shape().str());
  for (ConstView v : {x, ConstView(y)})
    CHECK(v.dtype() == DType::f32 || v.dtype() == DType::bf16 || v.dtype() == DType::f16,
          "convert: {} is not supported", dtype_name(v.dtype()));
  backend(stream).convert(y, x, stream);
}

namespace {

void check_rows(const char* op, const Dims& logits, std::span<const SampleRow> rows,
                bool reads_greedy) {
  CHECK(static_cast<std::int64_t>(rows.size()) == logits[0] && logits[1] >= 1,
        "{}: {} rows of {} logits, {} rows' settings", op, logits[0], logits[1], rows.size());
  for (const SampleRow& r : rows)
    CHECK((r.greedy && reads_greedy) ||
              (r.temperature > 0 && r.top_k >= 0 && r.top_p >= 0 && r.min_p >= 0 && r.min_p <= 1 &&
               r.keep >= 1 && r.uniform >= 0 && r.uniform < 1),
          "{}: temperature {}, top_k {}, top_p {}, min_p {}, keep {}, draw {}", op, r.temperature,
          r.top_k, r.top_p, r.min_p, r.keep, r.uniform);
}

}  // namespace

void sample(View ids, View logprobs, ConstView logits, std::span<const SampleRow> rows,
            Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  act_dtype("sample", logits, stream);
  expect("sample", "ids", ids, {N}, DType::i32);
  expect_optional("sample", "logprobs", logprobs, {N});
  check_rows("sample", {N, V}, rows, true);
  backend(stream).sample(ids, logprobs, logits, rows, stream);
}

void warp_logits(View scores, std::span<const SampleRow> rows, Stream& stream) {
  const auto [N, V] = scores.dims<2>();
  expect("warp_logits", "scores", scores, {N, V});
  check_rows("warp_logits", {N, V}, rows, false);
  backend(stream).warp_logits(scores, rows, stream);
}

}  // namespace weft

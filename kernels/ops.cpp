// Checks what every op is given, then calls the back end of the device.
#include "kernels/ops.h"

#include "kernels/backends.h"

namespace weft {
namespace {

const Backend& backend(const Stream& stream) {
  return stream.device().type == DeviceType::cpu ? cpu_backend() : cuda_backend();
}

void expect(const char* op, const char* name, ConstView x, const Dims& shape, DType dtype = DType::f32) {
  CHECK(x.dtype() == dtype && x.shape() == shape, "{}: {} is {} {}, expected {} {}", op, name, dtype_name(x.dtype()),
        x.shape().str(), dtype_name(dtype), shape.str());
}

void expect_weight(const char* op, ConstView w, const Dims& shape) {
  const DType dtype = w.dtype();
  CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f16, "{}: weights are {}; supported: fp32, bf16, fp16", op,
        dtype_name(dtype));
  expect(op, "w", w, shape, dtype);
}

void expect_optional(const char* op, const char* name, ConstView x, const Dims& shape, DType dtype = DType::f32) {
  if (!x.empty()) expect(op, name, x, shape, dtype);
}

}  // namespace

void linear(View y, ConstView x, ConstView w, ConstView bias, Precision precision, Stream& stream) {
  const auto [N, I] = x.dims<2>();
  const auto [O, I_w] = w.dims<2>();
  expect("linear", "x", x, {N, I_w});
  expect_weight("linear", w, {O, I});
  expect("linear", "y", y, {N, O});
  expect_optional("linear", "bias", bias, {O});
  backend(stream).linear(y, x, w, bias, precision, stream);
}

void linear_backward_input(View dx, ConstView dy, ConstView w, Precision precision, Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const auto [O_w, I] = w.dims<2>();
  expect("linear_backward_input", "dy", dy, {N, O_w});
  expect_weight("linear_backward_input", w, {O, I});
  expect("linear_backward_input", "dx", dx, {N, I});
  backend(stream).linear_backward_input(dx, dy, w, precision, stream);
}

void linear_backward_weight(View dw, View dbias, ConstView dy, ConstView x, Precision precision, Stream& stream) {
  const auto [N, O] = dy.dims<2>();
  const auto [N_x, I] = x.dims<2>();
  expect("linear_backward_weight", "dy", dy, {N_x, O});
  expect("linear_backward_weight", "x", x, {N, I});
  expect("linear_backward_weight", "dw", dw, {O, I});
  expect_optional("linear_backward_weight", "dbias", dbias, {O});
  backend(stream).linear_backward_weight(dw, dbias, dy, x, precision, stream);
}

void dropout(View y, ConstView x, const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = x.dims<3>();
  expect("dropout", "x", x, {B, T, C});
  expect("dropout", "y", y, {B, T, C});
  backend(stream).dropout(y, x, drop, stream);
}

void add_layer_norm(View y, View sum, View mean, View rstd, ConstView x, ConstView delta, ConstView weight, ConstView bias, float eps,
                    const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = x.dims<3>();
  expect("add_layer_norm", "x", x, {B, T, C});
  expect_optional("add_layer_norm", "delta", delta, {B, T, C});
  expect_optional("add_layer_norm", "sum", sum, {B, T, C});
  CHECK(delta.empty() || !sum.empty(), "add_layer_norm: delta is given, but nowhere to put the sum");
  if (!y.empty()) {
    expect("add_layer_norm", "y", y, {B, T, C});
    expect("add_layer_norm", "mean", mean, {B, T});
    expect("add_layer_norm", "rstd", rstd, {B, T});
    expect("add_layer_norm", "weight", weight, {C});
    expect_optional("add_layer_norm", "bias", bias, {C});
  }
  backend(stream).add_layer_norm(y, sum, mean, rstd, x, delta, weight, bias, eps, drop, stream);
}

void add_layer_norm_backward(View dsum, View ddelta, View dweight, View dbias, ConstView dy, ConstView sum, ConstView mean, ConstView rstd,
                             ConstView weight, const Dropout& drop, Stream& stream) {
  const auto [B, T, C] = dsum.dims<3>();
  expect("add_layer_norm_backward", "dsum", dsum, {B, T, C});
  expect_optional("add_layer_norm_backward", "ddelta", ddelta, {B, T, C});
  if (!dy.empty()) {
    expect("add_layer_norm_backward", "dy", dy, {B, T, C});
    expect("add_layer_norm_backward", "sum", sum, {B, T, C});
    expect("add_layer_norm_backward", "mean", mean, {B, T});
    expect("add_layer_norm_backward", "rstd", rstd, {B, T});
    expect("add_layer_norm_backward", "weight", weight, {C});
    expect("add_layer_norm_backward", "dweight", dweight, {C});
    expect_optional("add_layer_norm_backward", "dbias", dbias, {C});
  }
  backend(stream).add_layer_norm_backward(dsum, ddelta, dweight, dbias, dy, sum, mean, rstd, weight, drop, stream);
}

void activation(View y, ConstView x, Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  expect("activation", "x", x, {N, F});
  expect("activation", "y", y, {N, F});
  backend(stream).activation(y, x, kind, stream);
}

void activation_backward(View dx, ConstView dy, ConstView x, Activation kind, Stream& stream) {
  const auto [N, F] = x.dims<2>();
  expect("activation_backward", "x", x, {N, F});
  expect("activation_backward", "dy", dy, {N, F});
  expect("activation_backward", "dx", dx, {N, F});
  backend(stream).activation_backward(dx, dy, x, kind, stream);
}

namespace {

void check_heads(const char* op, const AttentionArgs& args) {
  CHECK(args.n_heads >= 1 && args.n_kv_heads >= 1 && args.n_heads % args.n_kv_heads == 0 && args.head_dim >= 1,
        "{}: {} heads, {} KV heads of dim {}", op, args.n_heads, args.n_kv_heads, args.head_dim);
}

}  // namespace

void attention(View out, View lse, ConstView qkv, ConstView lengths, const AttentionArgs& args, Stream& stream) {
  check_heads("attention", args);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim;
  const auto [B, T, rows, dim] = qkv.dims<4>();
  expect("attention", "qkv", qkv, {B, T, H + 2 * Hkv, D});
  expect("attention", "out", out, {B, T, H, D});
  expect("attention", "lse", lse, {B, H, T});
  expect_optional("attention", "lengths", lengths, {B}, DType::i32);
  backend(stream).attention(out, lse, qkv, lengths, args, stream);
}

void attention_backward(View dqkv, ConstView dout, ConstView out, ConstView lse, ConstView qkv, ConstView lengths,
                        const AttentionArgs& args, Stream& stream) {
  check_heads("attention_backward", args);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim;
  const auto [B, T, rows, dim] = qkv.dims<4>();
  expect("attention_backward", "qkv", qkv, {B, T, H + 2 * Hkv, D});
  expect("attention_backward", "dqkv", dqkv, qkv.shape());
  expect("attention_backward", "out", out, {B, T, H, D});
  expect("attention_backward", "dout", dout, {B, T, H, D});
  expect("attention_backward", "lse", lse, {B, H, T});
  expect_optional("attention_backward", "lengths", lengths, {B}, DType::i32);
  backend(stream).attention_backward(dqkv, dout, out, lse, qkv, lengths, args, stream);
}

void attention_cached(View out, View k_cache, View v_cache, ConstView qkv, std::span<const CacheSlice> slices, const AttentionArgs& args,
                      Stream& stream) {
  check_heads("attention_cached", args);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim;
  const auto [N, rows, dim] = qkv.dims<3>();
  const auto [slots, S, kv, d] = k_cache.dims<4>();
  expect("attention_cached", "qkv", qkv, {N, H + 2 * Hkv, D});
  expect("attention_cached", "out", out, {N, H, D});
  expect("attention_cached", "k_cache", k_cache, {slots, S, Hkv, D});
  expect("attention_cached", "v_cache", v_cache, {slots, S, Hkv, D});
  for (const CacheSlice& s : slices)
    CHECK(s.first_row >= 0 && s.n_rows >= 1 && s.first_row + s.n_rows <= N && s.n_cached >= 0 && s.n_cached + s.n_rows <= S &&
              s.slot >= 0 && s.slot < slots,
          "attention_cached: rows {}+{} of {}, slot {} of {}, {} cached of {}", s.first_row, s.n_rows, N, s.slot, slots, s.n_cached, S);
  backend(stream).attention_cached(out, k_cache, v_cache, qkv, slices, args, stream);
}

void embedding(View y, ConstView ids, ConstView table, std::int64_t first_row, bool accumulate, Stream& stream) {
  const auto [N, C] = y.dims<2>();
  const auto [V, C_t] = table.dims<2>();
  expect("embedding", "y", y, {N, C_t});
  expect("embedding", "ids", ids, {N}, DType::i32);
  expect_weight("embedding", table, {V, C});
  backend(stream).embedding(y, ids, table, first_row, accumulate, stream);
}

void embedding_backward(View dtable, ConstView dy, ConstView ids, std::int64_t first_row, Stream& stream) {
  const auto [N, C] = dy.dims<2>();
  const auto [V, C_t] = dtable.dims<2>();
  expect("embedding_backward", "dy", dy, {N, C_t});
  expect("embedding_backward", "dtable", dtable, {V, C});
  expect("embedding_backward", "ids", ids, {N}, DType::i32);
  backend(stream).embedding_backward(dtable, dy, ids, first_row, stream);
}

void cross_entropy_stats(View stats, ConstView logits, ConstView labels, std::int64_t first_vocab, Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  expect("cross_entropy_stats", "logits", logits, {N, V});
  expect("cross_entropy_stats", "stats", stats, {N, 3});
  expect("cross_entropy_stats", "labels", labels, {N}, DType::i32);
  backend(stream).cross_entropy_stats(stats, logits, labels, first_vocab, stream);
}

void cross_entropy_combine(View loss, View lse, ConstView stats, ConstView labels, Stream& stream) {
  const auto [shards, N, three] = stats.dims<3>();
  expect("cross_entropy_combine", "stats", stats, {shards, N, 3});
  expect("cross_entropy_combine", "loss", loss, {N});
  expect("cross_entropy_combine", "lse", lse, {N});
  expect("cross_entropy_combine", "labels", labels, {N}, DType::i32);
  backend(stream).cross_entropy_combine(loss, lse, stats, labels, stream);
}

void cross_entropy_backward(View logits, ConstView lse, ConstView labels, std::int64_t first_vocab, float scale, Stream& stream) {
  const auto [N, V] = logits.dims<2>();
  expect("cross_entropy_backward", "logits", logits, {N, V});
  expect("cross_entropy_backward", "lse", lse, {N});
  expect("cross_entropy_backward", "labels", labels, {N}, DType::i32);
  backend(stream).cross_entropy_backward(logits, lse, labels, first_vocab, scale, stream);
}

void adamw(std::span<const AdamWTensor> tensors, const AdamWArgs& args, Stream& stream) {
  CHECK(args.step >= 1, "adamw: step is {}; it counts from 1", args.step);
  for (const AdamWTensor& t : tensors) {
    expect("adamw", "weight", t.weight, t.weight.shape());
    expect("adamw", "m", t.m, t.weight.shape());
    expect("adamw", "v", t.v, t.weight.shape());
    expect("adamw", "grad", t.grad, t.weight.shape());
    expect_optional("adamw", "weight_bf16", t.weight_bf16, t.weight.shape(), DType::bf16);
  }
  backend(stream).adamw(tensors, args, stream);
}

double sum_of_squares(ConstView x, Stream& stream) {
  expect("sum_of_squares", "x", x, x.shape());
  return backend(stream).sum_of_squares(x, stream);
}

void add(View y, ConstView x, Stream& stream) {
  expect("add", "x", x, x.shape());
  expect("add", "y", y, x.shape());
  backend(stream).add(y, x, stream);
}

void scale(View y, float s, Stream& stream) {
  expect("scale", "y", y, y.shape());
  backend(stream).scale(y, s, stream);
}

void convert(View y, ConstView x, Stream& stream) {
  CHECK(x.elems() == y.elems(), "convert: {} into {}", x.shape().str(), y.shape().str());
  for (ConstView v : {x, ConstView(y)})
    CHECK(v.dtype() == DType::f32 || v.dtype() == DType::bf16 || v.dtype() == DType::f16, "convert: {} is not supported",
          dtype_name(v.dtype()));
  backend(stream).convert(y, x, stream);
}

}  // namespace weft

// As ops.cpp, for the ops of attention.
#include <tuple>

#include "kernels/cached_plan.h"
#include "kernels/op_checks.h"

namespace weft {

using namespace op_checks;

namespace {

void check_heads(const char* op, const AttentionArgs& args, const Stream& stream) {
  CHECK(args.n_heads >= 1 && args.n_kv_heads >= 1 && args.n_heads % args.n_kv_heads == 0 &&
            args.head_dim >= 1,
        "{}: {} heads, {} KV heads of dim {}", op, args.n_heads, args.n_kv_heads, args.head_dim);
  CHECK(args.softcap >= 0, "{}: softcap is {}; 0 is none", op, args.softcap);
  if (stream.device().type == DeviceType::cuda)
    CHECK(cuda_takes_head_dim(args.head_dim), "{}: head dim {} on a GPU; supported: {}", op,
          args.head_dim, kCudaHeadDims);
}

void check_lengths(const char* op, ConstView lengths, std::int64_t B, const AttentionArgs& args) {
  if (!args.packed) return expect_optional(op, "lengths", lengths, {B}, DType::i32);
  CHECK(B == 1 && lengths.rank() == 1 && lengths.elems() >= 2 && lengths.dtype() == DType::i32,
        "{}: packed sequences need one batch row and where each begins, (n + 1) i32; got {} batch "
        "rows and lengths {}",
        op, B, lengths.shape().str());
}

}  // namespace

void attention(View out, View lse, ConstView qkv, ConstView lengths, const AttentionArgs& args,
               Stream& stream) {
  check_heads("attention", args, stream);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim;
  const auto [B, T, rows, dim] = qkv.dims<4>();
  const DType act = act_dtype("attention", qkv, stream);
  expect("attention", "qkv", qkv, {B, T, H + 2 * Hkv, D}, act);
  expect("attention", "out", out, {B, T, H, D}, act);
  expect("attention", "lse", lse, {B, H, T});
  check_lengths("attention", lengths, B, args);
  backend(stream).attention(out, lse, qkv, lengths, args, stream);
}

void attention_backward(View dqkv, ConstView dout, ConstView out, ConstView lse, ConstView qkv,
                        ConstView lengths, const AttentionArgs& args, Stream& stream) {
  check_heads("attention_backward", args, stream);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim;
  const auto [B, T, rows, dim] = qkv.dims<4>();
  const DType act = act_dtype("attention_backward", qkv, stream);
  expect("attention_backward", "qkv", qkv, {B, T, H + 2 * Hkv, D}, act);
  expect("attention_backward", "dqkv", dqkv, qkv.shape(), act);
  expect("attention_backward", "out", out, {B, T, H, D}, act);
  expect("attention_backward", "dout", dout, {B, T, H, D}, act);
  expect("attention_backward", "lse", lse, {B, H, T});
  check_lengths("attention_backward", lengths, B, args);
  backend(stream).attention_backward(dqkv, dout, out, lse, qkv, lengths, args, stream);
}

void attention_weights(View weights, ConstView qk, std::span<const int> heads,
                       const AttentionArgs& args, Stream& stream) {
  check_heads("attention_weights", args, stream);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads,
                     n = static_cast<std::int64_t>(heads.size());
  const auto [T, R, D] = qk.dims<3>();
  act_dtype("attention_weights", qk, stream);
  CHECK(R >= H + Hkv && D == args.head_dim,
        "attention_weights: qk is {}, expected at least {} heads of dim {}", qk.shape().str(),
        H + Hkv, args.head_dim);
  expect("attention_weights", "weights", weights, {n, T, T});
  for (const int head : heads)
    CHECK(head >= 0 && head < H, "attention_weights: head {} of {}", head, H);
  backend(stream).attention_weights(weights, qk, heads, args, stream);
}

void attention_cached(View out, View k_cache, View v_cache, ConstView qkv, ConstView pages,
                      const CachedPlan& plan, const AttentionArgs& args, Stream& stream) {
  check_heads("attention_cached", args, stream);
  const std::int64_t H = args.n_heads, Hkv = args.n_kv_heads, D = args.head_dim;
  const auto [N, rows, dim] = qkv.dims<3>();
  const auto [n_pages, S, kv, d] = k_cache.dims<4>();
  const DType act = act_dtype("attention_cached", qkv, stream);
  expect("attention_cached", "qkv", qkv, {N, H + 2 * Hkv, D}, act);
  expect("attention_cached", "out", out, {N, H, D}, act);
  const DType held = k_cache.dtype();
  CHECK(held == act ||
            (stream.device().type == DeviceType::cpu && (held == DType::bf16 || held == DType::i8)),
        "attention_cached: a cache of {} for activations of {}; supported: theirs, on a CPU also "
        "bf16 and int8",
        dtype_name(held), dtype_name(act));
  const Dims cache = {n_pages, S, Hkv, kv_row_elems(held, D)};
  expect("attention_cached", "k_cache", k_cache, cache, held);
  expect("attention_cached", "v_cache", v_cache, cache, held);
  expect("attention_cached", "table", plan.table, {cached_table_ints(plan.n_slices)}, DType::i32);
  if (!pages.empty()) {
    const auto [slots, M] = pages.dims<2>();
    expect("attention_cached", "pages", pages, {slots, M}, DType::i32);
    CHECK(S % 64 == 0, "attention_cached: pages hold {} tokens; supported: multiples of 64", S);
  }
  const CachedShape asked = cached_shape(qkv, k_cache, pages), &s = plan.shape;
  CHECK(s == asked,
        "attention_cached: {} rows of {} and {} slots of {} pages of {}; its plan is for {} rows "
        "of {} and {} slots of {} pages of {}",
        N, dtype_name(act), asked.slots, asked.M, S, s.N, dtype_name(s.act), s.slots, s.M, s.S);
  const auto told = [](const AttentionArgs& a) {
    return std::tie(a.n_heads, a.n_kv_heads, a.head_dim, a.causal, a.window_left, a.window_right);
  };
  CHECK(told(plan.args) == told(args),
        "attention_cached: its plan is for other heads or another mask");
  backend(stream).attention_cached(out, k_cache, v_cache, qkv, pages, plan, args, stream);
}

}  // namespace weft

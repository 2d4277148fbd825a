// Attention over whole sequences, forward and backward, and over cached keys.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "cases.h"
#include "kernels/cached_plan.h"

namespace weft::gpu_bench {
namespace {

struct Sequences {
  std::int64_t B, T, H, Hkv, D;
  bool causal = true;
  int window = -1;
  float softcap = 0, dropout = 0;
  int packed = 0;  // so many sequences in the one batch row
};

std::string name_of(const Sequences& q, DType act) {
  std::string name =
      fmt::format(" {} B{} T{} H{} Hkv{} D{}", dtype_name(act), q.B, q.T, q.H, q.Hkv, q.D);
  if (q.causal) name += " causal";
  if (q.window >= 0) name += fmt::format(" window{}", q.window);
  if (q.softcap > 0) name += " softcap";
  if (q.dropout > 0) name += " dropout";
  if (q.packed > 0) name += fmt::format(" packed{}", q.packed);
  return name;
}

AttentionArgs args_of(const Sequences& q) {
  AttentionArgs args;
  args.n_heads = args.total_heads = static_cast<int>(q.H);
  args.n_kv_heads = static_cast<int>(q.Hkv);
  args.head_dim = static_cast<int>(q.D);
  args.scale = 1 / std::sqrt(static_cast<float>(q.D));
  args.softcap = q.softcap;
  args.causal = q.causal;
  args.window_left = q.window;
  args.packed = q.packed > 0;
  if (q.dropout > 0) args.drop = {.p = q.dropout, .seed = 1, .step = 1, .site = 1};
  return args;
}

struct Tensors {
  View out, lse, qkv, lengths;
  Tensors(Memory& memory, const Sequences& q, DType act)
      : out(memory.normal(act, {q.B, q.T, q.H, q.D})),
        lse(memory.positive({q.B, q.H, q.T})),
        qkv(memory.normal(act, {q.B, q.T, q.H + 2 * q.Hkv, q.D})) {
    std::vector<std::int32_t> begins;
    for (std::int64_t i = 0; q.packed > 0 && i <= q.packed; ++i)
      begins.push_back(static_cast<std::int32_t>(q.T * i / q.packed));
    if (q.packed > 0) lengths = memory.integers(begins);
  }
};

// Pairs of a query and a key that it sees, over all heads and sequences.
double pairs_of(const Sequences& q) {
  const std::int64_t n = q.packed > 0 ? q.packed : 1, T = q.T / n;
  double pairs = 0;
  for (std::int64_t i = 0; i < T; ++i) {
    const std::int64_t begin = q.window >= 0 ? std::max<std::int64_t>(0, i - q.window) : 0,
                       end = q.causal ? i + 1 : T;
    pairs += static_cast<double>(end - begin);
  }
  return pairs * static_cast<double>(q.B * q.H * n);
}

void add_sequence_cases(std::vector<Case>& cases, const Sequences& q, DType act) {
  const Rate rate = act == DType::bf16 ? Rate::bf16 : Rate::tf32;
  const AttentionArgs args = args_of(q);
  const double product =
      2 * pairs_of(q) *
      static_cast<double>(
          q.D);  // forward multiplies q kᵀ and p v; backward q kᵀ, dout vᵀ, pᵀ dout, ds k, dsᵀ q
  cases.push_back({"attention" + name_of(q, act),
                   rate,
                   {},
                   [=](Memory& memory, Stream&) -> Body {
                     return [=, t = Tensors(memory, q, act)](Stream& s) {
                       attention(t.out, t.lse, t.qkv, t.lengths, args, s);
                     };
                   },
                   2 * product});
  cases.push_back({"attention_backward" + name_of(q, act),
                   rate,
                   {},
                   [=](Memory& memory, Stream& stream) -> Body {
                     const Tensors t(memory, q, act);
                     const View dqkv = memory.normal(act, t.qkv.shape()),
                                dout = memory.normal(act, t.out.shape());
                     if (!memory.pretended())
                       attention(t.out, t.lse, t.qkv, t.lengths, args, stream);
                     return [=](Stream& s) {
                       attention_backward(dqkv, dout, t.out, t.lse, t.qkv, t.lengths, args, s);
                     };
                   },
                   5 * product});
}

// The maps of all heads of one sequence, as `weft attention` asks for them.
void add_weights_case(std::vector<Case>& cases, const Sequences& q, DType act) {
  const double product = 2 * pairs_of(q) * static_cast<double>(q.D);
  cases.push_back({"attention_weights" + name_of(q, act),
                   Rate::fp32,
                   {},
                   [=](Memory& memory, Stream&) -> Body {
                     const View weights = memory.normal(DType::f32, {q.H, q.T, q.T}),
                                qk = memory.normal(act, {q.T, q.H + q.Hkv, q.D});
                     std::vector<int> heads(static_cast<std::size_t>(q.H));
                     std::iota(heads.begin(), heads.end(), 0);
                     return [=, args = args_of(q)](Stream& s) {
                       attention_weights(weights, qk, heads, args, s);
                     };
                   },
                   product});
}

struct Cached {
  std::int64_t sequences, keys, new_tokens, H, Hkv, D;
  bool paged = true;
};

void add_cached_case(std::vector<Case>& cases, const Cached& q, DType act) {
  constexpr std::int64_t kPage = 64;
  const std::string name = fmt::format(
      "attention_cached {} {} sequences of {} keys, {} new, H{} Hkv{} D{}{}", dtype_name(act),
      q.sequences, q.keys, q.new_tokens, q.H, q.Hkv, q.D, q.paged ? " paged" : "");
  cases.push_back(
      {name,
       act == DType::bf16 ? Rate::bf16 : Rate::tf32,
       {},
       [=](Memory& memory, Stream&) -> Body {
         const std::int64_t N = q.sequences * q.new_tokens, S = q.paged ? kPage : q.keys,
                            M = q.keys / S, n_pages = q.sequences * M;
         const View k = memory.normal(act, {n_pages, S, q.Hkv, q.D}),
                    v = memory.normal(act, {n_pages, S, q.Hkv, q.D});
         const View qkv = memory.normal(act, {N, q.H + 2 * q.Hkv, q.D}),
                    out = memory.normal(act, {N, q.H, q.D});
         std::vector<std::int32_t> pages(static_cast<std::size_t>(n_pages));  // (slots, M)
         std::iota(pages.begin(), pages.end(), 0);
         std::shuffle(pages.begin(), pages.end(), std::mt19937_64(1));
         const ConstView table =
             q.paged ? memory.integers(pages).reshape({q.sequences, M}) : ConstView();
         std::vector<CacheSlice> slices;
         for (std::int64_t i = 0; i < q.sequences; ++i)
           slices.push_back({i * q.new_tokens, q.new_tokens, q.keys - q.new_tokens, i});
         const AttentionArgs args = args_of({1, 1, q.H, q.Hkv, q.D});
         auto [plan, ints] = plan_cached(slices, cached_shape(qkv, k, table), args);
         plan.table = memory.integers(ints);
         return [=, plan = plan](Stream& s) {
           attention_cached(out, k, v, qkv, table, plan, args, s);
         };
       }});
}

}  // namespace

std::vector<Case> attention_cases() {
  std::vector<Case> cases;
  const Sequences layer = {4, 2048, 32, 32, 128};
  const auto with = [&](auto change) {
    Sequences q = layer;
    change(q);
    return q;
  };
  for (const DType act : {DType::bf16, DType::f32}) {
    add_sequence_cases(cases, layer, act);
    add_sequence_cases(cases, with([](Sequences& q) { q.D = 64; }), act);
    add_sequence_cases(cases, with([](Sequences& q) { q.D = 256; }), act);
    add_sequence_cases(cases, with([](Sequences& q) { q.Hkv = 8; }), act);
  }
  add_sequence_cases(cases, with([](Sequences& q) { q.causal = false; }), DType::bf16);
  add_sequence_cases(cases, with([](Sequences& q) { q.window = 512; }), DType::bf16);
  add_sequence_cases(cases, with([](Sequences& q) { q.softcap = 50; }), DType::bf16);
  add_sequence_cases(cases, with([](Sequences& q) { q.dropout = 0.1f; }), DType::bf16);
  add_sequence_cases(cases, with([](Sequences& q) { q.B = 1, q.T = 8192, q.packed = 8; }),
                     DType::bf16);
  for (const DType act : {DType::bf16, DType::f32}) {
    add_cached_case(cases, {64, 4096, 1, 32, 8, 128}, act);    // decoding
    add_cached_case(cases, {1, 4096, 2048, 32, 8, 128}, act);  // the second half of a prompt
  }
  add_cached_case(cases, {64, 4096, 1, 32, 8, 128, false}, DType::bf16);
  add_cached_case(cases, {64, 4096, 1, 32, 32, 128}, DType::bf16);
  add_cached_case(cases, {1, 32768, 1, 32, 8, 128},
                  DType::bf16);  // one long sequence: keys are split
  for (const DType act : {DType::bf16, DType::f32})
    add_weights_case(cases, {1, 2048, 32, 8, 128}, act);
  return cases;
}

}  // namespace weft::gpu_bench

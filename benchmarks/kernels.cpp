// Each op of kernels/ops.h at the model's sizes, beside its bound: the larger of FLOPs over the
// measured matmul rate and bytes over the measured read bandwidth, both sampled again beside the
// case. Inputs rotate through sets that
// together exceed the caches. Bounds count executed work: of attention the pairs that the mask lets
// through, and so does the ops' own count (flops_counted), which the tests compare.
#include <algorithm>
#include <functional>
#include <vector>

#include "benchmarks/bench.h"
#include "core/arena.h"
#include "kernels/cached_plan.h"
#include "kernels/panels.h"
#include "kernels/work.h"

namespace weft {
namespace {

constexpr std::size_t kSetsBytes = 256 << 20;  // of all sets of one case

struct Bound {
  double flops = 0;  // of matrix products
  double bytes = 0;  // that must be read or written
};

class Cases {
 public:
  explicit Cases(const BenchRun& run) : run_(run) {}

  // layout(arena) -> views; body(views). The layout is repeated for each set.
  template <class Layout, class Body>
  void add(const std::string& name, Bound bound, const Layout& layout, const Body& body,
           Precision precision = Precision::fp32) {
    const auto ranks = static_cast<double>(run_.grid.shape().ranks());
    Peaks& peaks = run_.peaks;
    if (bound.flops > 0) peaks.sample_matmul(precision);
    peaks.sample_reads();
    BestRate &matmul = peaks.matmul(precision), &reads = peaks.reads();
    const double compute_s = ranks * bound.flops / matmul.rate(),
                 memory_s = ranks * bound.bytes / reads.rate();
    const bool compute = compute_s > memory_s;
    constexpr double kLongEnough = 10e-3;  // seconds of one repeat
    const auto inner = std::clamp<std::int64_t>(
        static_cast<std::int64_t>(kLongEnough / std::max(compute_s, memory_s)), 1, 1000);
    const std::size_t one = measure(layout),
                      calls = static_cast<std::size_t>(inner * (run_.options.repeats + 1)),
                      sets = std::clamp<std::size_t>(kSetsBytes / std::max<std::size_t>(one, 1), 1,
                                                     std::min<std::size_t>(calls, 1 << 14));
    Arena arena("benchmark", one * sets + 64 * sets);
    std::vector<decltype(layout(arena))> views;
    for (std::size_t i = 0; i < sets; ++i) views.push_back(layout(arena));
    std::size_t next = 0;
    const double before = matmul_flops_done(run_.stream);
    const double seconds = median_seconds(run_.grid, run_.stream, run_.options.repeats,
                                          [&] {
                                            for (std::int64_t i = 0; i < inner; ++i)
                                              body(views[next++ % sets]);
                                          }) /
                           static_cast<double>(inner);
    const double counted = (matmul_flops_done(run_.stream) - before) /
                           static_cast<double>(inner * (run_.options.repeats + 1));
    BestRate& peak = compute ? matmul : reads;
    const double rate = (compute ? bound.flops : bound.bytes) / seconds,  // of a rank
        share = peak.share(ranks * rate);
    run_.report({.name = name,
                 .value = rate / 1e9,
                 .unit = compute ? "GFLOP/s" : "GB/s",
                 .share = share,
                 .peak = compute ? matmul_peak_name(precision) : "memory reads",
                 .peak_rate = peak.rate(),
                 .more = {{"seconds", seconds},
                          {"flops", bound.flops},
                          {"flops_counted", counted},
                          {"bytes", bound.bytes}}});
  }

 private:
  const BenchRun& run_;
};

View filled(Arena& arena, Dims dims, DType dtype = DType::f32) {
  View x = arena.alloc(dtype, dims);
  if (arena.measuring() || dtype != DType::f32) return x;
  int digit = 0;  // no division for each of many elements
  for (std::int64_t i = 0; i < x.elems(); ++i) {
    x.as<float>()[i] = static_cast<float>(digit - 8) * 0.01f;
    digit = digit == 16 ? 0 : digit + 1;
  }
  return x;
}

void linear_cases(Cases& cases, Stream& stream, const char* name, std::int64_t N, std::int64_t O,
                  std::int64_t I, Precision precision) {
  struct Views {
    View y, x, w, b, dw, db;
  };
  const auto layout = [=](Arena& a) {
    return Views{filled(a, {N, O}), filled(a, {N, I}), filled(a, {O, I}),
                 filled(a, {O}),    filled(a, {O, I}), filled(a, {O})};
  };
  const double n = static_cast<double>(N), o = static_cast<double>(O), i = static_cast<double>(I);
  const Bound bound = {2 * n * o * i, 4 * (n * o + n * i + o * i)};
  const std::string suffix = precision == Precision::bf16 ? " bf16" : "";
  const std::string shape = fmt::format(" {} x {} x {}{}", N, O, I, suffix);
  cases.add(
      std::string(name) + shape, bound, layout,
      [&](const Views& v) { linear(v.y, v.x, v.w, v.b, precision, stream); }, precision);
  if (N == 1) return;
  cases.add(
      std::string(name) + " dx" + shape, bound, layout,
      [&](const Views& v) { linear_backward_input(v.x, v.y, v.w, precision, stream); }, precision);
  cases.add(
      std::string(name) + " dw" + shape, {bound.flops, bound.bytes + 4 * o * i}, layout,
      [&](const Views& v) { linear_backward_weight(v.dw, v.db, v.y, v.x, precision, stream); },
      precision);
}

// As inference holds its matrices on a CPU.
void panel_case(Cases& cases, Stream& stream, const char* name, std::int64_t N, std::int64_t O,
                std::int64_t I) {
  struct Views {
    View y, x, w, b;
  };
  const auto layout = [=, &stream](Arena& a) {
    const Views v = {filled(a, {N, O}), filled(a, {N, I}), filled(a, {O, I}), filled(a, {O})};
    return a.measuring() ? v : Views{v.y, v.x, to_panels(v.w, stream), v.b};
  };
  const double n = static_cast<double>(N), o = static_cast<double>(O), i = static_cast<double>(I);
  cases.add(fmt::format("{} in panels {} x {} x {}", name, N, O, I),
            {2 * n * o * i, 4 * (n * o + n * i + o * i)}, layout,
            [&](const Views& v) { linear(v.y, v.x, v.w, v.b, Precision::fp32, stream); });
}

void attention_cases(Cases& cases, Stream& stream, std::int64_t B, std::int64_t T,
                     const ModelConfig& c) {
  const std::int64_t H = c.heads, Hkv = c.kv_heads, D = c.head_dim, R = H + 2 * Hkv;
  struct Views {
    View out, lse, qkv, dqkv, dout;
  };
  const auto layout = [=](Arena& a) {
    return Views{filled(a, {B, T, H, D}), filled(a, {B, H, T}), filled(a, {B, T, R, D}),
                 filled(a, {B, T, R, D}), filled(a, {B, T, H, D})};
  };
  AttentionArgs args;
  args.n_heads = args.total_heads = static_cast<int>(H);
  args.n_kv_heads = static_cast<int>(Hkv);
  args.head_dim = static_cast<int>(D);
  args.scale = 0.125f;
  args.causal = c.causal;
  const double pairs = static_cast<double>(B * H) * attention_pairs(0, T, T, -1, c.causal ? 0 : -1),
               dim = static_cast<double>(D), head = 4 * static_cast<double>(B * T * D),
               rows = static_cast<double>(R) * head, out = static_cast<double>(H) * head;
  const std::string shape =
      fmt::format("{} x {} x {}{} x {}", B, T, H, Hkv == H ? "" : fmt::format(" of {}", Hkv), D);
  cases.add("attention " + shape, {kForwardFlopsOfPair * pairs * dim, rows + out}, layout,
            [&](const Views& v) { attention(v.out, v.lse, v.qkv, ConstView(), args, stream); });
  cases.add("attention backward " + shape, {kBackwardFlopsOfPair * pairs * dim, 2 * rows + 2 * out},
            layout, [&](const Views& v) {
              attention_backward(v.dqkv, v.dout, v.out, v.lse, v.qkv, ConstView(), args, stream);
            });
  if (!c.causal) return;  // nothing is cached
  struct Decode {
    View out, k, v, qkv;
  };
  const CacheSlice slice = {0, 1, T - 1, 0};
  auto [plan, table] =
      plan_cached(std::span(&slice, 1), {.N = 1, .S = T, .slots = 1, .act = DType::f32}, args);
  plan.table = ConstView(table.data(), Dims{static_cast<std::int64_t>(table.size())});
  cases.add(
      fmt::format("attention decode {} keys x {} x {}", T, Hkv, D),
      {kForwardFlopsOfPair * static_cast<double>(H * T) * dim,
       8 * static_cast<double>(T * Hkv * D)},
      [=](Arena& a) {
        return Decode{filled(a, {1, H, D}), filled(a, {1, T, Hkv, D}), filled(a, {1, T, Hkv, D}),
                      filled(a, {1, R, D})};
      },
      [&, &plan = plan](const Decode& v) {
        attention_cached(v.out, v.k, v.v, v.qkv, ConstView(), plan, args, stream);
      });
}

void row_cases(Cases& cases, Stream& stream, std::int64_t B, std::int64_t T, std::int64_t C,
               std::int64_t F) {
  const double x = 4 * static_cast<double>(B * T * C), f = 4 * static_cast<double>(B * T * F);
  struct Norm {
    View y, sum, mean, rstd, x, delta, w, b;
  };
  const auto norm = [=](Arena& a) {
    return Norm{filled(a, {B, T, C}), filled(a, {B, T, C}), filled(a, {B, T}), filled(a, {B, T}),
                filled(a, {B, T, C}), filled(a, {B, T, C}), filled(a, {C}),    filled(a, {C})};
  };
  const std::string shape = fmt::format(" {} x {}", B * T, C);
  cases.add("add + layer norm" + shape, {0, 4 * x}, norm, [&](const Norm& v) {
    add_layer_norm(v.y, v.sum, v.mean, v.rstd, v.x, v.delta, v.w, v.b, 1e-5f, {}, stream);
  });
  cases.add("add + layer norm, dropout 0.1" + shape, {0, 4 * x}, norm, [&](const Norm& v) {
    add_layer_norm(v.y, v.sum, v.mean, v.rstd, v.x, v.delta, v.w, v.b, 1e-5f, {.p = 0.1f}, stream);
  });
  cases.add("add + layer norm backward" + shape, {0, 5 * x}, norm, [&](const Norm& v) {
    add_layer_norm_backward(v.y, v.delta, v.w, v.b, v.x, v.sum, v.mean, v.rstd, v.w, {}, stream);
  });
  struct Pair {
    View y, x;
  };
  const auto pair = [=](Arena& a) { return Pair{filled(a, {B * T, F}), filled(a, {B * T, F})}; };
  cases.add(fmt::format("gelu {} x {}", B * T, F), {0, 2 * f}, pair, [&](const Pair& v) {
    activation(v.y, v.x, ConstView(), Activation::gelu_tanh, stream);
  });
  cases.add(fmt::format("gelu backward {} x {}", B * T, F), {0, 3 * f}, pair, [&](const Pair& v) {
    activation_backward(v.y, View(), v.y, v.x, ConstView(), Activation::gelu_tanh, stream);
  });
}

void loss_and_optimizer_cases(Cases& cases, Stream& stream, std::int64_t V, std::int64_t C) {
  const std::int64_t N = std::clamp<std::int64_t>((64 << 20) / (4 * V), 16, 1024);
  const double logits = 4 * static_cast<double>(N * V), weights = 4 * static_cast<double>(V * C);
  struct Loss {
    View logits, stats, labels, lse;
  };
  const auto loss = [=](Arena& a) {
    return Loss{filled(a, {N, V}), filled(a, {N, 3}), filled(a, {N}, DType::i32), filled(a, {N})};
  };
  const VocabColumns all = {0, V};
  cases.add(fmt::format("cross-entropy {} x {}", N, V), {0, logits}, loss, [&](const Loss& v) {
    cross_entropy_stats(v.stats, v.logits, v.labels, all, 0, stream);
  });
  cases.add(
      fmt::format("cross-entropy backward {} x {}", N, V), {0, 2 * logits}, loss,
      [&](const Loss& v) { cross_entropy_backward(v.logits, v.lse, v.labels, all, 0, 0, stream); });
  struct Adam {
    View w, m, v, g, square;
  };
  const auto adam = [=](Arena& a) {
    return Adam{filled(a, {V, C}), a.alloc(DType::f32, {V, C}), a.alloc(DType::f32, {V, C}),
                filled(a, {V, C}), a.alloc(DType::f64, {1})};
  };
  cases.add(fmt::format("AdamW {} x {}", V, C), {0, 7 * weights}, adam, [&](const Adam& t) {
    const AdamWTensor tensor = {t.w, t.m, t.v, t.g, View(), true};
    adamw(std::span(&tensor, 1), ConstView(), {.lr = 1e-4f, .weight_decay = 0.1f}, stream);
  });
  cases.add(fmt::format("global norm {} x {}", V, C), {0, weights}, adam, [&](const Adam& t) {
    const ConstView g = t.g;
    sum_of_squares(t.square, std::span(&g, 1), stream);
  });
}

}  // namespace

void bench_kernels(const BenchRun& run) {
  const ModelConfig& c = run.config;
  const std::int64_t B = run.options.batch_size, T = run.options.context, N = B * T;
  Cases cases(run);
  for (Precision precision : {Precision::fp32, Precision::bf16}) {
    linear_cases(cases, run.stream, "qkv", N, c.qkv_rows(), c.width, precision);
    linear_cases(cases, run.stream, "attention out", N, c.width, c.heads * c.head_dim, precision);
    linear_cases(cases, run.stream, "MLP up", N, c.up_rows(), c.width, precision);
    linear_cases(cases, run.stream, "MLP down", N, c.width, c.ffn, precision);
    linear_cases(cases, run.stream, "head", std::min<std::int64_t>(N, 320), c.vocab, c.width,
                 precision);
  }
  for (std::int64_t rows : {1, 4, 8, 16, 32}) {
    const char* name = rows == 1 ? "decode MLP up" : "few rows MLP up";
    linear_cases(cases, run.stream, name, rows, c.up_rows(), c.width, Precision::fp32);
    panel_case(cases, run.stream, name, rows, c.up_rows(), c.width);
  }
  panel_case(cases, run.stream, "prompt MLP up", N, c.up_rows(), c.width);
  linear_cases(cases, run.stream, "decode qkv", 1, c.qkv_rows(), c.width, Precision::fp32);
  linear_cases(cases, run.stream, "decode attention out", 1, c.width, c.heads * c.head_dim,
               Precision::fp32);
  linear_cases(cases, run.stream, "decode MLP down", 1, c.width, c.ffn, Precision::fp32);
  linear_cases(cases, run.stream, "decode head", 1, c.vocab, c.width, Precision::fp32);
  attention_cases(cases, run.stream, B, T, c);
  row_cases(cases, run.stream, B, T, c.width, c.ffn);
  loss_and_optimizer_cases(cases, run.stream, c.vocab, c.width);
}

}  // namespace weft

// Ops with a vocabulary dim: embedding, loss, sampling.
#include <fmt/format.h>

#include "cases.h"
#include "kernels/ops.h"

namespace weft::gpu_bench {
namespace {

constexpr std::int64_t N = 8192, C = 4096;

void embedding_cases(std::vector<Case>& cases, std::int64_t V) {
  for (const DType act : {DType::bf16, DType::f32}) {
    const std::string suffix = fmt::format(" {} {}x{} of {}", dtype_name(act), N, C, V);
    cases.push_back({"embedding" + suffix, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
                       return [=, y = memory.normal(act, {N, C}), ids = memory.ids(N, V),
                               table = memory.normal(act, {V, C})](Stream& s) {
                         embedding(y, ids, table, 0, false, s);
                       };
                     }});
    cases.push_back(
        {"embedding_backward" + suffix, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
           return
               [=, dtable = memory.normal(DType::f32, {V, C}), dy = memory.normal(act, {N, C}),
                ids = memory.ids(N, V)](Stream& s) { embedding_backward(dtable, dy, ids, 0, s); };
         }});
  }
}

// Rows of logits are padded as the model pads its vocabulary (model/parameters.h).
void loss_cases(std::vector<Case>& cases, std::int64_t rows, std::int64_t V, DType act,
                float softcap) {
  const std::string suffix =
      fmt::format(" {}{} {}x{}", dtype_name(act), softcap > 0 ? " softcap" : "", rows, V);
  struct Loss {
    View logits, labels, stats, loss, lse;
    Loss(Memory& memory, std::int64_t n, std::int64_t v, DType dtype)
        : logits(memory.normal(dtype, {n, (v + 127) / 128 * 128})),
          labels(memory.ids(n, v)),
          stats(memory.normal(DType::f32, {n, 3})),
          loss(memory.normal(DType::f32, {n})),
          lse(memory.positive({n})) {}
  };
  cases.push_back(
      {"cross_entropy_stats" + suffix, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
         return [=, t = Loss(memory, rows, V, act)](Stream& s) {
           cross_entropy_stats(t.stats, t.logits, t.labels, {0, V}, softcap, s);
         };
       }});
  cases.push_back(
      {"cross_entropy_backward" + suffix,
       Rate::fp32,
       {},
       [=](Memory& memory, Stream& stream) -> Body {
         const Loss t(memory, rows, V, act);
         if (!memory.pretended()) {
           cross_entropy_stats(t.stats, t.logits, t.labels, {0, V}, softcap, stream);
           cross_entropy_combine(t.loss, t.lse, t.stats.reshape({1, rows, 3}), t.labels, stream);
         }
         return [=](Stream& s) {
           cross_entropy_backward(t.logits, t.lse, t.labels, {0, V}, 1.0f, softcap, s);
         };
       }});
}

void sample_cases(std::vector<Case>& cases, std::int64_t V, DType act) {
  constexpr std::int64_t kRows = 64;
  SampleRow top_p = {.greedy = false, .temperature = 0.8, .top_p = 0.9}, top_k = top_p;
  top_k.top_k = 50;
  struct Kind {
    const char* name;
    SampleRow row;
  };
  for (const Kind& kind : {Kind{"greedy", {}}, Kind{"top_p", top_p}, Kind{"top_k top_p", top_k}}) {
    cases.push_back({fmt::format("sample {} {} {}x{}", dtype_name(act), kind.name, kRows, V),
                     Rate::fp32,
                     {},
                     [=](Memory& memory, Stream& stream) -> Body {
                       const View ids = memory.ids(kRows, V),
                                  logprobs = memory.normal(DType::f32, {kRows}),
                                  logits = memory.normal(act, {kRows, V});
                       if (!memory.pretended())
                         scale(logits, 3.0f, stream);  // about as peaked as a language model's
                       std::vector<SampleRow> rows(kRows, kind.row);
                       for (std::size_t i = 0; i < rows.size(); ++i)
                         rows[i].uniform =
                             (static_cast<double>(i) + 0.5) / static_cast<double>(kRows);
                       return [=](Stream& s) {
                         weft::sample(ids, logprobs, logits, rows, s);
                       };  // std::sample is found too
                     }});
  }
}

// The scores are overwritten: from the second time on, what was kept is warped again.
void warp_cases(std::vector<Case>& cases, std::int64_t V) {
  constexpr std::int64_t kRows = 64;
  const SampleRow top_p = {.greedy = false, .temperature = 0.8, .top_p = 0.9};
  cases.push_back({fmt::format("warp_logits {}x{}", kRows, V),
                   Rate::fp32,
                   {},
                   [=](Memory& memory, Stream&) -> Body {
                     const View scores = memory.normal(DType::f32, {kRows, V});
                     const std::vector<SampleRow> rows(kRows, top_p);
                     return [=](Stream& s) { warp_logits(scores, rows, s); };
                   }});
}

}  // namespace

std::vector<Case> vocabulary_cases() {
  std::vector<Case> cases;
  embedding_cases(cases, 32000);
  embedding_cases(cases, 128256);
  for (const DType act : {DType::bf16, DType::f32}) {
    loss_cases(cases, N, 32000, act, 0);
    loss_cases(cases, N / 4, 128256, act, 0);
  }
  loss_cases(cases, N, 32000, DType::bf16, 30);
  loss_cases(cases, N, 50257, DType::bf16, 0);
  cases.push_back({fmt::format("cross_entropy_combine 8x{}", N),
                   Rate::fp32,
                   {},
                   [=](Memory& memory, Stream&) -> Body {
                     return [loss = memory.normal(DType::f32, {N}),
                             lse = memory.normal(DType::f32, {N}),
                             stats = memory.positive({8, N, 3}), labels = memory.ids(N, 32000)](
                                Stream& s) { cross_entropy_combine(loss, lse, stats, labels, s); };
                   }});
  for (const DType act : {DType::bf16, DType::f32}) {
    sample_cases(cases, 32000, act);
    sample_cases(cases, 128256, act);
  }
  warp_cases(cases, 128256);
  return cases;
}

}  // namespace weft::gpu_bench

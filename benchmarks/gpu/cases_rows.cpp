// Ops that go through rows of activations once: dropout, norms, activations, rope.
#include <fmt/format.h>

#include "cases.h"
#include "kernels/ops.h"

namespace weft::gpu_bench {
namespace {

constexpr std::int64_t B = 4, T = 2048, C = 4096, N = B * T, F = 11008;
constexpr std::int64_t kWide = 4 * C;  // the feed-forward width of a model without gates
constexpr Dropout kDropout = {.p = 0.1f, .seed = 1, .step = 1, .site = 1};

struct Norm {
  View y, sum, mean, rstd, x, delta, dx, weight, bias, dweight, dbias;
  Norm(Memory& memory, DType act) {
    for (View* v : {&y, &sum, &x, &delta, &dx}) *v = memory.normal(act, {B, T, C});
    mean = memory.normal(DType::f32, {B, T});
    rstd = memory.positive({B, T});
    for (View* v : {&weight, &bias, &dweight, &dbias}) *v = memory.normal(DType::f32, {C});
  }
};

void add_norm_cases(std::vector<Case>& cases, DType act, const Dropout& drop) {
  const std::string suffix =
      fmt::format(" {}{} {}x{}", dtype_name(act), drop.p > 0 ? " dropout" : "", N, C);
  cases.push_back({"add_layer_norm" + suffix, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
                     return [=, n = Norm(memory, act)](Stream& s) {
                       add_layer_norm(n.y, n.sum, n.mean, n.rstd, n.x, n.delta, n.weight, n.bias,
                                      1e-5f, drop, s);
                     };
                   }});
  cases.push_back({"add_rms_norm" + suffix, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
                     return [=, n = Norm(memory, act)](Stream& s) {
                       add_rms_norm(n.y, n.sum, n.rstd, n.x, n.delta, n.weight, 0, 1e-5f, drop, s);
                     };
                   }});
  cases.push_back({"add_layer_norm_backward" + suffix,
                   Rate::fp32,
                   {},
                   [=](Memory& memory, Stream& stream) -> Body {
                     const Norm n(memory, act);
                     if (!memory.pretended())
                       add_layer_norm(n.y, n.sum, n.mean, n.rstd, n.x, n.delta, n.weight, n.bias,
                                      1e-5f, drop, stream);
                     return [=](Stream& s) {
                       add_layer_norm_backward(n.dx, drop.p > 0 ? n.delta : View(), n.dweight,
                                               n.dbias, n.y, n.sum, n.mean, n.rstd, n.weight, drop,
                                               s);
                     };
                   }});
  cases.push_back({"add_rms_norm_backward" + suffix,
                   Rate::fp32,
                   {},
                   [=](Memory& memory, Stream& stream) -> Body {
                     const Norm n(memory, act);
                     if (!memory.pretended())
                       add_rms_norm(n.y, n.sum, n.rstd, n.x, n.delta, n.weight, 0, 1e-5f, drop,
                                    stream);
                     return [=](Stream& s) {
                       add_rms_norm_backward(n.dx, drop.p > 0 ? n.delta : View(), n.dweight, n.y,
                                             n.sum, n.rstd, n.weight, 0, drop, s);
                     };
                   }});
}

struct Act {
  View y, x, dy, bias, dbias;
  Act(Memory& memory, DType act, std::int64_t width, int parts)
      : y(memory.normal(act, {N, width})),
        x(memory.normal(act, {N, parts * width})),
        dy(memory.normal(act, {N, width})),
        bias(memory.normal(DType::f32, {parts * width})),
        dbias(memory.normal(DType::f32, {parts * width})) {}
};

void activation_cases(std::vector<Case>& cases, DType act) {
  const std::string wide = fmt::format(" {} {}x{}", dtype_name(act), N, kWide),
                    gated = fmt::format(" {} {}x{}", dtype_name(act), N, F);
  for (const auto kind : {Activation::gelu_tanh, Activation::gelu_erf}) {
    const std::string name = kind == Activation::gelu_tanh ? "gelu_tanh" : "gelu_erf";
    cases.push_back({name + wide, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
                       return [=, v = Act(memory, act, kWide, 1)](Stream& s) {
                         activation(v.y, v.x, v.bias, kind, s);
                       };
                     }});
    cases.push_back(
        {name + "_backward" + wide, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
           return [=, v = Act(memory, act, kWide, 1)](Stream& s) {
             activation_backward(v.y, v.dbias, v.dy, v.x, v.bias, kind, s);
           };
         }});
  }
  cases.push_back({"gated_silu" + gated, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
                     return [=, v = Act(memory, act, F, 2)](Stream& s) {
                       gated_activation(v.y, v.x, ConstView(), Activation::silu, s);
                     };
                   }});
  cases.push_back(
      {"gated_silu_backward" + gated, Rate::fp32, {}, [=](Memory& memory, Stream&) -> Body {
         return [=, v = Act(memory, act, F, 2), dx = memory.normal(act, {N, 2 * F})](Stream& s) {
           gated_activation_backward(dx, View(), v.dy, v.x, ConstView(), Activation::silu, s);
         };
       }});
}

void rope_cases(std::vector<Case>& cases, DType act) {
  constexpr std::int64_t D = 128;
  struct Layer {
    std::int64_t H, Hkv;
  };
  for (const Layer layer : {Layer{32, 32}, Layer{32, 8}})
    for (const bool interleaved : {false, true}) {
      const std::string suffix =
          fmt::format(" {}{} {}x{}x{}", dtype_name(act), interleaved ? " interleaved" : "", N,
                      layer.H + 2 * layer.Hkv, D);
      const RopeArgs args = {.n_heads = static_cast<int>(layer.H + layer.Hkv),
                             .interleaved = interleaved};
      const auto prepare = [=](decltype(&rope) op) {
        return [=](Memory& memory, Stream&) -> Body {
          const View heads = memory.normal(act, {N, layer.H + 2 * layer.Hkv, D}),
                     positions = memory.counted(N, T);
          const View table = memory.normal(DType::f32, {T, 2, D / 2});
          return [=](Stream& s) { op(heads, positions, table, args, s); };
        };
      };
      cases.push_back({"rope" + suffix, Rate::fp32, {}, prepare(&rope)});
      if (!interleaved)
        cases.push_back({"rope_backward" + suffix, Rate::fp32, {}, prepare(&rope_backward)});
    }
}

// Norms of a layer's queries: of each head, or over all of them.
void head_norm_cases(std::vector<Case>& cases, DType act) {
  for (const bool whole : {false, true}) {
    constexpr std::int64_t H = 32, Hkv = 32, D = 128;
    const HeadNormArgs args = {.whole = whole, .first_row = 0, .n_heads = static_cast<int>(H)};
    const auto add_case = [&](const char* op, const auto& run) {
      cases.push_back({fmt::format("{} {} {}, {} tokens H{} D{}", op, dtype_name(act),
                                   whole ? "whole" : "per head", N, H, D),
                       Rate::fp32,
                       {},
                       [=](Memory& memory, Stream&) -> Body {
                         const View heads = memory.normal(act, {N, H + 2 * Hkv, D}),
                                    raw = memory.normal(act, {N, H, D}),
                                    sums = memory.positive({N, H}),
                                    dots = memory.normal(DType::f32, {N, H}),
                                    weight = memory.normal(DType::f32, {whole ? H * D : D}),
                                    dweight = memory.normal(DType::f32, {whole ? H * D : D});
                         return [=](Stream& s) { run(heads, raw, sums, dots, weight, dweight, s); };
                       }});
    };
    add_case("head_squares", [=](View x, View, View sums, View, View, View, Stream& s) {
      head_squares(sums, x, args, s);
    });
    add_case("head_norm", [=](View x, View raw, View sums, View, View w, View, Stream& s) {
      head_norm(x, raw, sums, w, args, s);
    });
    add_case("head_dots", [=](View x, View raw, View, View dots, View w, View, Stream& s) {
      head_dots(dots, x, raw, w, args, s);
    });
    add_case("head_norm_backward",
             [=](View x, View raw, View sums, View dots, View w, View dw, Stream& s) {
               head_norm_backward(x, dw, raw, sums, dots, w, args, s);
             });
  }
}

}  // namespace

std::vector<Case> row_cases() {
  std::vector<Case> cases;
  for (const DType act : {DType::bf16, DType::f32}) {
    cases.push_back({fmt::format("dropout {} {}x{}", dtype_name(act), N, C),
                     Rate::fp32,
                     {},
                     [=](Memory& memory, Stream&) -> Body {
                       return [y = memory.normal(act, {B, T, C}),
                               x = memory.normal(act, {B, T, C})](Stream& s) {
                         dropout(y, x, kDropout, s);
                       };
                     }});
    add_norm_cases(cases, act, {});
    add_norm_cases(cases, act, kDropout);
    activation_cases(cases, act);
    rope_cases(cases, act);
    head_norm_cases(cases, act);
  }
  return cases;
}

}  // namespace weft::gpu_bench

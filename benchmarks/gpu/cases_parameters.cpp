// Linear layers, and ops that go through parameters or whole tensors once.
#include <fmt/format.h>

#include "cases.h"
#include "kernels/ops.h"

namespace weft::gpu_bench {
namespace {

constexpr std::int64_t C = 4096, F = 11008, N = 8192;

struct Layer {
  std::int64_t N, O, I;
  bool bias = false;
  DType act = DType::bf16, weight = DType::bf16;
  Precision precision = Precision::bf16;
};

void add_linear_cases(std::vector<Case>& cases, const Layer& q, bool backward) {
  const char* precision = q.precision == Precision::fp32_fixed ? " fixed_order"
                          : q.precision == Precision::bf16 && q.act != DType::bf16
                              ? " rounded to bf16"
                              : "";
  const std::string weight =
      q.weight != q.act ? fmt::format(" {} weight", dtype_name(q.weight)) : "";
  const std::string suffix = fmt::format(" {}{}{}{} {}x{}x{}", dtype_name(q.act), weight, precision,
                                         q.bias ? " bias" : "", q.N, q.O, q.I);
  const Rate rate = q.precision == Precision::bf16 ? Rate::bf16 : Rate::fp32;
  const double n = static_cast<double>(q.N), o = static_cast<double>(q.O),
               i = static_cast<double>(q.I), size = q.precision == Precision::bf16 ? 2 : 4;
  const Products product = {size * (n * i + o * i + n * o), 2 * n * o * i};
  struct Tensors {
    View y, x, w, bias;
    Tensors(Memory& memory, const Layer& l)
        : y(memory.normal(l.act, {l.N, l.O})),
          x(memory.normal(l.act, {l.N, l.I})),
          w(memory.normal(l.weight, {l.O, l.I})),
          bias(memory.normal(DType::f32, {l.O})) {}
  };
  cases.push_back({"linear" + suffix, rate, product, [=](Memory& memory, Stream&) -> Body {
                     return [=, t = Tensors(memory, q)](Stream& s) {
                       linear(t.y, t.x, t.w, q.bias ? ConstView(t.bias) : ConstView(), q.precision,
                              s);
                     };
                   }});
  if (!backward) return;
  cases.push_back(
      {"linear_backward_input" + suffix, rate, product, [=](Memory& memory, Stream&) -> Body {
         return [=, t = Tensors(memory, q)](Stream& s) {
           linear_backward_input(t.x, t.y, t.w, q.precision, s);
         };
       }});
  // dw is fp32, read and written.
  cases.push_back({"linear_backward_weight" + suffix,
                   rate,
                   {size * (n * i + n * o) + 8 * o * i, product.flops},
                   [=](Memory& memory, Stream&) -> Body {
                     return [=, t = Tensors(memory, q), dw = memory.normal(DType::f32, {q.O, q.I}),
                             dbias = memory.normal(DType::f32, {q.O})](Stream& s) {
                       linear_backward_weight(dw, q.bias ? dbias : View(), t.y, t.x, q.precision,
                                              s);
                     };
                   }});
}

// The layers on either side of the GELU of GPT-2 124M.
void add_gelu_cases(std::vector<Case>& cases, DType act, bool bias) {
  constexpr std::int64_t kWidth = 768, kInner = 4 * kWidth;
  const double n = N, c = kWidth, f = kInner, act_bytes = static_cast<double>(dtype_bytes(act));
  const std::string suffix =
      fmt::format(" {}{} {}x{}x{}", dtype_name(act), bias ? " bias" : "", N, kInner, kWidth);
  struct Tensors {
    View wide, pre, narrow, up, down, bias;
    Tensors(Memory& memory, DType act)
        : wide(memory.normal(act, {N, kInner})),
          pre(memory.normal(act, {N, kInner})),
          narrow(memory.normal(act, {N, kWidth})),
          up(memory.normal(DType::bf16, {kInner, kWidth})),
          down(memory.normal(DType::bf16, {kWidth, kInner})),
          bias(memory.normal(DType::f32, {kInner})) {}
  };
  const Products product = {act_bytes * (n * c + 2 * n * f) + 2 * c * f, 2 * n * c * f};
  cases.push_back(
      {"linear_gelu" + suffix, Rate::bf16, product, [=](Memory& memory, Stream&) -> Body {
         return [=, t = Tensors(memory, act)](Stream& s) {
           linear_gelu(t.wide, t.pre, t.narrow, t.up, bias ? ConstView(t.bias) : ConstView(),
                       Precision::bf16, s);
         };
       }});
  if (bias) return;
  cases.push_back(
      {"linear_gelu_backward" + suffix, Rate::bf16, product, [=](Memory& memory, Stream&) -> Body {
         return [=, t = Tensors(memory, act)](Stream& s) {
           linear_gelu_backward(t.wide, t.narrow, t.down, t.pre, Precision::bf16, s);
         };
       }});
}

// The parameters of one layer: 202 million in six tensors.
struct Parameters {
  std::vector<View> weight, m, v, grad, copy;
  explicit Parameters(Memory& memory, bool moments, bool copies) {
    for (const Dims& shape :
         {Dims{C}, Dims{3 * C, C}, Dims{C, C}, Dims{C}, Dims{2 * F, C}, Dims{C, F}}) {
      grad.push_back(memory.normal(DType::f32, shape));
      if (!moments) continue;
      weight.push_back(memory.normal(DType::f32, shape));
      m.push_back(memory.normal(DType::f32, shape));
      v.push_back(memory.positive(shape));
      copy.push_back(copies ? memory.normal(DType::bf16, shape) : View());
    }
  }
};

View one_double(Memory& memory) {
  const View x = memory.normal(DType::f32, {2});
  return View(x.data(), DType::f64, {1}, x.device());
}

void optimizer_cases(std::vector<Case>& cases) {
  for (const bool copies : {true, false}) {
    cases.push_back({fmt::format("adamw {}202M in 6 tensors", copies ? "and bf16 copy " : ""),
                     Rate::fp32,
                     {},
                     [=](Memory& memory, Stream&) -> Body {
                       const Parameters p(memory, true, copies);
                       std::vector<AdamWTensor> tensors;
                       for (std::size_t i = 0; i < p.weight.size(); ++i)
                         tensors.push_back({p.weight[i], p.m[i], p.v[i], p.grad[i], p.copy[i],
                                            p.weight[i].rank() > 1});
                       const View grad_scale = memory.positive({1});
                       return [=](Stream& s) {
                         adamw(tensors, grad_scale,
                               {.lr = 1e-4f, .weight_decay = 0.1f, .step = 100}, s);
                       };
                     }});
  }
  cases.push_back(
      {"sum_of_squares 202M in 6 tensors", Rate::fp32, {}, [](Memory& memory, Stream&) -> Body {
         const Parameters p(memory, false, false);
         return [tensors = std::vector<ConstView>(p.grad.begin(), p.grad.end()),
                 total = one_double(memory)](Stream& s) { sum_of_squares(total, tensors, s); };
       }});
  cases.push_back({"clip_scale", Rate::fp32, {}, [](Memory& memory, Stream&) -> Body {
                     return [scale = memory.positive({1}), square = one_double(memory)](Stream& s) {
                       clip_scale(scale, square, 1, s);
                     };
                   }});
}

void elementwise_cases(std::vector<Case>& cases) {
  const auto pair = [&](const std::string& op, DType y_dtype, DType x_dtype, std::int64_t columns,
                        void (*body)(View, ConstView, Stream&)) {
    const std::string dtypes = y_dtype == x_dtype
                                   ? std::string(dtype_name(y_dtype))
                                   : fmt::format("{} {}", dtype_name(y_dtype), dtype_name(x_dtype));
    cases.push_back({fmt::format("{} {} {}x{}", op, dtypes, N, columns),
                     Rate::fp32,
                     {},
                     [=](Memory& memory, Stream&) -> Body {
                       return
                           [=, y = memory.normal(y_dtype, {N, columns}),
                            x = memory.normal(x_dtype, {N, columns})](Stream& s) { body(y, x, s); };
                     }});
  };
  const auto add_to = [](View y, ConstView x, Stream& s) { add(y, x, s); };
  const auto turn_sign = [](View y, ConstView, Stream& s) { scale(y, -1.0f, s); };
  const auto cap = [](View y, ConstView x, Stream& s) { soft_cap(y, x, 30.0f, s); };
  const auto copy = [](View y, ConstView x, Stream& s) { convert(y, x, s); };
  pair("add", DType::bf16, DType::bf16, C, add_to);
  pair("add", DType::f32, DType::f32, C, add_to);
  pair("add", DType::f32, DType::bf16, C, add_to);
  pair("scale", DType::bf16, DType::bf16, C, turn_sign);
  pair("scale", DType::f32, DType::f32, C, turn_sign);
  pair("soft_cap", DType::bf16, DType::bf16, 32000, cap);
  pair("soft_cap", DType::f32, DType::f32, 32000, cap);
  pair("convert", DType::bf16, DType::f32, C, copy);
  pair("convert", DType::f32, DType::bf16, C, copy);
}

}  // namespace

std::vector<Case> linear_cases() {
  std::vector<Case> cases;
  add_linear_cases(cases, {N, 3 * C, C}, true);
  add_linear_cases(cases, {N, 3 * C, C, true}, true);
  add_linear_cases(cases, {N, F, C}, true);
  add_linear_cases(cases, {N, C, F}, true);
  add_linear_cases(cases, {N, C, C}, true);
  add_linear_cases(cases, {64, 3 * C, C}, false);  // decoding
  add_linear_cases(cases, {N, 3 * C, C, true, DType::bf16, DType::f32}, false);
  add_linear_cases(cases, {N, 3 * C, C, true, DType::f32, DType::f32, Precision::fp32}, true);
  add_linear_cases(cases, {N, 3 * C, C, true, DType::f32, DType::f32, Precision::bf16}, true);
  add_linear_cases(cases, {64, 3 * C, C, true, DType::f32, DType::f32, Precision::fp32_fixed},
                   false);
  for (const DType act : {DType::bf16, DType::f32})
    for (const bool bias : {false, true}) add_gelu_cases(cases, act, bias);
  return cases;
}

std::vector<Case> parameter_cases() {
  std::vector<Case> cases;
  optimizer_cases(cases);
  elementwise_cases(cases);
  return cases;
}

std::vector<Case> standard_cases() {
  std::vector<Case> cases;
  for (const auto part :
       {attention_cases, row_cases, vocabulary_cases, parameter_cases, moving_cases, linear_cases})
    for (Case& c : part()) cases.push_back(std::move(c));
  return cases;
}

}  // namespace weft::gpu_bench

#include <utility>

#include "kernels/panels.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

struct Size {
  std::int64_t N, I, O;
};
const std::vector<Size> kSizes = {{1, 1, 1},    {1, 768, 1003}, {2, 33, 17},  {3, 64, 5},
                                  {4, 100, 48}, {5, 7, 9},      {7, 129, 31}, {8, 48, 144},
                                  {9, 48, 144}, {65, 47, 211},  {96, 100, 40}};

double multiplied(float x, bool bf16) { return bf16 ? to_float(to_bfloat16(x)) : x; }

// Each product and partial sum rounds once: a random walk of that many steps.
double bound(std::int64_t terms) { return 6e-8 * 8 * std::sqrt(static_cast<double>(terms)) + 1e-6; }

class Linear : public OnEachTarget {
 protected:
  // w stored in `dtype` on the device, and its values rounded to it.
  Resident store(Tensor& w, DType dtype) {
    const Resident wide = put(w);
    if (dtype == DType::f32) return wide;
    const Resident narrow = blank(dtype, w.shape);
    convert(narrow, wide, stream());
    convert(wide, narrow, stream());
    w = get(wide);
    return narrow;
  }
};
WEFT_ON_EACH_TARGET(Linear);

TEST_P(Linear, EqualsTheSumInDouble) {
  for (Precision precision : {Precision::fp32, Precision::fp32_fixed, Precision::bf16})
    for (DType dtype : {DType::f32, DType::bf16, DType::f16})
      for (auto [N, I, O] : kSizes) {
        const bool in_bf16 = bf16() || precision == Precision::bf16;
        Tensor x = rounded(random({N, I}, 1)), w = random({O, I}, 2), bias = random({O}, 3);
        const Resident weights = store(w, dtype), x_in = put_act(x), y = blank_act({N, O});
        std::vector<double> expected;
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t o = 0; o < O; ++o) {
            double sum = bias[o];
            for (std::int64_t i = 0; i < I; ++i)
              sum += multiplied(x[n * I + i], in_bf16) * multiplied(w[o * I + i], in_bf16);
            expected.push_back(sum);
          }
        linear(y, x_in, weights, put(bias), precision, stream());
        expect_close(get(y).data, expected, tolerance(bound(I)), "linear");
      }
}

// Of whole panels and of what is left of one, for few rows and for more than share a reading of the
// matrix: to the bit what the fixed order gives for the matrix as it is.
TEST_P(Linear, OfPanelsIsThatOfTheMatrix) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (auto [O, I] : {std::pair<std::int64_t, std::int64_t>{64, 16},
                        {1, 1},
                        {63, 17},
                        {200, 600},
                        {130, 1100}}) {
      Tensor values = random({O, I}, 2);
      const Resident as_it_is = store(values, dtype), turned = store(values, dtype),
                     b = put(random({O}, 3));
      const View panels = to_panels(turned, stream());
      if (on_gpu()) {
        EXPECT_FALSE(is_in_panels(panels));
        continue;
      }
      EXPECT_EQ(panels.shape(), (Dims{1, O, I}));
      for (const std::int64_t N : {1, 2, 5, 7, 40, 390}) {
        const Resident x = put(random({N, I}, 1)), y = blank(DType::f32, {N, O}),
                       z = blank(DType::f32, {N, O}), gelu = blank(DType::f32, {N, O});
        for (const bool biased : {true, false}) {
          const ConstView bias = biased ? ConstView(b) : ConstView();
          linear(y, x, as_it_is, bias, Precision::fp32_fixed, stream());
          for (const Precision precision : {Precision::fp32, Precision::fp32_fixed}) {
            linear(z, x, panels, bias, precision, stream());
            ASSERT_EQ(get(z).data, get(y).data)
                << N << " x " << O << " x " << I << " " << dtype_name(dtype);
          }
        }
        linear_gelu(gelu, z, x, panels, ConstView(), Precision::fp32, stream());
        EXPECT_EQ(get(z).data, get(y).data) << "before gelu";
      }
      const Resident x = put(random({9, I}, 1)), y = blank(DType::f32, {9, O});
      EXPECT_THROW(linear(y, x, panels, b, Precision::bf16, stream()), Error);
      EXPECT_THROW(linear_backward_input(x, y, panels, Precision::fp32, stream()), Error);
    }
}

TEST_P(Linear, RowOfAFewDoesNotDependOnTheOthers) {
  for (Precision precision : {Precision::fp32, Precision::fp32_fixed}) {
    if (on_gpu() && precision == Precision::fp32)
      continue;  // cuBLAS promises it for fp32_fixed alone
    for (std::int64_t N : {8, 21}) {
      if (N > 8 && precision == Precision::fp32) continue;
      const Resident x = put_act(random({N, 100}, 1)), w = put(random({37, 100}, 2)),
                     all = blank_act({N, 37}), one = blank_act({1, 37});
      linear(all, x, w, ConstView(), precision, stream());
      const Tensor together = get(all);
      for (std::int64_t n = 0; n < N; ++n) {
        linear(one, x.view.rows(n, n + 1), w, ConstView(), precision, stream());
        const Tensor alone = get(one);
        for (std::int64_t o = 0; o < 37; ++o)
          EXPECT_EQ(alone[o], together[n * 37 + o]) << n << " " << o;
      }
    }
  }
}

// Neither on how many rows there are, few or panels of them, nor on which features of w are here.
TEST_P(Linear, InFixedOrderAnElementDependsOnItsRowAndItsWeightsAlone) {
  if (on_gpu()) GTEST_SKIP() << "which algorithm a product gets is cuBLASLt's choice";
  for (DType dtype : {DType::f32, DType::bf16, DType::f16})
    for (const auto& [N, I] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {9, 100}, {40, 1030}, {97, 2048}, {200, 7}}) {
      constexpr std::int64_t O = 61, kFirst = 13;
      Tensor weights = random({O, I}, 2);
      const Resident w = store(weights, dtype), bias = put(random({O}, 3)),
                     x = put_act(random({N, I}, 1)), all = blank_act({N, O}),
                     some = blank_act({N, O - kFirst}), one = blank_act({1, O});
      const auto fixed = [&](View y, ConstView rows, ConstView features, ConstView b) {
        linear(y, rows, features, b, Precision::fp32_fixed, stream());
      };
      fixed(all, x, w, bias);
      const Tensor together = get(all);
      for (const std::int64_t n : {std::int64_t{0}, N / 2, N - 1}) {
        fixed(one, x.view.rows(n, n + 1), w, bias);
        const Tensor alone = get(one);
        for (std::int64_t o = 0; o < O; ++o)
          EXPECT_EQ(alone[o], together[n * O + o]) << N << " x " << I << ": " << n << " " << o;
      }
      fixed(some, x, w.view.rows(kFirst, O), bias.view.rows(kFirst, O));
      const Tensor part = get(some);
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t o = kFirst; o < O; ++o)
          ASSERT_EQ(part[n * (O - kFirst) + o - kFirst], together[n * O + o])
              << N << " x " << I << ": " << n << " " << o;
    }
}

TEST_P(Linear, BackwardEqualsTheSumsInDouble) {
  for (Precision precision : {Precision::fp32, Precision::bf16})
    for (auto [N, I, O] : kSizes) {
      const bool in_bf16 = bf16() || precision == Precision::bf16;
      Tensor x = rounded(random({N, I}, 1)), w = random({O, I}, 2), dy = rounded(random({N, O}, 3)),
             dw = random({O, I}, 4), db = random({O}, 5);
      std::vector<double> dx_ref(x.data.size()), dw_ref = widened(dw), db_ref = widened(db);
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t o = 0; o < O; ++o) {
          const double g = multiplied(dy[n * O + o], in_bf16);
          db_ref[static_cast<std::size_t>(o)] += dy[n * O + o];
          for (std::int64_t i = 0; i < I; ++i) {
            dx_ref[static_cast<std::size_t>(n * I + i)] += g * multiplied(w[o * I + i], in_bf16);
            dw_ref[static_cast<std::size_t>(o * I + i)] += g * multiplied(x[n * I + i], in_bf16);
          }
        }
      const Resident x_in = put_act(x), w_in = put(w), dy_in = put_act(dy), dx = blank_act({N, I}),
                     dw_out = put(dw), db_out = put(db);
      linear_backward_input(dx, dy_in, w_in, precision, stream());
      linear_backward_weight(dw_out, db_out, dy_in, x_in, precision, stream());
      expect_close(get(dx).data, dx_ref, tolerance(bound(O)), "dx");
      expect_close(get(dw_out).data, dw_ref, bound(N), "dw");  // fp32 on every target
      expect_close(get(db_out).data, db_ref, bound(N), "dbias");
    }
}

double gelu(double x) {
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}
double gelu_slope(double x) {
  const double h = 1e-3;
  return (8 * (gelu(x + h) - gelu(x - h)) - (gelu(x + 2 * h) - gelu(x - 2 * h))) / (12 * h);
}

// Σ over k of a row by a column, as a multiplier of fp32 or bf16 sees them.
double product_of(const std::vector<std::pair<float, float>>& pairs, bool bf16) {
  double sum = 0;
  for (auto [a, b] : pairs) sum += multiplied(a, bf16) * multiplied(b, bf16);
  return sum;
}

// Of a GELU with PTX's tanh.approx, 2^-11: where products are in bf16.
constexpr double kFastGelu = 0x1p-9;

TEST_P(Linear, WithGeluEqualsTheFormulaInDouble) {
  for (Precision precision : {Precision::fp32, Precision::fp32_fixed, Precision::bf16})
    for (bool with_bias : {false, true})
      for (auto [N, I, O] : kSizes) {
        const bool in_bf16 = bf16() || precision == Precision::bf16;
        const Tensor x = rounded(random({N, I}, 1)), w = random({O, I}, 2), bias = random({O}, 3);
        const Resident y = blank_act({N, O}), pre = blank_act({N, O});
        std::vector<double> sums, values;
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t o = 0; o < O; ++o) {
            std::vector<std::pair<float, float>> pairs;
            for (std::int64_t i = 0; i < I; ++i) pairs.emplace_back(x[n * I + i], w[o * I + i]);
            sums.push_back(product_of(pairs, in_bf16) + (with_bias ? bias[o] : 0.0));
            values.push_back(gelu(sums.back()));
          }
        const Resident b = put(bias);
        linear_gelu(y, pre, put_act(x), put(w), with_bias ? ConstView(b) : ConstView(), precision,
                    stream());
        expect_close(get(pre).data, sums, tolerance(bound(I)), "pre");
        const double approximate = in_bf16 && on_gpu() ? kFastGelu : 0;
        expect_close(get(y).data, values, tolerance(2 * bound(I) + 5e-6, 2) + approximate, "gelu");
      }
}

TEST_P(Linear, BackwardThroughGeluEqualsTheFormulaInDouble) {
  for (Precision precision : {Precision::fp32, Precision::bf16})
    for (auto [N, I, O] : kSizes) {
      const bool in_bf16 = bf16() || precision == Precision::bf16;
      const Tensor dy = rounded(random({N, O}, 1)), w = random({O, I}, 2),
                   pre = rounded(random({N, I}, 3));
      std::vector<double> expected;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t i = 0; i < I; ++i) {
          std::vector<std::pair<float, float>> pairs;
          for (std::int64_t o = 0; o < O; ++o) pairs.emplace_back(dy[n * O + o], w[o * I + i]);
          expected.push_back(product_of(pairs, in_bf16) * gelu_slope(pre[n * I + i]));
        }
      const Resident dpre = blank_act({N, I});
      linear_gelu_backward(dpre, put_act(dy), put(w), put_act(pre), precision, stream());
      const double approximate = in_bf16 && on_gpu() ? 2 * kFastGelu : 0;
      expect_close(get(dpre).data, expected, tolerance(2 * bound(O) + 5e-6, 3) + approximate,
                   "dpre");
    }
}

TEST_P(Linear, WithGeluIsTheTwoOpsToTheBitWhereItMustBe) {
  if (on_gpu()) GTEST_SKIP() << "a GPU may fuse them";
  const Resident x = put(random({70, 24}, 1)), w = put(random({40, 24}, 2)),
                 bias = put(random({40}, 3)), pre = blank({70, 40}), y = blank({70, 40}),
                 pre_apart = blank({70, 40}), y_apart = blank({70, 40});
  linear_gelu(y, pre, x, w, bias, Precision::fp32, stream());
  linear(pre_apart, x, w, bias, Precision::fp32, stream());
  activation(y_apart, pre_apart, ConstView(), Activation::gelu_tanh, stream());
  EXPECT_EQ(get(pre).data, get(pre_apart).data);
  EXPECT_EQ(get(y).data, get(y_apart).data);
  const Resident dy = put(random({70, 24}, 4)), w_behind = put(random({24, 40}, 5)),
                 dpre = blank({70, 40}), dpre_apart = blank({70, 40});
  linear_gelu_backward(dpre, dy, w_behind, pre, Precision::fp32, stream());
  linear_backward_input(dpre_apart, dy, w_behind, Precision::fp32, stream());
  activation_backward(dpre_apart, View(), dpre_apart, pre, ConstView(), Activation::gelu_tanh,
                      stream());
  EXPECT_EQ(get(dpre).data, get(dpre_apart).data);
}

// The blocks of fp32_fixed are multiplied by one algorithm, wherever their tensors begin.
TEST_P(Linear, FixedOrderDoesNotDependOnWhereTensorsLie) {
  constexpr std::int64_t N = 21, I = 20, O = 33;
  const Tensor x = random({N, I}, 1);
  const Resident w = put(random({O, I}, 2)), bias = put(random({O}, 3)), x_in = put_act(x),
                 room = blank_act({N * I + 8}), results = blank_act({N * O + 8}),
                 y = blank_act({N, O});
  linear(y, x_in, w, bias, Precision::fp32_fixed, stream());
  for (std::int64_t begin : {1, 2, 4}) {
    const Resident x_there = part(room, begin, {N, I}), y_there = part(results, begin, {N, O});
    copy_bytes(x_there.view.data(), x_in.view.data(), x_in.view.bytes(), stream());
    linear(y_there, x_there, w, bias, Precision::fp32_fixed, stream());
    EXPECT_EQ(get(y_there).data, get(y).data) << begin;
  }
}

TEST(LinearShapes, NamesTheOpAndTheShapesOfAMistake) {
  Stream stream;
  Tensor x = filled({2, 3}, 0), w = filled({4, 5}, 0), y = filled({2, 4}, 0);
  try {
    linear(y.view(), x.view(), w.view(), ConstView(), Precision::fp32, stream);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("linear: x is fp32 (2, 3), expected fp32 (2, 5)"),
              std::string::npos)
        << error.what();
  }
}

}  // namespace
}  // namespace weft::test

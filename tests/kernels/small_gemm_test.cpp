// Small products of matrices by our own kernels on the CPU (small_gemm.h).
#include "kernels/cpu/small_gemm.h"

#include <algorithm>
#include <cmath>

#include "tests/kernels/close.h"

namespace weft::test {
namespace {

struct Size {
  std::int64_t N, I, O;
};

double multiplied(float x, bool bf16) { return bf16 ? to_float(to_bfloat16(x)) : x; }

// Each product and partial sum rounds once: a random walk of that many steps.
double bound(std::int64_t terms) { return 6e-8 * 8 * std::sqrt(static_cast<double>(terms)) + 1e-6; }

// Products that small_gemm and small_bf16_gemm take: a recipe's, and remainders of every tile.
const std::vector<Size> kSmallProducts = {
    {301, 130, 343}, {768, 128, 128}, {37, 1030, 33}, {257, 3, 12}, {12, 1, 77}};

TEST(SmallProducts, EqualTheSumsInDouble) {
  for (Precision precision : {Precision::fp32, Precision::bf16})
    for (auto [N, I, O] : kSmallProducts) {
      const bool in_bf16 = precision == Precision::bf16;
      Tensor x = random({N, I}, 1), w = random({O, I}, 2), dy = random({N, O}, 3),
             bias = random({O}, 4), dw = random({O, I}, 5);
      std::vector<BFloat16> narrow;  // weights that are bf16 already
      for (float& e : w.data) narrow.push_back(to_bfloat16(e));
      const View w_bf16(narrow.data(), DType::bf16, w.shape);
      Tensor x_in = x, w_in = w, dy_in = dy;
      for (Tensor* t : {&x_in, &w_in, &dy_in})
        for (float& e : t->data) e = static_cast<float>(multiplied(e, in_bf16));
      std::vector<double> y_ref, dx_ref(x.data.size()), dw_ref = widened(dw);
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t o = 0; o < O; ++o) {
          double sum = bias[o];
          const double g = dy_in[n * O + o];
          for (std::int64_t i = 0; i < I; ++i) {
            sum += static_cast<double>(x_in[n * I + i]) * w_in[o * I + i];
            dx_ref[static_cast<std::size_t>(n * I + i)] += g * w_in[o * I + i];
            dw_ref[static_cast<std::size_t>(o * I + i)] += g * x_in[n * I + i];
          }
          y_ref.push_back(sum);
        }
      for (int threads : {1, 3}) {
        Stream stream(Device{}, threads);
        Tensor y = filled({N, O}, 9), dx = filled({N, I}, 9), sum = dw;
        linear(y.view(), x.view(), w.view(), bias.view(), precision, stream);
        linear_backward_input(dx.view(), dy.view(), w.view(), precision, stream);
        linear_backward_weight(sum.view(), View(), dy.view(), x.view(), precision, stream);
        expect_close(y.data, y_ref, bound(I), "y");
        expect_close(dx.data, dx_ref, bound(O), "dx");
        expect_close(sum.data, dw_ref, bound(N), "dw");
        if (!in_bf16) continue;
        Tensor same = filled({N, O}, 9);
        linear(same.view(), x.view(), w_bf16, bias.view(), precision, stream);
        EXPECT_EQ(same.data, y.data);
        same = filled({N, I}, 9);
        linear_backward_input(same.view(), dy.view(), w_bf16, precision, stream);
        EXPECT_EQ(same.data, dx.data);
      }
    }
}

// A row of y or dx has the same bits whatever rows are beside it, and nothing depends on the team.
TEST(SmallProducts, DependNeitherOnTheTeamNorOnTheRowsBeside) {
  constexpr std::int64_t N = 131, I = 70, O = 93, first = 5, some = 40;
  Tensor x = random({N, I}, 1), w = random({O, I}, 2), dy = random({N, O}, 3);
  for (Precision precision : {Precision::fp32, Precision::bf16}) {
    const bool bf16 = precision == Precision::bf16;
    if (bf16 && !cpu::small_bf16_gemm_serves({.M = N, .N = O, .K = N}, DType::f32))
      continue;  // the matmul library's, which promises nothing
    std::vector<Tensor> dws, ys, dxs;
    for (int threads : {1, 2, 3, 7, 40}) {
      Stream stream(Device{}, threads);
      Tensor dw = filled({O, I}, 0.5f), y = filled({N, O}, 0), dx = filled({N, I}, 0);
      linear_backward_weight(dw.view(), View(), dy.view(), x.view(), precision, stream);
      dws.push_back(dw);
      EXPECT_EQ(dw.data, dws[0].data) << threads;
      if (!bf16) continue;
      linear(y.view(), x.view(), w.view(), ConstView(), precision, stream);
      linear_backward_input(dx.view(), dy.view(), w.view(), precision, stream);
      Tensor few_y = filled({some, O}, 0), few_dx = filled({some, I}, 0);
      linear(few_y.view(), x.view().rows(first, first + some), w.view(), ConstView(), precision,
             stream);
      linear_backward_input(few_dx.view(), dy.view().rows(first, first + some), w.view(), precision,
                            stream);
      ys.push_back(y);
      dxs.push_back(dx);
      EXPECT_EQ(y.data, ys[0].data) << threads;
      EXPECT_EQ(dx.data, dxs[0].data) << threads;
      EXPECT_TRUE(std::equal(few_y.data.begin(), few_y.data.end(), y.data.begin() + first * O));
      EXPECT_TRUE(std::equal(few_dx.data.begin(), few_dx.data.end(), dx.data.begin() + first * I));
    }
  }
}

}  // namespace
}  // namespace weft::test

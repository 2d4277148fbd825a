#include "tests/kernels/close.h"

namespace weft::test {
namespace {

struct Size {
  std::int64_t N, I, O;
};
const std::vector<Size> kSizes = {{1, 1, 1}, {1, 768, 1003}, {2, 33, 17}, {3, 64, 5}, {4, 100, 48}, {5, 7, 9}, {7, 129, 31}, {8, 48, 144}, {9, 48, 144},
                                  {65, 47, 211}, {96, 100, 40}};

double rounded(float x, Precision precision) { return precision == Precision::bf16 ? to_float(to_bfloat16(x)) : x; }

TEST(Linear, EqualsTheSumInDouble) {
  for (int threads : kTeams)
    for (Precision precision : {Precision::fp32, Precision::bf16})
      for (DType dtype : {DType::f32, DType::bf16, DType::f16})
        for (auto [N, I, O] : kSizes) {
          Stream stream({}, threads);
          Tensor x = random({N, I}, 1), w = random({O, I}, 2), bias = random({O}, 3), y = filled({N, O}, NAN);
          std::vector<std::uint16_t> narrow(w.data.size());
          ConstView weights = w.view();
          if (dtype != DType::f32) {
            const View stored(narrow.data(), dtype, w.shape);
            convert(stored, w.view(), stream);
            convert(w.view(), stored, stream);  // what the reference multiplies
            weights = stored;
          }
          std::vector<double> expected;
          for (std::int64_t n = 0; n < N; ++n)
            for (std::int64_t o = 0; o < O; ++o) {
              double sum = bias[o];
              for (std::int64_t i = 0; i < I; ++i) sum += rounded(x[n * I + i], precision) * rounded(w[o * I + i], precision);
              expected.push_back(sum);
            }
          linear(y.view(), x.view(), weights, bias.view(), precision, stream);
          // Each product and partial sum rounds once: a random walk of I steps.
          expect_close(y.data, expected, 6e-8 * 8 * std::sqrt(static_cast<double>(I)) + 1e-6, "linear");
        }
}

TEST(Linear, RowOfAFewDoesNotDependOnTheOthers) {
  Stream stream({}, 2);
  Tensor x = random({8, 100}, 1), w = random({37, 100}, 2), all = filled({8, 37}, 0), one = filled({1, 37}, 0);
  linear(all.view(), x.view(), w.view(), ConstView(), Precision::fp32, stream);
  for (std::int64_t n = 0; n < 8; ++n) {
    linear(one.view(), x.view().rows(n, n + 1), w.view(), ConstView(), Precision::fp32, stream);
    for (std::int64_t o = 0; o < 37; ++o) EXPECT_EQ(one[o], all[n * 37 + o]) << n << " " << o;
  }
}

TEST(LinearBackward, EqualsTheSumsInDouble) {
  for (Precision precision : {Precision::fp32, Precision::bf16})
    for (auto [N, I, O] : kSizes) {
      Stream stream({}, 2);
      Tensor x = random({N, I}, 1), w = random({O, I}, 2), dy = random({N, O}, 3), dx = filled({N, I}, NAN), dw = random({O, I}, 4), db = random({O}, 5);
      std::vector<double> dx_ref(dx.data.size()), dw_ref = widened(dw), db_ref = widened(db);
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t o = 0; o < O; ++o) {
          const double g = rounded(dy[n * O + o], precision);
          db_ref[static_cast<std::size_t>(o)] += dy[n * O + o];
          for (std::int64_t i = 0; i < I; ++i) {
            dx_ref[static_cast<std::size_t>(n * I + i)] += g * rounded(w[o * I + i], precision);
            dw_ref[static_cast<std::size_t>(o * I + i)] += g * rounded(x[n * I + i], precision);
          }
        }
      linear_backward_input(dx.view(), dy.view(), w.view(), precision, stream);
      linear_backward_weight(dw.view(), db.view(), dy.view(), x.view(), precision, stream);
      const auto bound = [](std::int64_t terms) { return 6e-8 * 8 * std::sqrt(static_cast<double>(terms)) + 1e-6; };
      expect_close(dx.data, dx_ref, bound(O), "dx");
      expect_close(dw.data, dw_ref, bound(N), "dw");
      expect_close(db.data, db_ref, bound(N), "dbias");
    }
}

TEST(Linear, NamesTheOpAndTheShapesOfAMistake) {
  Stream stream;
  Tensor x = filled({2, 3}, 0), w = filled({4, 5}, 0), y = filled({2, 4}, 0);
  try {
    linear(y.view(), x.view(), w.view(), ConstView(), Precision::fp32, stream);
    FAIL();
  } catch (const Error& error) {
    EXPECT_NE(std::string(error.what()).find("linear: x is fp32 (2, 3), expected fp32 (2, 5)"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace weft::test

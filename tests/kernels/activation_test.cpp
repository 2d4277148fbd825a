// activation and gated_activation against their formulas in double; slopes by differences.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class ActivationOp : public OnEachTarget {};

const std::vector<Activation> kKinds = {Activation::gelu_tanh, Activation::gelu_erf,
                                        Activation::silu, Activation::relu, Activation::tanh};
const std::vector<std::array<std::int64_t, 2>> kShapes = {
    {1, 1}, {1, 7}, {3, 8}, {5, 129}, {300, 24}, {331, 7}, {2, 768}, {11, 1003}};

double value_of(Activation kind, double x) {
  switch (kind) {
    case Activation::gelu_tanh:
      return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
    case Activation::gelu_erf:
      return 0.5 * x * std::erfc(-x / std::sqrt(2.0));
    case Activation::silu:
      return x / (1 + std::exp(-x));
    case Activation::relu:
      return std::max(x, 0.0);
    case Activation::tanh:
      return std::tanh(x);
  }
  return NAN;
}

double slope_of(Activation kind, double x) {
  if (kind == Activation::relu) return x > 0 ? 1 : 0;
  const double h = 1e-3;  // a fourth-order difference in double: error 1e-12
  const auto f = [&](double at) { return value_of(kind, at); };
  return (8 * (f(x + h) - f(x - h)) - (f(x + 2 * h) - f(x - 2 * h))) / (12 * h);
}

// Values where a formula may overflow or cancel, as far as there is room for them.
Tensor inputs(const Dims& shape, std::uint32_t seed) {
  Tensor x = random(shape, seed, 3.0f);
  const std::vector<float> edges = {-100, 100, -5.5f, 5.5f, -1e-20f, -20, 20, -9};
  for (std::size_t i = 0; i < edges.size() && 2 * i + 1 < x.data.size(); ++i)
    x.data[2 * i + 1] = edges[i];
  return x;
}

// Functions of exponentials with an ulp or two of error each, of arguments rounded once.
constexpr double kBound = 5e-6;

TEST_P(ActivationOp, ForwardEqualsTheFormula) {
  for (Activation kind : kKinds)
    for (bool with_bias : {false, true})
      for (auto [N, F] : kShapes) {
        const Tensor x = rounded(inputs({N, F}, 1)), bias = random({F}, 2);
        std::vector<double> expected;
        for (std::int64_t i = 0; i < N * F; ++i)
          expected.push_back(
              value_of(kind, static_cast<double>(x[i]) + (with_bias ? bias[i % F] : 0.0f)));
        const Resident in = put_act(x), b = put(bias), y = blank_act(x.shape);
        activation(y, in, with_bias ? ConstView(b) : ConstView(), kind, stream());
        expect_close(get(y).data, expected, tolerance(kBound),
                     fmt::format("activation {} of {} x {}", static_cast<int>(kind), N, F).c_str(),
                     1e-3);
        activation(in, in, with_bias ? ConstView(b) : ConstView(), kind, stream());  // in place
        EXPECT_EQ(get(in).data, get(y).data);
      }
}

TEST_P(ActivationOp, BackwardEqualsTheSlope) {
  for (Activation kind : kKinds)
    for (auto [with_bias, with_dbias] : std::vector<std::array<bool, 2>>{
             {false, false}, {true, true}, {true, false}, {false, true}})
      for (auto [N, F] : kShapes) {
        const Tensor x = rounded(inputs({N, F}, 1)), bias = random({F}, 2),
                     dy = rounded(random({N, F}, 3)), dbias = random({F}, 4);
        std::vector<double> dx_ref, dbias_ref = widened(dbias);
        for (std::int64_t i = 0; i < N * F; ++i) {
          dx_ref.push_back(
              slope_of(kind, static_cast<double>(x[i]) + (with_bias ? bias[i % F] : 0.0f)) * dy[i]);
          dbias_ref[static_cast<std::size_t>(i % F)] += dx_ref.back();
        }
        const Resident in = put_act(x), b = put(bias), dy_in = put_act(dy), dx = blank_act(x.shape),
                       db = put(dbias), db_again = put(dbias);
        const ConstView b_in = with_bias ? ConstView(b) : ConstView();
        activation_backward(dx, with_dbias ? View(db) : View(), dy_in, in, b_in, kind, stream());
        const std::string name =
            fmt::format("activation {} backward of {} x {}", static_cast<int>(kind), N, F);
        expect_close(get(dx).data, dx_ref, tolerance(kBound), name.c_str(), 1e-3);
        // In bf16, of dx before it is rounded or after.
        if (with_dbias)
          expect_close(get(db).data, dbias_ref, tolerance(kBound), ("dbias, " + name).c_str(),
                       1e-3);
        activation_backward(dy_in, with_dbias ? View(db_again) : View(), dy_in, in, b_in, kind,
                            stream());  // in place
        EXPECT_EQ(get(dy_in).data, get(dx).data);
        if (with_dbias) {
          EXPECT_EQ(get(db_again).data, get(db).data);
        }
      }
}

TEST_P(ActivationOp, GatedForwardEqualsTheFormula) {
  for (Activation kind : kKinds)
    for (bool with_bias : {false, true})
      for (auto [N, F] : kShapes) {
        const Tensor x = rounded(inputs({N, 2 * F}, 1)), bias = random({2 * F}, 2);
        std::vector<double> expected;
        const auto at = [&](std::int64_t n, std::int64_t f) {
          return static_cast<double>(x[n * 2 * F + f]) + (with_bias ? bias[f] : 0.0f);
        };
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t f = 0; f < F; ++f)
            expected.push_back(value_of(kind, at(n, f)) * at(n, F + f));
        const Resident in = put_act(x), b = put(bias), y = blank_act({N, F});
        gated_activation(y, in, with_bias ? ConstView(b) : ConstView(), kind, stream());
        expect_close(get(y).data, expected, tolerance(kBound),
                     fmt::format("gated {} of {} x {}", static_cast<int>(kind), N, F).c_str(),
                     1e-3);
      }
}

TEST_P(ActivationOp, GatedBackwardEqualsTheSlopes) {
  for (Activation kind : kKinds)
    for (auto [with_bias, with_dbias] : std::vector<std::array<bool, 2>>{
             {false, false}, {true, true}, {true, false}, {false, true}})
      for (auto [N, F] : kShapes) {
        const Tensor x = rounded(inputs({N, 2 * F}, 1)), bias = random({2 * F}, 2),
                     dy = rounded(random({N, F}, 3)), dbias = random({2 * F}, 4);
        const auto at = [&](std::int64_t n, std::int64_t f) {
          return static_cast<double>(x[n * 2 * F + f]) + (with_bias ? bias[f] : 0.0f);
        };
        std::vector<double> dx_ref, dbias_ref = widened(dbias);
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t f = 0; f < 2 * F; ++f) {
            const double g = at(n, f % F), u = at(n, F + f % F), dy_f = dy[n * F + f % F];
            dx_ref.push_back(f < F ? slope_of(kind, g) * u * dy_f : value_of(kind, g) * dy_f);
            dbias_ref[static_cast<std::size_t>(f)] += dx_ref.back();
          }
        const Resident in = put_act(x), b = put(bias), dy_in = put_act(dy), dx = blank_act(x.shape),
                       db = put(dbias), db_again = put(dbias);
        const ConstView b_in = with_bias ? ConstView(b) : ConstView();
        gated_activation_backward(dx, with_dbias ? View(db) : View(), dy_in, in, b_in, kind,
                                  stream());
        const std::string name =
            fmt::format("gated {} backward of {} x {}", static_cast<int>(kind), N, F);
        expect_close(get(dx).data, dx_ref, tolerance(kBound), name.c_str(), 1e-3);
        if (with_dbias)
          expect_close(get(db).data, dbias_ref, tolerance(kBound), ("dbias, " + name).c_str(),
                       1e-3);
        gated_activation_backward(in, with_dbias ? View(db_again) : View(), dy_in, in, b_in, kind,
                                  stream());  // in place
        EXPECT_EQ(get(in).data, get(dx).data);
        if (with_dbias) {
          EXPECT_EQ(get(db_again).data, get(db).data);
        }
      }
}

WEFT_ON_EACH_TARGET(ActivationOp);

TEST(ActivationTeams, BiasGradientsHaveTheSameBitsOnAnyTeam) {
  const std::int64_t N = 331, F = 53;
  Tensor x = random({N, F}, 1), x2 = random({N, 2 * F}, 2), dy = random({N, F}, 3);
  std::vector<float> plain, gated;
  for (int threads : {1, 2, 3, 5}) {
    Stream stream({}, threads);
    Tensor dx = x, dx2 = x2, db = filled({F}, 1), db2 = filled({2 * F}, 1);
    activation_backward(dx.view(), db.view(), dy.view(), x.view(), ConstView(), Activation::silu,
                        stream);
    gated_activation_backward(dx2.view(), db2.view(), dy.view(), x2.view(), ConstView(),
                              Activation::silu, stream);
    if (threads == 1) plain = db.data, gated = db2.data;
    EXPECT_EQ(db.data, plain) << threads;
    EXPECT_EQ(db2.data, gated) << threads;
  }
}

}  // namespace
}  // namespace weft::test

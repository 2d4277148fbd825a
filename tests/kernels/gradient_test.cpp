// Gradients of parameters that an op sets instead of adding to: what it would have added to zeros,
// whatever memory held.
#include <functional>

#include "kernels/ops.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class GradientsSet : public OnEachTarget {
 protected:
  // Both ways, of `count` gradients of these shapes; op is called once each way.
  using Gradients = std::vector<Gradient>;
  void expect_sum_alone(const std::string& name, const std::vector<Dims>& shapes,
                        const std::function<void(const Gradients&)>& op) {
    std::vector<Resident> zeros, stale;
    Gradients added, set;
    for (const Dims& shape : shapes) {
      zeros.push_back(put(filled(shape, 0)));
      stale.push_back(blank(shape));
      added.emplace_back(zeros.back());
      set.emplace_back(stale.back(), false);
    }
    op(added);
    op(set);
    for (std::size_t i = 0; i < shapes.size(); ++i)
      EXPECT_EQ(get(stale[i]).data, get(zeros[i]).data) << name << ", gradient " << i;
  }
};

constexpr std::int64_t kRows[] = {0, 1, 70};

TEST_P(GradientsSet, OfLinearLayers) {
  for (std::int64_t N : kRows)
    for (Precision precision : {Precision::fp32, Precision::bf16}) {
      const Resident dy = put_act(random({N, 24}, 1)), x = put_act(random({N, 37}, 2));
      const std::string name = fmt::format("{} rows", N);
      expect_sum_alone(name, {{24, 37}, {24}}, [&](const Gradients& g) {
        linear_backward_weight(g[0], g[1], dy, x, precision, stream());
      });
      // One of the two has been begun.
      expect_sum_alone(name, {{24}}, [&](const Gradients& g) {
        const Resident dw = put(filled({24, 37}, 0));
        linear_backward_weight(dw, g[0], dy, x, precision, stream());
        for (float w : get(dw).data) ASSERT_EQ(w, w) << name;
      });
    }
}

TEST_P(GradientsSet, OfNorms) {
  for (std::int64_t T : kRows)
    for (std::int64_t C : {5, 64}) {
      const Resident dy = put_act(random({1, T, C}, 1)), sum = put_act(random({1, T, C}, 2)),
                     weight = put(random({C}, 3)), mean = put(filled({1, T}, 0.1f)),
                     rstd = put(filled({1, T}, 0.9f));
      const std::string name = fmt::format("{} x {}", T, C);
      expect_sum_alone(name, {{C}, {C}}, [&](const Gradients& g) {
        const Resident dsum = put_act(filled({1, T, C}, 0));
        add_layer_norm_backward(dsum, View(), g[0], g[1], dy, sum, mean, rstd, weight, {},
                                stream());
      });
      expect_sum_alone(name, {{C}}, [&](const Gradients& g) {
        const Resident dsum = put_act(filled({1, T, C}, 0));
        add_rms_norm_backward(dsum, View(), g[0], dy, sum, rstd, weight, 1, {}, stream());
      });
      for (bool whole : {false, true}) {
        const HeadNormArgs args = {.whole = whole, .first_row = 0, .n_heads = 2};
        const Dims groups = {T, 2}, weights = {whole ? 2 * C : C};
        const Resident raw = put_act(random({T, 2, C}, 4)), w = put(random(weights, 5)),
                       squares = put(filled(groups, 2)), dots = put(random(groups, 6));
        expect_sum_alone(name, {weights}, [&](const Gradients& g) {
          const Resident dheads = put_act(random({T, 3, C}, 7));
          head_norm_backward(dheads, g[0], raw, squares, dots, w, args, stream());
        });
      }
    }
}

TEST_P(GradientsSet, OfBiasesBeforeActivations) {
  for (std::int64_t N : kRows)
    for (std::int64_t F : {5, 64}) {
      const Resident x = put_act(random({N, F}, 1)), dy = put_act(random({N, F}, 2)),
                     gated = put_act(random({N, 2 * F}, 3)), dx = blank_act({N, F}),
                     dgated = blank_act({N, 2 * F});
      const std::string name = fmt::format("{} x {}", N, F);
      expect_sum_alone(name, {{F}}, [&](const Gradients& g) {
        activation_backward(dx, g[0], dy, x, ConstView(), Activation::gelu_erf, stream());
      });
      expect_sum_alone(name, {{2 * F}}, [&](const Gradients& g) {
        gated_activation_backward(dgated, g[0], dy, gated, ConstView(), Activation::silu, stream());
      });
    }
}

WEFT_ON_EACH_TARGET(GradientsSet);

}  // namespace
}  // namespace weft::test

#include <cmath>
#include <limits>
#include <set>

#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class Optimizer : public OnEachTarget {
 protected:
  double square_of(std::span<const ConstView> tensors) {
    const Resident total = blank(DType::f64, {1});
    sum_of_squares(total, tensors, stream());
    double sum = 0;
    copy_bytes(&sum, total.view.data(), sizeof sum, stream());
    return sum;
  }
};

// Many tensors of odd sizes lie in flat buffers one element apart, so that they begin at every
// alignment; the gaps stay NaN.
TEST_P(Optimizer, AdamWFollowsTheFormulaOverSteps) {
  std::vector<std::int64_t> sizes = {1, 17, 8, 768, 0, 1003, 129, 7, 4096, 3};
  for (std::int64_t k = 0; k < 60; ++k) sizes.push_back(k * k % 97 + 1);
  if (!on_gpu()) sizes.push_back(70'001);  // more than a piece
  std::int64_t total = 1;
  std::vector<std::int64_t> begins;
  for (std::int64_t n : sizes) {
    begins.push_back(total);
    total += n + 1;
  }
  Tensor w = filled({total}, NAN), m = w, v = w;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const Tensor start = random({sizes[k]}, static_cast<std::uint32_t>(k));
    for (std::int64_t i = 0; i < sizes[k]; ++i)
      w[begins[k] + i] = start[i], m[begins[k] + i] = v[begins[k] + i] = 0;
  }
  const Resident w_out = put(w), m_out = put(m), v_out = put(v),
                 copies = blank(DType::bf16, {total});
  const auto has_copy = [](std::size_t k) { return k % 3 != 1; };
  const auto decays = [](std::size_t k) { return k % 4 != 2; };
  std::vector<double> w_ref = widened(w), m_ref = widened(m), v_ref = widened(v);
  const Resident half = put(filled({1}, 0.5f));
  for (int step = 1; step <= 3; ++step) {
    const Tensor g = random({total}, static_cast<std::uint32_t>(100 * step));
    const Resident g_in = put(g);
    std::vector<AdamWTensor> tensors;
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      const auto at = [&](const Resident& flat) { return part(flat, begins[k], {sizes[k]}).view; };
      tensors.push_back({at(w_out), at(m_out), at(v_out), at(g_in),
                         has_copy(k) ? at(copies) : View(), decays(k)});
      for (std::int64_t e = begins[k]; e < begins[k] + sizes[k]; ++e) {
        const auto i = static_cast<std::size_t>(e);
        const double grad = 0.5 * g.data[i];
        m_ref[i] = 0.9 * m_ref[i] + 0.1 * grad;
        v_ref[i] = 0.95 * v_ref[i] + 0.05 * grad * grad;
        if (decays(k)) w_ref[i] *= 1 - 1e-2 * 0.1;
        w_ref[i] -= 1e-2 * (m_ref[i] / (1 - std::pow(0.9, step))) /
                    (std::sqrt(v_ref[i] / (1 - std::pow(0.95, step))) + 1e-8);
      }
    }
    adamw(tensors, half,
          {.lr = 1e-2f,
           .beta1 = 0.9f,
           .beta2 = 0.95f,
           .eps = 1e-8f,
           .weight_decay = 0.1f,
           .step = step},
          stream());
  }
  const Tensor w_got = get(w_out), m_got = get(m_out), v_got = get(v_out), copy = get(copies);
  std::vector<bool> written(static_cast<std::size_t>(total)), copied = written;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    const auto of = [&](const auto& flat) {
      return std::decay_t<decltype(flat)>(flat.begin() + begins[k],
                                          flat.begin() + begins[k] + sizes[k]);
    };
    // A few roundings a step.
    expect_close(of(w_got.data), of(w_ref), 2e-6, fmt::format("w {}", k).c_str());
    expect_close(of(m_got.data), of(m_ref), 2e-6, fmt::format("m {}", k).c_str());
    expect_close(of(v_got.data), of(v_ref), 2e-6, fmt::format("v {}", k).c_str());
    for (std::int64_t i = begins[k]; i < begins[k] + sizes[k]; ++i) {
      written[static_cast<std::size_t>(i)] = true;
      copied[static_cast<std::size_t>(i)] = has_copy(k);
    }
  }
  for (std::int64_t i = 0; i < total; ++i) {
    const auto at = static_cast<std::size_t>(i);
    if (!written[at]) {
      ASSERT_TRUE(std::isnan(w_got[i]) && std::isnan(m_got[i]) && std::isnan(v_got[i]))
          << "between tensors, at " << i;
    }
    if (copied[at]) {
      ASSERT_EQ(copy[i], to_float(to_bfloat16(w_got[i]))) << i;
    } else
      ASSERT_TRUE(std::isnan(copy[i])) << i;
  }
}

TEST_P(Optimizer, SumOfSquaresIsOverAllTensors) {
  std::vector<std::int64_t> sizes = {1, 7, 4096, 0, 4097, 129, 1003, 8192};
  if (!on_gpu()) sizes.push_back(300'001);
  std::vector<Resident> memory;
  std::vector<ConstView> tensors;
  double expected = 0, one_by_one = 0;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    Tensor x = random({sizes[k] + 1}, static_cast<std::uint32_t>(k));
    x[0] = NAN;  // not of the tensor, which begins off the alignment
    for (std::int64_t i = 1; i <= sizes[k]; ++i) expected += static_cast<double>(x[i]) * x[i];
    memory.push_back(put(x));
    tensors.push_back(part(memory.back(), 1, {sizes[k]}).view);
    one_by_one += square_of(std::span(&tensors.back(), 1));
  }
  const double sum = square_of(tensors);
  EXPECT_NEAR(sum / expected, 1, 1e-6);
  EXPECT_EQ(sum, square_of(tensors));
  EXPECT_NEAR(one_by_one / sum, 1, 1e-6);
  if (!on_gpu()) {
    EXPECT_EQ(sum, one_by_one);
  }  // added up in order: a gradient norm's bits do not depend on how it is asked for
  EXPECT_EQ(square_of({}), 0);
}

TEST_P(Optimizer, ClipsAsTorchDoes) {
  const auto scale_of = [&](double square, double max_norm) {
    const Resident scale = blank({1}), norm = put(&square, DType::f64, {1});
    clip_scale(scale, norm, max_norm, stream());
    return get(scale)[0];
  };
  EXPECT_EQ(scale_of(4, 1), static_cast<float>(1 / (2 + 1e-6)));
  EXPECT_EQ(scale_of(0.25, 1), 1.0f);
  EXPECT_EQ(scale_of(0, 1), 1.0f);
  EXPECT_EQ(scale_of(9, 0), 1.0f);  // no clipping
  EXPECT_EQ(scale_of(std::numeric_limits<double>::infinity(), 1), 0.0f);
  EXPECT_TRUE(std::isnan(scale_of(NAN, 1)));
}

WEFT_ON_EACH_TARGET(Optimizer);

TEST(SumOfSquares, IsBlindToTheTeam) {
  Tensor x = random({300'001}, 1);
  std::set<double> results;
  for (int threads : {1, 2, 3, 5}) {
    Stream stream({}, threads);
    const ConstView values = x.view();
    double sum = 0;
    sum_of_squares(View(&sum, Dims{1}), std::span(&values, 1), stream);
    results.insert(sum);
  }
  EXPECT_EQ(results.size(), 1u);
}

}  // namespace
}  // namespace weft::test

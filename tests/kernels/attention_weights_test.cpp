// The probabilities against the formula pair by pair, and against attention itself: times the
// values they must give what it gives.
#include <numeric>

#include "tests/kernels/attention_reference.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

using Case = AttentionCase;

class AttentionWeights : public OnEachTarget {
 protected:
  Tensor run(const Case& c, const Tensor& qkv, const std::vector<int>& heads) {
    const Resident x = put_act({qkv.data, {c.T, c.rows(), c.D}}),
                   weights = blank({static_cast<std::int64_t>(heads.size()), c.T, c.T});
    attention_weights(weights, x, heads, arguments(c), stream());
    return get(weights);
  }
  Tensor input(const Case& c) const { return rounded(random({1, c.T, c.rows(), c.D}, 1, c.std)); }
};

// (T, T) of one head.
std::vector<double> expected_map(const Case& c, const Tensor& qkv, std::int64_t h) {
  const double scale = arguments(c).scale, cap = c.softcap;
  std::vector<double> map(static_cast<std::size_t>(c.T * c.T), 0.0);
  const auto row_of = [&](std::int64_t t, std::int64_t row) {
    return qkv.data.data() + (t * c.rows() + row) * c.D;
  };
  for (std::int64_t i = 0; i < c.T; ++i) {
    double* row = map.data() + i * c.T;
    double sum = 0;
    for (std::int64_t j = 0; j < c.T; ++j) {
      if (!c.sees(0, i, j)) continue;
      const float *q = row_of(i, h), *k = row_of(j, c.H + h / (c.H / c.Hkv));
      double s = 0;
      for (std::int64_t d = 0; d < c.D; ++d)
        s += scale * static_cast<double>(q[d]) * static_cast<double>(k[d]);
      sum += row[j] = std::exp(cap > 0 ? cap * std::tanh(s / cap) : s);
    }
    for (std::int64_t j = 0; j < c.T; ++j) row[j] /= sum;
  }
  return map;
}

const std::vector<Case> kCases = {
    {1, 1, 1, 1, 16},
    {1, 5, 3, 3, 24},
    {1, 65, 4, 2, 64},
    {1, 130, 4, 1, 40, false},
    {1, 129, 2, 2, 256},
    {.B = 1, .T = 70, .H = 2, .Hkv = 1, .D = 16, .left = 6, .right = 6},
    {.B = 1, .T = 70, .H = 2, .Hkv = 2, .D = 24, .causal = false, .left = 3, .right = 20},
    {.B = 1, .T = 70, .H = 2, .Hkv = 2, .D = 16, .causal = false, .left = 0, .right = 0},
    {.B = 1, .T = 66, .H = 6, .Hkv = 2, .D = 32, .softcap = 5, .std = 3},
    {.B = 1, .T = 66, .H = 2, .Hkv = 2, .D = 16, .left = 30, .softcap = 20, .scale = 0.7f}};

TEST_P(AttentionWeights, OfTheFormula) {
  for (const Case& c : kCases) {
    const Tensor qkv = input(c);
    std::vector<int> heads(static_cast<std::size_t>(c.H));
    std::iota(heads.begin(), heads.end(), 0);
    const Tensor actual = run(c, qkv, heads);
    const double score_error = attention_reference(c, qkv).score_error();
    std::vector<double> expected;
    for (std::int64_t h = 0; h < c.H; ++h)
      for (const double w : expected_map(c, qkv, h)) expected.push_back(w);
    // Exponentials are off by 1-2 ulp, their sum by less; a masked key's weight is exactly 0.
    expect_close(actual.data, expected, 2e-6 + score_error, c.name().c_str());
    for (std::size_t e = 0; e < expected.size(); ++e)
      if (expected[e] == 0) {
        ASSERT_EQ(actual.data[e], 0) << c.name() << " element " << e;
      }
  }
}

TEST_P(AttentionWeights, TimesValuesAreWhatAttentionGives) {
  for (const Case& c : kCases) {
    const Tensor qkv = input(c);
    std::vector<int> heads(static_cast<std::size_t>(c.H));
    std::iota(heads.begin(), heads.end(), 0);
    const Tensor weights = run(c, qkv, heads);
    const Resident x = put_act(qkv), out = blank_act({1, c.T, c.H, c.D}),
                   lse = blank({1, c.H, c.T});
    attention(out, lse, x, ConstView(), arguments(c), stream());
    std::vector<double> product(static_cast<std::size_t>(c.T * c.H * c.D), 0.0);
    for (std::int64_t h = 0; h < c.H; ++h)
      for (std::int64_t i = 0; i < c.T; ++i)
        for (std::int64_t j = 0; j < c.T; ++j)
          for (std::int64_t d = 0; d < c.D; ++d) {
            const std::int64_t v = (j * c.rows() + c.H + c.Hkv + h / (c.H / c.Hkv)) * c.D + d;
            product[static_cast<std::size_t>((i * c.H + h) * c.D + d)] +=
                static_cast<double>(weights[(h * c.T + i) * c.T + j]) * static_cast<double>(qkv[v]);
          }
    // In bf16 attention rounds probabilities and results.
    expect_close(get(out).data, product,
                 tolerance(8e-6, 3) + 2 * attention_reference(c, qkv).score_error(),
                 c.name().c_str());
  }
}

TEST_P(AttentionWeights, OfChosenHeadsInTheOrderGiven) {
  const Case c = {1, 70, 6, 2, 16};
  const Tensor qkv = input(c), all = run(c, qkv, {0, 1, 2, 3, 4, 5}),
               some = run(c, qkv, {5, 1, 2, 1});
  const std::int64_t map = c.T * c.T;
  std::int64_t at = 0;
  for (const std::int64_t h : {5, 1, 2, 1}) {
    for (std::int64_t e = 0; e < map; ++e) ASSERT_EQ(some[at * map + e], all[h * map + e]);
    ++at;
  }
}

// What the capture of attention keeps of a layer: queries and keys alone.
TEST_P(AttentionWeights, ReadsNothingBehindTheKeys) {
  const Case c = {1, 66, 4, 2, 16};
  const Tensor qkv = input(c), whole = run(c, qkv, {0, 3});
  Tensor qk = filled({c.T, c.H + c.Hkv, c.D}, 0);
  for (std::int64_t t = 0; t < c.T; ++t)
    std::copy_n(qkv.data.data() + t * c.rows() * c.D, (c.H + c.Hkv) * c.D,
                qk.data.data() + t * (c.H + c.Hkv) * c.D);
  const Resident x = put_act(qk), weights = blank({2, c.T, c.T});
  const std::vector<int> heads = {0, 3};
  attention_weights(weights, x, heads, arguments(c), stream());
  EXPECT_EQ(get(weights).data, whole.data);
}

TEST_P(AttentionWeights, RefusesWhatDoesNotFit) {
  const Case c = {1, 4, 2, 1, 16};
  const Resident x = put_act({input(c).data, {c.T, c.rows(), c.D}}), one = blank({1, 4, 4}),
                 two = blank({2, 4, 4});
  const std::vector<int> first = {0}, past = {2};
  EXPECT_THROW(attention_weights(two, x, first, arguments(c), stream()), Error);
  EXPECT_THROW(attention_weights(one, x, past, arguments(c), stream()), Error);
  AttentionArgs more = arguments(c);
  more.n_heads = 4;
  EXPECT_THROW(attention_weights(one, x, first, more, stream()), Error);
}

WEFT_ON_EACH_TARGET(AttentionWeights);

}  // namespace
}  // namespace weft::test

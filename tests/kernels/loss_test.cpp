// Cross-entropy over vocabulary shards against the whole in double.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class CrossEntropy : public OnEachTarget {};

struct Case {
  std::int64_t N, V;
  int shards;
  float softcap;
  std::int64_t padding = 0;  // columns of each shard behind its own
};
const std::vector<Case> kCases = {
    {1, 1, 1, 0},       {3, 7, 1, 5},      {7, 1003, 1, 0},     {7, 1003, 3, 0},
    {7, 1003, 3, 5},    {5, 768, 2, 30},   {300, 129, 1, 30},   {300, 129, 2, 0},
    {3, 5003, 1, 5},    {3, 5003, 4, 0},   {1, 1, 1, 0, 127},   {7, 1003, 1, 5, 21},
    {7, 1003, 3, 0, 3}, {5, 768, 2, 0, 9}, {300, 83, 1, 0, 45}, {3, 5003, 4, 30, 1200}};

double z_of(double logit, double softcap) {
  return softcap == 0 ? logit : softcap * std::tanh(logit / softcap);
}

// By a fourth-order difference in double: error 1e-12.
double z_slope(double logit, double softcap) {
  const double h = 1e-3;
  const auto z = [&](double x) { return z_of(x, softcap); };
  return (8 * (z(logit + h) - z(logit - h)) - (z(logit + 2 * h) - z(logit - 2 * h))) / (12 * h);
}

std::vector<std::int32_t> labels_of(const Case& c) {
  std::vector<std::int32_t> labels;
  for (std::int64_t n = 0; n < c.N; ++n)
    labels.push_back(static_cast<std::int32_t>((n * n * 31 + n * 333) % c.V));
  if (c.N > 2) labels[1] = static_cast<std::int32_t>(c.V - 1), labels[2] = kIgnoreLabel;
  return labels;
}

TEST_P(CrossEntropy, OverShardsEqualsTheWhole) {
  for (const Case& c : kCases) {
    const std::int64_t N = c.N, V = c.V;
    const Tensor logits = rounded(random({N, V}, 1, 4.0f));
    const std::vector<std::int32_t> labels = labels_of(c);
    const Resident label = put(labels), stats = blank({c.shards, N, 3}), loss = blank({N}),
                   lse = blank({N});
    std::vector<double> loss_ref, lse_ref;
    for (std::int64_t n = 0; n < N; ++n) {
      double sum = 0;
      for (std::int64_t v = 0; v < V; ++v) sum += std::exp(z_of(logits[n * V + v], c.softcap));
      lse_ref.push_back(std::log(sum));
      const std::int32_t k = labels[static_cast<std::size_t>(n)];
      loss_ref.push_back(k == kIgnoreLabel ? 0
                                           : std::log(sum) - z_of(logits[n * V + k], c.softcap));
    }
    std::vector<Resident> parts;
    const auto begin_of = [&](std::int64_t s) { return V * s / c.shards; };
    const std::string name = fmt::format("of {} x {} in {}, softcap {}, {} columns of padding", N,
                                         V, c.shards, c.softcap, c.padding);
    for (std::int64_t s = 0; s < c.shards; ++s) {
      const std::int64_t begin = begin_of(s), width = begin_of(s + 1) - begin,
                         W = width + c.padding;
      Tensor part = filled({N, W}, NAN);  // in padding, which is not read
      std::vector<double> max_and_label, sums;
      for (std::int64_t n = 0; n < N; ++n) {
        double max = -INFINITY, sum = 0;
        for (std::int64_t v = 0; v < width; ++v)
          max = std::max(max, z_of(part[n * W + v] = logits[n * V + begin + v], c.softcap));
        for (std::int64_t v = 0; v < width; ++v)
          sum += std::exp(z_of(part[n * W + v], c.softcap) - max);
        const std::int64_t k = labels[static_cast<std::size_t>(n)] - begin;
        max_and_label.insert(max_and_label.end(),
                             {max, k >= 0 && k < width ? z_of(part[n * W + k], c.softcap) : 0.0});
        sums.push_back(sum);
      }
      parts.push_back(put_act(part));
      const View shard = stats.view.rows(s, s + 1).reshape({N, 3});
      cross_entropy_stats(shard, parts.back(), label, {begin, width}, c.softcap, stream());
      const Tensor got = get({stats.memory, shard});
      std::vector<float> got_max_and_label, got_sums;
      for (std::int64_t n = 0; n < N; ++n) {
        got_max_and_label.insert(got_max_and_label.end(), {got[n * 3], got[n * 3 + 2]});
        got_sums.push_back(got[n * 3 + 1]);
      }
      // Statistics are fp32 on every target: exponentials of an ulp or two, of z with an absolute
      // error of cap·1e-7.
      expect_close(got_max_and_label, max_and_label, 1e-6, ("max, label " + name).c_str());
      expect_close(got_sums, sums, 4e-6, ("sum " + name).c_str());
    }
    cross_entropy_combine(loss, lse, stats, label, stream());
    expect_close(get(loss).data, loss_ref, 1e-6, ("loss " + name).c_str(), 1.0);
    expect_close(get(lse).data, lse_ref, 1e-6, ("lse " + name).c_str(), 1.0);
    for (std::int64_t s = 0; s < c.shards; ++s) {
      const Resident& part = parts[static_cast<std::size_t>(s)];
      const std::int64_t begin = begin_of(s), width = begin_of(s + 1) - begin;
      cross_entropy_backward(part, lse, label, {begin, width}, 0.25f, c.softcap, stream());
      const Tensor dlogits = get(part);
      std::vector<float> own;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t v = 0; v < width + c.padding; ++v)
          if (v < width)
            own.push_back(dlogits[n * (width + c.padding) + v]);
          else
            ASSERT_EQ(dlogits[n * (width + c.padding) + v], 0) << name << ": " << n << " " << v;
      std::vector<double> expected;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t v = 0; v < width; ++v) {
          const std::int32_t k = labels[static_cast<std::size_t>(n)];
          const double logit = logits[n * V + begin + v],
                       p = std::exp(z_of(logit, c.softcap) - lse_ref[static_cast<std::size_t>(n)]);
          expected.push_back(k == kIgnoreLabel ? 0
                                               : 0.25 * (p - (k == begin + v ? 1 : 0)) *
                                                     z_slope(logit, c.softcap));
        }
      expect_close(own, expected, tolerance(4e-6), ("dlogits " + name).c_str(), 1e-3);
    }
  }
}

// What the shards' statistics say of extreme logits: no overflow, and a shard that is all -inf
// (padding) adds nothing.
TEST_P(CrossEntropy, SurvivesExtremeLogits) {
  Tensor logits = filled({2, 9}, -INFINITY);
  logits[3] = 30000, logits[5] = 29990, logits[9] = -30000, logits[10] = -29968;
  const Resident in = put_act(logits), label = put({3, 0}), stats = blank({1, 2, 3}),
                 loss = blank({2}), lse = blank({2});
  const Tensor held = rounded(logits);
  cross_entropy_stats(stats.view.reshape({2, 3}), in, label, {0, 9}, 0, stream());
  EXPECT_THROW(cross_entropy_stats(stats.view.reshape({2, 3}), in, label, {0, 10}, 0, stream()),
               Error);
  EXPECT_THROW(cross_entropy_backward(in, lse, label, {0, 10}, 1, 0, stream()), Error);
  cross_entropy_combine(loss, lse, stats, label, stream());
  const double first = std::log1p(std::exp(static_cast<double>(held[5]) - held[3]));
  const double gap = static_cast<double>(held[10]) - held[9],
               second = gap + std::log1p(std::exp(-gap));  // bf16 holds both as one number
  // The label's logit is subtracted from an lse of 30,000 that has passed through fp32 statistics
  // only.
  expect_close(get(loss).data, {first, second}, 1e-5, "loss", 1.0);
}

WEFT_ON_EACH_TARGET(CrossEntropy);

}  // namespace
}  // namespace weft::test

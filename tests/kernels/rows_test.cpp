// Norm, activation, dropout, embedding, loss, optimizer: the ops that work row by row.
#include <set>

#include "core/rng.h"
#include "tests/kernels/close.h"

namespace weft::test {
namespace {

Tensor factors(const Dims& shape, const Dropout& drop) {  // through the op itself, whose mask dropout_test checks
  Stream stream;
  Tensor ones = filled(shape, 1);
  dropout(ones.view(), ones.view(), drop, stream);
  return ones;
}

TEST(Dropout, IsTheCounterRngsAndKnowsNoGrid) {
  Stream stream({}, 2);
  const Dropout drop = {.p = 0.25f, .seed = 9, .step = 2, .site = 4, .first_sample = 7};
  const std::int64_t B = 3, T = 5, C = 37;
  Tensor ones = filled({B, T, C}, 1);
  dropout(ones.view(), ones.view(), drop, stream);
  const std::uint64_t key = mix64(9 ^ mix64((2ull << 32) | 4));
  std::int64_t dropped = 0;
  for (std::int64_t b = 0; b < B; ++b)
    for (std::int64_t e = 0; e < T * C; ++e) {
      const Philox words = philox(key, {static_cast<std::uint32_t>(e / 4), 0, static_cast<std::uint32_t>(7 + b), 0});
      const bool keep = uniform(words[static_cast<std::size_t>(e % 4)]) >= 0.25f;
      ASSERT_FLOAT_EQ(ones[b * T * C + e], keep ? 1 / 0.75f : 0.0f) << b << " " << e;
      dropped += !keep;
    }
  EXPECT_NEAR(static_cast<double>(dropped) / static_cast<double>(B * T * C), 0.25, 0.07);
  // Sample 8 alone has the mask it had in the batch.
  Dropout one = drop;
  one.first_sample = 8;
  Tensor alone = filled({1, T, C}, 1);
  dropout(alone.view(), alone.view(), one, stream);
  for (std::int64_t e = 0; e < T * C; ++e) ASSERT_EQ(alone[e], ones[T * C + e]);
}

TEST(AddLayerNorm, EqualsTheFormulaForwardAndBackward) {
  for (int threads : kTeams)
    for (float p : {0.0f, 0.4f})
      for (bool with_delta : {true, false})
        for (auto [B, T, C] : std::vector<std::array<std::int64_t, 3>>{{1, 1, 1}, {2, 3, 48}, {1, 7, 40}, {3, 50, 129}, {2, 64, 768}}) {
          Stream stream({}, threads);
          const Dropout drop = {.p = p, .seed = 1, .step = 2, .site = 3, .first_sample = 11};
          Tensor x = random({B, T, C}, 1), delta = random({B, T, C}, 2), weight = random({C}, 3), bias = random({C}, 4), dy = random({B, T, C}, 5);
          Tensor y = filled({B, T, C}, NAN), sum = y, mean = filled({B, T}, NAN), rstd = mean;
          add_layer_norm(y.view(), sum.view(), mean.view(), rstd.view(), x.view(), with_delta ? ConstView(delta.view()) : ConstView(), weight.view(),
                         bias.view(), 1e-5f, drop, stream);
          Tensor dsum = random({B, T, C}, 6), ddelta = filled({B, T, C}, NAN), dweight = random({C}, 7), dbias = random({C}, 8);
          const Tensor keep = factors({B, T, C}, drop);
          std::vector<double> y_ref, sum_ref, dsum_ref = widened(dsum), ddelta_ref, dw_ref = widened(dweight), db_ref = widened(dbias);
          for (std::int64_t r = 0; r < B * T; ++r) {
            std::vector<double> s;
            double m = 0, v = 0, g_mean = 0, gx_mean = 0;
            for (std::int64_t c = 0; c < C; ++c) {
              s.push_back(x[r * C + c] + (with_delta ? static_cast<double>(keep[r * C + c]) * delta[r * C + c] : 0.0));
              m += s.back() / static_cast<double>(C);
            }
            for (double e : s) v += (e - m) * (e - m) / static_cast<double>(C);
            const double rs = 1 / std::sqrt(v + 1e-5);
            for (std::int64_t c = 0; c < C; ++c) {
              const auto k = static_cast<std::size_t>(c);
              const double hat = (s[k] - m) * rs, g = static_cast<double>(dy[r * C + c]) * weight[c];
              sum_ref.push_back(s[k]);
              y_ref.push_back(hat * weight[c] + bias[c]);
              g_mean += g / static_cast<double>(C);
              gx_mean += g * hat / static_cast<double>(C);
              dw_ref[k] += dy[r * C + c] * hat;
              db_ref[k] += dy[r * C + c];
            }
            for (std::int64_t c = 0; c < C; ++c) {
              const double hat = (s[static_cast<std::size_t>(c)] - m) * rs, g = static_cast<double>(dy[r * C + c]) * weight[c];
              dsum_ref[static_cast<std::size_t>(r * C + c)] += rs * (g - g_mean - hat * gx_mean);
              ddelta_ref.push_back(keep[r * C + c] * dsum_ref[static_cast<std::size_t>(r * C + c)]);
            }
          }
          add_layer_norm_backward(dsum.view(), ddelta.view(), dweight.view(), dbias.view(), dy.view(), sum.view(), mean.view(), rstd.view(), weight.view(),
                                  drop, stream);
          // With C = 1 the variance is 0 and 1/sqrt(eps) magnifies what the mean rounds off.
          const double bound = C == 1 ? 1e-3 : 3e-6;
          expect_close(sum.data, sum_ref, 1e-6, "sum");
          expect_close(y.data, y_ref, bound, "y");
          expect_close(dsum.data, dsum_ref, bound * 4, "dsum");
          expect_close(ddelta.data, ddelta_ref, bound * 4, "ddelta", 1e-6);
          expect_close(dweight.data, dw_ref, bound * 4, "dweight");
          expect_close(dbias.data, db_ref, bound * 4, "dbias");
        }
}

TEST(AddLayerNorm, FormsTheSumAloneWithoutY) {
  Stream stream;
  Tensor x = random({1, 2, 5}, 1), delta = random({1, 2, 5}, 2), sum = filled({1, 2, 5}, NAN);
  add_layer_norm(View(), sum.view(), View(), View(), x.view(), delta.view(), ConstView(), ConstView(), 1e-5f, {}, stream);
  for (std::int64_t i = 0; i < 10; ++i) EXPECT_FLOAT_EQ(sum[i], x[i] + delta[i]);
}

double gelu(double x, Activation kind) {
  if (kind == Activation::gelu_erf) return 0.5 * x * (1 + std::erf(x / std::sqrt(2.0)));
  return 0.5 * x * (1 + std::tanh(std::sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

TEST(Activation, EqualsTheFormulaAndItsSlope) {
  for (Activation kind : {Activation::gelu_tanh, Activation::gelu_erf}) {
    Stream stream({}, 2);
    Tensor x = random({31, 1001}, 1, 3.0f), dy = random({31, 1001}, 2), y = filled(x.shape, NAN), dx = y;
    x[0] = -100, x[1] = 100, x[2] = 0, x[3] = -5.5f, x[4] = 5.5f, x[5] = -1e-20f;
    std::vector<double> y_ref, dx_ref;
    for (std::int64_t i = 0; i < x.shape.elems(); ++i) {
      y_ref.push_back(gelu(x[i], kind));
      const double h = 1e-4, at = x[i];  // a fourth-order difference in double: error 1e-13
      const double slope = (8 * (gelu(at + h, kind) - gelu(at - h, kind)) - (gelu(at + 2 * h, kind) - gelu(at - 2 * h, kind))) / (12 * h);
      dx_ref.push_back(slope * dy[i]);
    }
    activation(y.view(), x.view(), kind, stream);
    activation_backward(dx.view(), dy.view(), x.view(), kind, stream);
    expect_close(y.data, y_ref, 1e-6 * 5, "gelu");
    expect_close(dx.data, dx_ref, 1e-6 * 5, "gelu backward");
    activation(x.view(), x.view(), kind, stream);  // in place
    EXPECT_EQ(x.data, y.data);
  }
}

TEST(Embedding, TakesTheRowsOfItsShardForwardAndBackward) {
  Stream stream({}, 3);
  const std::int64_t C = 37, V = 11;
  Tensor table = random({V, C}, 1), dy = random({6, C}, 2), dtable = filled({V, C}, 0.5f);
  std::vector<std::int32_t> ids = {3, 10, 3, 99, 0, 13};
  const ConstView id_view(ids.data(), Dims{6});
  Tensor y = filled({6, C}, 2);
  embedding(y.view(), id_view, table.view(), 3, false, stream);  // this shard holds ids 3 … 13
  for (std::int64_t n = 0; n < 6; ++n)
    for (std::int64_t c = 0; c < C; ++c) {
      const std::int64_t row = ids[static_cast<std::size_t>(n)] - 3;
      EXPECT_EQ(y[n * C + c], row >= 0 && row < V ? table[row * C + c] : 0.0f);
    }
  Tensor twice = y;
  embedding(twice.view(), id_view, table.view(), 3, true, stream);
  for (std::int64_t i = 0; i < 6 * C; ++i) EXPECT_EQ(twice[i], 2 * y[i]);
  embedding_backward(dtable.view(), dy.view(), id_view, 3, stream);
  for (std::int64_t v = 0; v < V; ++v)
    for (std::int64_t c = 0; c < C; ++c) {
      float expected = 0.5f;
      for (std::int64_t n = 0; n < 6; ++n)
        if (ids[static_cast<std::size_t>(n)] - 3 == v) expected += dy[n * C + c];
      EXPECT_EQ(dtable[v * C + c], expected);
    }
}

TEST(CrossEntropy, OverShardsEqualsTheWhole) {
  for (int shards : {1, 3}) {
    Stream stream({}, 2);
    const std::int64_t N = 7, V = 1003;
    Tensor logits = random({N, V}, 1, 4.0f), loss = filled({N}, NAN), lse = loss, stats = filled({shards, N, 3}, NAN);
    std::vector<std::int32_t> labels = {0, 1002, 400, kIgnoreLabel, 333, 334, 17};
    const ConstView label_view(labels.data(), Dims{N});
    std::vector<Tensor> parts;
    std::vector<std::int64_t> begins;
    for (int s = 0; s < shards; ++s) {
      const std::int64_t begin = V * s / shards, end = V * (s + 1) / shards;
      Tensor part = filled({N, end - begin}, 0);
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t v = begin; v < end; ++v) part[n * (end - begin) + v - begin] = logits[n * V + v];
      cross_entropy_stats(stats.view().rows(s, s + 1).reshape({N, 3}), part.view(), label_view, begin, stream);
      parts.push_back(part);
      begins.push_back(begin);
    }
    cross_entropy_combine(loss.view(), lse.view(), stats.view(), label_view, stream);
    std::vector<double> loss_ref, lse_ref;
    for (std::int64_t n = 0; n < N; ++n) {
      double sum = 0;
      for (std::int64_t v = 0; v < V; ++v) sum += std::exp(static_cast<double>(logits[n * V + v]));
      lse_ref.push_back(std::log(sum));
      const std::int32_t label = labels[static_cast<std::size_t>(n)];
      loss_ref.push_back(label == kIgnoreLabel ? 0 : std::log(sum) - logits[n * V + label]);
    }
    expect_close(loss.data, loss_ref, 1e-6, "loss");
    expect_close(lse.data, lse_ref, 1e-6, "lse");
    for (int s = 0; s < shards; ++s) {
      Tensor& part = parts[static_cast<std::size_t>(s)];
      const std::int64_t width = part.shape[1], begin = begins[static_cast<std::size_t>(s)];
      cross_entropy_backward(part.view(), lse.view(), label_view, begin, 0.25f, stream);
      std::vector<double> expected;
      for (std::int64_t n = 0; n < N; ++n)
        for (std::int64_t v = 0; v < width; ++v) {
          const std::int32_t label = labels[static_cast<std::size_t>(n)];
          const double p = std::exp(logits[n * V + begin + v] - lse_ref[static_cast<std::size_t>(n)]);
          expected.push_back(label == kIgnoreLabel ? 0 : 0.25 * (p - (label == begin + v ? 1 : 0)));
        }
      expect_close(part.data, expected, 4e-6, "dlogits");
    }
  }
}

TEST(AdamW, FollowsTheFormulaOverSteps) {
  Stream stream({}, 2);
  const std::vector<std::int64_t> sizes = {1, 17, 70'000};
  std::vector<Tensor> w, m, v, g;
  std::vector<std::vector<double>> w_ref, m_ref, v_ref;
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    w.push_back(random({sizes[k]}, static_cast<std::uint32_t>(k)));
    m.push_back(filled({sizes[k]}, 0));
    v.push_back(filled({sizes[k]}, 0));
    g.push_back(filled({sizes[k]}, 0));
    w_ref.push_back(widened(w[k]));
    m_ref.emplace_back(w_ref[k].size());
    v_ref.emplace_back(w_ref[k].size());
  }
  std::vector<std::uint16_t> copy(70'000);
  for (int step = 1; step <= 5; ++step) {
    std::vector<AdamWTensor> tensors;
    for (std::size_t k = 0; k < sizes.size(); ++k) {
      g[k] = random({sizes[k]}, static_cast<std::uint32_t>(100 * step) + static_cast<std::uint32_t>(k));
      tensors.push_back({w[k].view(), m[k].view(), v[k].view(), g[k].view(), k == 2 ? View(copy.data(), DType::bf16, {70'000}) : View(), k != 1});
      for (std::size_t i = 0; i < w_ref[k].size(); ++i) {
        const double grad = 0.5 * g[k].data[i];
        m_ref[k][i] = 0.9 * m_ref[k][i] + 0.1 * grad;
        v_ref[k][i] = 0.95 * v_ref[k][i] + 0.05 * grad * grad;
        if (k != 1) w_ref[k][i] *= 1 - 1e-2 * 0.1;
        w_ref[k][i] -= 1e-2 * (m_ref[k][i] / (1 - std::pow(0.9, step))) / (std::sqrt(v_ref[k][i] / (1 - std::pow(0.95, step))) + 1e-8);
      }
    }
    adamw(tensors, {.lr = 1e-2f, .beta1 = 0.9f, .beta2 = 0.95f, .eps = 1e-8f, .weight_decay = 0.1f, .step = step, .grad_scale = 0.5f}, stream);
  }
  for (std::size_t k = 0; k < sizes.size(); ++k) {
    expect_close(w[k].data, w_ref[k], 2e-6, "w");
    expect_close(m[k].data, m_ref[k], 2e-6, "m");
    expect_close(v[k].data, v_ref[k], 2e-6, "v");
  }
  for (std::size_t i = 0; i < copy.size(); ++i) ASSERT_EQ(copy[i], to_bfloat16(w[2].data[i]).bits);
}

TEST(SumOfSquares, IsExactEnoughAndBlindToTheTeam) {
  Tensor x = random({300'001}, 1);
  double expected = 0;
  for (float e : x.data) expected += static_cast<double>(e) * e;
  std::set<double> results;
  for (int threads : {1, 2, 3, 5}) {
    Stream stream({}, threads);
    results.insert(sum_of_squares(x.view(), stream));
  }
  EXPECT_EQ(results.size(), 1u);
  EXPECT_NEAR(*results.begin() / expected, 1, 1e-6);
}

}  // namespace
}  // namespace weft::test

#include "core/rng.h"
#include "tests/kernels/close.h"

namespace weft::test {
namespace {

struct Case {
  std::int64_t B, T, H, Hkv, D;
  bool causal = true;
  std::vector<std::int32_t> lengths = {};
  float p = 0;
};

// The formula of ops.h in double, with its gradients.
struct Reference {
  std::vector<double> out, lse, dqkv;
};

double keep_factor(const Dropout& drop, std::int64_t sample, std::int64_t element) {
  if (drop.p == 0) return 1;
  const std::uint64_t key = mix64(drop.seed ^ mix64((static_cast<std::uint64_t>(drop.step) << 32) | drop.site));
  const auto block = static_cast<std::uint64_t>(element / 4), s = static_cast<std::uint64_t>(sample);
  const Philox words = philox(key, {static_cast<std::uint32_t>(block), static_cast<std::uint32_t>(block >> 32), static_cast<std::uint32_t>(s),
                                    static_cast<std::uint32_t>(s >> 32)});
  return uniform(words[static_cast<std::size_t>(element % 4)]) >= drop.p ? 1.0 / (1.0 - static_cast<double>(drop.p)) : 0.0;
}

Reference reference(const Case& c, const AttentionArgs& args, const Tensor& qkv, const Tensor& dout) {
  const std::int64_t rows = c.H + 2 * c.Hkv, group = c.H / c.Hkv;
  Reference r;
  r.out.assign(static_cast<std::size_t>(c.B * c.T * c.H * c.D), 0);
  r.lse.assign(static_cast<std::size_t>(c.B * c.H * c.T), 0);
  r.dqkv.assign(qkv.data.size(), 0);
  const auto at = [&](std::int64_t b, std::int64_t t, std::int64_t row, std::int64_t d) {
    return static_cast<std::size_t>(((b * c.T + t) * rows + row) * c.D + d);
  };
  const auto out_at = [&](std::int64_t b, std::int64_t t, std::int64_t h, std::int64_t d) {
    return static_cast<std::size_t>(((b * c.T + t) * c.H + h) * c.D + d);
  };
  for (std::int64_t b = 0; b < c.B; ++b)
    for (std::int64_t h = 0; h < c.H; ++h) {
      const std::int64_t k_row = c.H + h / group, v_row = c.H + c.Hkv + h / group;
      for (std::int64_t i = 0; i < c.T; ++i) {
        std::int64_t n = c.lengths.empty() ? c.T : c.lengths[static_cast<std::size_t>(b)];
        if (c.causal) n = std::min(n, i + 1);
        std::vector<double> p(static_cast<std::size_t>(n)), factor(p.size()), dp(p.size());
        double max = -INFINITY, sum = 0, dot = 0;
        for (std::int64_t j = 0; j < n; ++j) {
          double s = 0;
          for (std::int64_t d = 0; d < c.D; ++d) s += static_cast<double>(qkv.data[at(b, i, h, d)]) * qkv.data[at(b, j, k_row, d)];
          p[static_cast<std::size_t>(j)] = s * args.scale;
          max = std::max(max, s * args.scale);
        }
        for (double& x : p) sum += x = std::exp(x - max);
        r.lse[static_cast<std::size_t>((b * c.H + h) * c.T + i)] = max + std::log(sum);
        for (std::int64_t j = 0; j < n; ++j) {
          const auto k = static_cast<std::size_t>(j);
          p[k] /= sum;
          factor[k] = keep_factor(args.drop, args.drop.first_sample + b, ((args.first_head + h) * c.T + i) * c.T + j);
          for (std::int64_t d = 0; d < c.D; ++d) {
            const double v = qkv.data[at(b, j, v_row, d)], g = dout.data[out_at(b, i, h, d)];
            r.out[out_at(b, i, h, d)] += p[k] * factor[k] * v;
            dp[k] += g * v * factor[k];
            r.dqkv[at(b, j, v_row, d)] += p[k] * factor[k] * g;
          }
          dot += p[k] * dp[k];
        }
        for (std::int64_t j = 0; j < n; ++j) {
          const double ds = p[static_cast<std::size_t>(j)] * (dp[static_cast<std::size_t>(j)] - dot) * args.scale;
          for (std::int64_t d = 0; d < c.D; ++d) {
            r.dqkv[at(b, i, h, d)] += ds * qkv.data[at(b, j, k_row, d)];
            r.dqkv[at(b, j, k_row, d)] += ds * qkv.data[at(b, i, h, d)];
          }
        }
      }
    }
  return r;
}

AttentionArgs arguments(const Case& c) {
  AttentionArgs args;
  args.n_heads = static_cast<int>(c.H);
  args.n_kv_heads = static_cast<int>(c.Hkv);
  args.head_dim = static_cast<int>(c.D);
  args.scale = 1.0f / std::sqrt(static_cast<float>(c.D));
  args.causal = c.causal;
  args.first_head = 5;
  args.total_heads = 16;
  args.drop = {.p = c.p, .seed = 42, .step = 3, .site = 7, .first_sample = 1'000'000'000'007};
  return args;
}

const std::vector<Case> kCases = {
    {1, 1, 1, 1, 1}, {2, 5, 3, 3, 16}, {1, 96, 5, 5, 8}, {2, 64, 2, 1, 32}, {1, 65, 3, 3, 20}, {2, 130, 4, 2, 7},
    {2, 63, 2, 2, 64, false}, {3, 70, 2, 2, 16, false, {70, 1, 65}}, {2, 66, 2, 2, 16, true, {3, 66}},
    {2, 67, 3, 3, 16, true, {}, 0.3f}, {1, 130, 4, 2, 8, false, {129}, 0.1f}, {1, 300, 1, 1, 24}};

TEST(Attention, EqualsTheFormulaInDoubleForwardAndBackward) {
  for (int threads : kTeams)
    for (const Case& c : kCases) {
      Stream stream({}, threads);
      const AttentionArgs args = arguments(c);
      Tensor qkv = random({c.B, c.T, c.H + 2 * c.Hkv, c.D}, 1), dout = random({c.B, c.T, c.H, c.D}, 2), out = filled(dout.shape, NAN);
      Tensor lse = filled({c.B, c.H, c.T}, NAN), dqkv = filled(qkv.shape, NAN);
      std::vector<std::int32_t> lengths = c.lengths;
      const ConstView length_view = lengths.empty() ? ConstView() : ConstView(lengths.data(), Dims{c.B});
      const Reference expected = reference(c, args, qkv, dout);
      attention(out.view(), lse.view(), qkv.view(), length_view, args, stream);
      attention_backward(dqkv.view(), dout.view(), out.view(), lse.view(), qkv.view(), length_view, args, stream);
      const std::string name = fmt::format("B {} T {} H {} Hkv {} D {} causal {} p {}", c.B, c.T, c.H, c.Hkv, c.D, c.causal, c.p);
      // Sums of up to T terms of either sign, each rounded: epsilon·sqrt(T) and a factor for the exponentials' 1-2 ulp.
      expect_close(out.data, expected.out, 4e-6, ("out " + name).c_str());
      expect_close(lse.data, expected.lse, 2e-6, ("lse " + name).c_str(), 1.0);
      expect_close(dqkv.data, expected.dqkv, 1e-5, ("dqkv " + name).c_str(), 1e-3);
    }
}

TEST(Attention, SurvivesScoresFarApart) {
  const Case c = {1, 80, 1, 1, 16};
  Stream stream;
  const AttentionArgs args = arguments(c);
  Tensor qkv = random({1, 80, 3, 16}, 1, 30.0f), dout = random({1, 80, 1, 16}, 2), out = filled(dout.shape, NAN), lse = filled({1, 1, 80}, NAN),
         dqkv = filled(qkv.shape, NAN);
  const Reference expected = reference(c, args, qkv, dout);
  attention(out.view(), lse.view(), qkv.view(), ConstView(), args, stream);
  attention_backward(dqkv.view(), dout.view(), out.view(), lse.view(), qkv.view(), ConstView(), args, stream);
  expect_close(out.data, expected.out, 2e-3, "out");  // scores of several hundred carry an absolute error of 1e-4
  expect_close(dqkv.data, expected.dqkv, 2e-2, "dqkv");
}

TEST(AttentionCached, EqualsAttentionOverTheWholeSequence) {
  for (std::int64_t prompt : {1, 2, 5, 64, 70}) {
    const Case c = {1, 90, 4, 2, 20};
    Stream stream({}, 2);
    AttentionArgs args = arguments(c);
    Tensor qkv = random({2, c.T, 8, c.D}, 1), out = filled({2, c.T, 4, c.D}, 0), lse = filled({2, 4, c.T}, 0);
    attention(out.view(), lse.view(), qkv.view(), ConstView(), args, stream);
    // Two sequences in one batch, in slots 2 and 0, the second one token behind the first.
    Tensor k = filled({3, 96, 2, c.D}, NAN), v = filled({3, 96, 2, c.D}, NAN);
    std::int64_t done[2] = {0, 0};
    while (done[0] < c.T || done[1] < c.T - 1) {
      std::vector<CacheSlice> slices;
      std::vector<float> rows;
      std::int64_t n = 0;
      for (std::int64_t s : {0, 1}) {
        const std::int64_t end = std::min(c.T - s, done[s] == 0 ? prompt - (prompt > 1 ? s : 0) : done[s] + 1);
        if (end <= done[s]) continue;
        slices.push_back({n, end - done[s], done[s], s == 0 ? 2 : 0});
        const float* from = qkv.data.data() + (s * c.T + done[s]) * 8 * c.D;
        rows.insert(rows.end(), from, from + (end - done[s]) * 8 * c.D);
        n += end - done[s];
      }
      Tensor result = filled({n, 4, c.D}, NAN);
      attention_cached(result.view(), k.view(), v.view(), ConstView(rows.data(), Dims{n, 8, c.D}), slices, args, stream);
      for (const CacheSlice& slice : slices) {
        const std::int64_t s = slice.slot == 2 ? 0 : 1;
        std::vector<float> part(result.data.begin() + slice.first_row * 4 * c.D, result.data.begin() + (slice.first_row + slice.n_rows) * 4 * c.D);
        const float* expected = out.data.data() + (s * c.T + slice.n_cached) * 4 * c.D;
        expect_close(part, {expected, expected + part.size()}, 4e-6, "cached");
        done[s] += slice.n_rows;
      }
    }
  }
}

}  // namespace
}  // namespace weft::test

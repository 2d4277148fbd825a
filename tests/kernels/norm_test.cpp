// add_layer_norm and add_rms_norm against the formulas of ops.h in double.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class Norm : public OnEachTarget {};

constexpr double kEps = 1e-5;

struct Kind {
  bool rms = false;
  float offset = 0;
};

// One row's x̂ = (s - mean)·rstd.
struct NormedRow {
  std::vector<double> hat;
  double mean = 0, rstd = 0;
};

NormedRow normed(const std::vector<double>& s, const Kind& kind) {
  NormedRow r;
  const auto C = static_cast<double>(s.size());
  double square = 0;
  if (!kind.rms)
    for (double e : s) r.mean += e / C;
  for (double e : s) square += (e - r.mean) * (e - r.mean) / C;
  r.rstd = 1 / std::sqrt(square + kEps);
  for (double e : s) r.hat.push_back((e - r.mean) * r.rstd);
  return r;
}

// d(Σ g·x̂)/ds
std::vector<double> normed_gradient(const NormedRow& r, const std::vector<double>& g,
                                    const Kind& kind) {
  const auto C = static_cast<double>(g.size());
  double g_mean = 0, gx_mean = 0;
  for (std::size_t c = 0; c < g.size(); ++c) {
    if (!kind.rms) g_mean += g[c] / C;
    gx_mean += g[c] * r.hat[c] / C;
  }
  std::vector<double> ds;
  for (std::size_t c = 0; c < g.size(); ++c)
    ds.push_back(r.rstd * (g[c] - g_mean - r.hat[c] * gx_mean));
  return ds;
}

TEST(NormReference, GradientIsTheFiniteDifference) {
  for (const Kind& kind : {Kind{false}, Kind{true}}) {
    std::vector<double> s = widened(random({7}, 1));
    const std::vector<double> g = widened(random({7}, 2)),
                              ds = normed_gradient(normed(s, kind), g, kind);
    const auto value = [&] {
      const NormedRow r = normed(s, kind);
      double sum = 0;
      for (std::size_t c = 0; c < g.size(); ++c) sum += g[c] * r.hat[c];
      return sum;
    };
    for (std::size_t c = 0; c < s.size(); ++c) {
      const double at = s[c], h = 1e-5;
      s[c] = at + h;
      const double above = value();
      s[c] = at - h;
      const double below = value();
      s[c] = at;
      EXPECT_NEAR((above - below) / (2 * h), ds[c], 1e-8) << kind.rms << " " << c;
    }
  }
}

struct Options {
  Kind kind;
  float p = 0;
  bool delta = true, in_place = false;  // sum is x
  bool bias = true;                     // of a layer norm, and its gradient
  bool ddelta = true;
};

const std::vector<Options> kOptions = {
    {{false}, 0, true, false, true, true},      {{false}, 0.4f, true, true, true, true},
    {{false}, 0, false, false, false, false},   {{true, 0}, 0, true, false, false, true},
    {{true, 1}, 0.4f, true, true, false, true}, {{true, 1}, 0, false, false, false, false}};
const std::vector<std::array<std::int64_t, 3>> kShapes = {
    {1, 1, 1},    {1, 1, 7},   {2, 3, 48},   {3, 7, 129}, {1, 300, 8},
    {3, 4, 1003}, {2, 8, 768}, {1, 2, 4099}, {1, 1, 8200}};  // more than a GPU block's registers
                                                             // hold

// y and sum, or of backward: dsum, ddelta, dweight, dbias.
struct Expected {
  std::vector<double> sum, y, mean, rstd, dsum, ddelta, dweight, dbias;
};

TEST_P(Norm, ForwardEqualsTheFormula) {
  for (const Options& o : kOptions)
    for (auto [B, T, C] : kShapes) {
      // The mean of one element is itself, and 1/sqrt(eps) magnifies whatever the rounding of a
      // bf16 sum leaves between them.
      if (C == 1 && bf16() && o.delta) continue;
      const Dropout drop = {.p = o.p, .seed = 1, .step = 2, .site = 3, .first_sample = 11};
      const Tensor x = rounded(random({B, T, C}, 1)), delta = rounded(random({B, T, C}, 2)),
                   weight = random({C}, 3), bias = random({C}, 4);
      Expected e;
      for (std::int64_t r = 0; r < B * T; ++r) {
        std::vector<double> s;
        for (std::int64_t c = 0; c < C; ++c)
          s.push_back(
              x[r * C + c] +
              (o.delta ? dropout_factor(drop, r / T, r % T * C + c) * delta[r * C + c] : 0.0));
        const NormedRow row = normed(s, o.kind);
        for (std::int64_t c = 0; c < C; ++c)
          e.y.push_back(row.hat[static_cast<std::size_t>(c)] *
                            (static_cast<double>(o.kind.offset) + weight[c]) +
                        (o.bias ? bias[c] : 0.0f));
        e.sum.insert(e.sum.end(), s.begin(), s.end());
        e.mean.push_back(row.mean);
        e.rstd.push_back(row.rstd);
      }
      const Resident x_in = put_act(x), delta_in = put_act(delta), w = put(weight), b = put(bias);
      const Resident y = blank_act(x.shape), sum = o.in_place ? x_in : blank_act(x.shape),
                     mean = blank({B, T}), rstd = blank({B, T});
      const ConstView d = o.delta ? ConstView(delta_in) : ConstView();
      const View s = o.delta ? View(sum) : View();
      if (o.kind.rms)
        add_rms_norm(y, s, rstd, x_in, d, w, o.kind.offset, kEps, drop, stream());
      else
        add_layer_norm(y, s, mean, rstd, x_in, d, w, o.bias ? ConstView(b) : ConstView(), kEps,
                       drop, stream());
      const std::string name =
          fmt::format("rms {} p {} delta {} of {} x {} x {}", o.kind.rms, o.p, o.delta, B, T, C);
      // fp32: a few roundings of each term. With C = 1 the variance is 0, and 1/sqrt(eps) magnifies
      // what the mean rounds off.
      const double bound = C == 1 ? 1e-3 : 3e-6;
      expect_close(get(y).data, e.y, tolerance(bound, 2), ("y, " + name).c_str(), 1e-2);
      expect_close(get(rstd).data, e.rstd, tolerance(1e-6), ("rstd, " + name).c_str());
      if (!o.kind.rms)
        expect_close(get(mean).data, e.mean, tolerance(1e-6), ("mean, " + name).c_str(), 1.0);
      if (o.delta) expect_close(get(sum).data, e.sum, tolerance(1e-6), ("sum, " + name).c_str());
    }
}

TEST_P(Norm, BackwardEqualsTheFormula) {
  for (const Options& o : kOptions)
    for (auto [B, T, C] : kShapes) {
      const Dropout drop = {.p = o.p, .seed = 1, .step = 2, .site = 3, .first_sample = 11};
      const Tensor sum = rounded(random({B, T, C}, 1)), weight = random({C}, 3),
                   dy = rounded(random({B, T, C}, 5)), dsum = rounded(random({B, T, C}, 6)),
                   dweight = random({C}, 7), dbias = random({C}, 8);
      Tensor mean = filled({B, T}, 0), rstd = mean;
      Expected e;
      e.dsum = widened(dsum), e.dweight = widened(dweight), e.dbias = widened(dbias);
      for (std::int64_t r = 0; r < B * T; ++r) {
        const NormedRow row =
            normed({sum.data.begin() + r * C, sum.data.begin() + (r + 1) * C}, o.kind);
        mean[r] = static_cast<float>(row.mean);
        rstd[r] = static_cast<float>(row.rstd);
        std::vector<double> g;
        for (std::int64_t c = 0; c < C; ++c) {
          const double dy_c = dy[r * C + c];
          g.push_back(dy_c * (static_cast<double>(o.kind.offset) + weight[c]));
          e.dweight[static_cast<std::size_t>(c)] += dy_c * row.hat[static_cast<std::size_t>(c)];
          e.dbias[static_cast<std::size_t>(c)] += dy_c;
        }
        const std::vector<double> ds = normed_gradient(row, g, o.kind);
        for (std::int64_t c = 0; c < C; ++c) {
          double& total = e.dsum[static_cast<std::size_t>(r * C + c)];
          total += ds[static_cast<std::size_t>(c)];
          e.ddelta.push_back(dropout_factor(drop, r / T, r % T * C + c) * total);
        }
      }
      const Resident s = put_act(sum), w = put(weight), dy_in = put_act(dy), ds = put_act(dsum),
                     m = put(mean), rs = put(rstd), dw = put(dweight), db = put(dbias),
                     dd = blank_act(sum.shape);
      const View ddelta = o.ddelta ? View(dd) : View();
      if (o.kind.rms)
        add_rms_norm_backward(ds, ddelta, dw, dy_in, s, rs, w, o.kind.offset, drop, stream());
      else
        add_layer_norm_backward(ds, ddelta, dw, o.bias ? View(db) : View(), dy_in, s, m, rs, w,
                                drop, stream());
      const std::string name = fmt::format("rms {} p {} of {} x {} x {}", o.kind.rms, o.p, B, T, C);
      // x̂ is given by statistics rounded to fp32; with C = 1 rstd magnifies that by 1/sqrt(eps).
      const double bound = C == 1 ? 4e-3 : 12e-6;
      expect_close(get(ds).data, e.dsum, tolerance(bound), ("dsum, " + name).c_str());
      if (o.ddelta)
        expect_close(get(dd).data, e.ddelta, tolerance(bound, 2), ("ddelta, " + name).c_str(),
                     1e-6);
      expect_close(get(dw).data, e.dweight, bound,
                   ("dweight, " + name).c_str());  // fp32 on every target
      if (o.bias) expect_close(get(db).data, e.dbias, bound, ("dbias, " + name).c_str());
    }
}

TEST_P(Norm, FormsTheSumAloneWithoutY) {
  for (std::int64_t C : {5, 64}) {
    const Tensor x = rounded(random({1, 2, C}, 1)), delta = rounded(random({1, 2, C}, 2));
    std::vector<double> expected;
    for (std::int64_t i = 0; i < 2 * C; ++i)
      expected.push_back(static_cast<double>(x[i]) + delta[i]);
    for (bool rms : {false, true}) {
      const Resident x_in = put_act(x), delta_in = put_act(delta), sum = blank_act(x.shape);
      if (rms)
        add_rms_norm(View(), sum, View(), x_in, delta_in, ConstView(), 1, kEps, {}, stream());
      else
        add_layer_norm(View(), sum, View(), View(), x_in, delta_in, ConstView(), ConstView(), kEps,
                       {}, stream());
      expect_close(get(sum).data, expected, tolerance(1e-6), "sum");
    }
  }
}

// Without dy there is no norm: the gradient goes to the delta alone.
TEST_P(Norm, BackwardDropsTheGradientAloneWithoutDy) {
  const Dropout drop = {.p = 0.4f, .seed = 1, .step = 2, .site = 3, .first_sample = 11};
  const Tensor dsum = rounded(random({2, 3, 37}, 1));
  std::vector<double> expected;
  for (std::int64_t i = 0; i < 6 * 37; ++i)
    expected.push_back(dropout_factor(drop, i / (3 * 37), i % (3 * 37)) * dsum[i]);
  for (bool rms : {false, true}) {
    const Resident ds = put_act(dsum), dd = blank_act(dsum.shape);
    if (rms)
      add_rms_norm_backward(ds, dd, View(), ConstView(), ConstView(), ConstView(), ConstView(), 1,
                            drop, stream());
    else
      add_layer_norm_backward(ds, dd, View(), View(), ConstView(), ConstView(), ConstView(),
                              ConstView(), ConstView(), drop, stream());
    EXPECT_EQ(get(ds).data, dsum.data);
    expect_close(get(dd).data, expected, tolerance(1e-6), "ddelta");
  }
}

WEFT_ON_EACH_TARGET(Norm);

TEST(NormTeams, GradientsOfParametersHaveTheSameBitsOnAnyTeam) {
  const std::int64_t N = 331, C = 53;
  Tensor sum = random({1, N, C}, 1), dy = random({1, N, C}, 2), weight = random({C}, 3),
         mean = filled({1, N}, 0.1f), rstd = filled({1, N}, 0.9f);
  std::vector<float> dweight, dbias, dweight_rms;
  for (int threads : {1, 2, 3, 5}) {
    Stream stream({}, threads);
    Tensor dsum = filled(sum.shape, 0), dw = filled({C}, 1), db = filled({C}, 1),
           dw_rms = filled({C}, 1);
    add_layer_norm_backward(dsum.view(), View(), dw.view(), db.view(), dy.view(), sum.view(),
                            mean.view(), rstd.view(), weight.view(), {}, stream);
    add_rms_norm_backward(dsum.view(), View(), dw_rms.view(), dy.view(), sum.view(), rstd.view(),
                          weight.view(), 1, {}, stream);
    if (threads == 1) dweight = dw.data, dbias = db.data, dweight_rms = dw_rms.data;
    EXPECT_EQ(dw.data, dweight) << threads;
    EXPECT_EQ(db.data, dbias) << threads;
    EXPECT_EQ(dw_rms.data, dweight_rms) << threads;
  }
}

}  // namespace
}  // namespace weft::test

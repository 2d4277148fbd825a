// head_squares, head_norm, head_dots and head_norm_backward against the formulas of ops.h in
// double.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class HeadNorm : public OnEachTarget {};

struct Case {
  std::int64_t N, R, D;
  HeadNormArgs args;
  std::int64_t G;  // heads that the norm spans, over all ranks
};

HeadNormArgs each(int first, int n, float offset = 0) {
  return {.whole = false, .first_row = first, .n_heads = n, .offset = offset, .eps = 1e-5f};
}
HeadNormArgs whole(int first, int n, int place, int repeated, float offset = 0) {
  return {.whole = true,
          .first_row = first,
          .n_heads = n,
          .place = place,
          .n_repeated = repeated,
          .offset = offset,
          .eps = 1e-5f};
}

const std::vector<Case> kCases = {{1, 1, 1, each(0, 1), 1},
                                  {3, 4, 8, each(0, 2), 2},
                                  {5, 6, 33, each(2, 3, 1), 3},
                                  {70, 5, 64, each(3, 1), 1},
                                  {2, 3, 256, each(1, 2), 2},
                                  {130, 4, 24, each(0, 3), 3},
                                  {1, 2, 7, whole(0, 1, 0, 0), 1},
                                  {4, 6, 16, whole(0, 4, 0, 0), 4},
                                  {3, 4, 13, whole(1, 2, 3, 0, 1), 7},
                                  {67, 5, 32, whole(2, 2, 5, 1), 40},
                                  {2, 3, 128, whole(1, 1, 0, 1), 2}};

std::string name_of(const Case& c) {
  return fmt::format("{} heads {} on of {}, {} x {}, whole {} of {} from {}, {} repeated",
                     c.args.n_heads, c.args.first_row, c.R, c.N, c.D, c.args.whole, c.G,
                     c.args.place, c.args.n_repeated);
}

// A case's numbers, and in double what comes of them. Other ranks' squares and dots are made up.
struct Numbers {
  Tensor heads, dheads, weight, dweight, raw, squares, dots;
  std::vector<double> e_squares, e_heads, e_raw, e_dots, e_dheads, e_dweight;
};

// One normed head of one token.
struct Head {
  std::int64_t at;       // in (N, R, D)
  std::int64_t raw_at;   // in (N, h, D)
  std::int64_t group;    // in (N, G)
  std::int64_t weights;  // where its weights begin
  std::int64_t token;
  int i;
};
template <class Each>
void each_head(const Case& c, const Each& f) {
  for (std::int64_t n = 0; n < c.N; ++n)
    for (int i = 0; i < c.args.n_heads; ++i)
      f(Head{(n * c.R + c.args.first_row + i) * c.D, (n * c.args.n_heads + i) * c.D,
             n * c.G + c.args.place + i, c.args.whole ? i * c.D : 0, n, i});
}

// Σ of a row of (N, G) that a head's norm spans, over its elements.
double spanned_mean(const Case& c, const std::vector<double>& x, const Head& h) {
  if (!c.args.whole) return x[static_cast<std::size_t>(h.group)] / static_cast<double>(c.D);
  double sum = 0;
  for (std::int64_t g = 0; g < c.G; ++g) sum += x[static_cast<std::size_t>(h.token * c.G + g)];
  return sum / static_cast<double>(c.G * c.D);
}

Numbers numbers_of(const Case& c, Tensor heads, Tensor dheads) {
  const std::int64_t h = c.args.n_heads, W = c.args.whole ? h * c.D : c.D;
  Numbers m;
  m.heads = std::move(heads), m.dheads = std::move(dheads);
  m.weight = random({W}, 3), m.dweight = random({W}, 4);
  m.raw = filled({c.N, h, c.D}, 0);
  m.squares = random({c.N, c.G}, 5);
  m.dots = random({c.N, c.G}, 6);
  for (float& s : m.squares.data) s = 4 + s * s;  // as of other ranks
  m.e_squares.assign(static_cast<std::size_t>(c.N * c.G), 0);
  m.e_dots = m.e_squares;
  each_head(c, [&](const Head& head) {
    double square = 0, dot = 0;
    for (std::int64_t d = 0; d < c.D; ++d) {
      const double x = m.heads[head.at + d], dy = m.dheads[head.at + d],
                   w = static_cast<double>(c.args.offset) + m.weight[head.weights + d];
      square += x * x;
      dot += dy * w * x;
      m.raw[head.raw_at + d] = m.heads[head.at + d];
    }
    const auto group = static_cast<std::size_t>(head.group);
    m.e_dots[group] = dot;
    m.dots[head.group] = static_cast<float>(dot);
    if (head.i >= c.args.n_repeated) m.e_squares[group] = square;
    m.squares[head.group] = static_cast<float>(square);
  });
  m.e_heads = widened(m.heads), m.e_dheads = widened(m.dheads), m.e_raw = widened(m.raw);
  m.e_dweight = widened(m.dweight);
  each_head(c, [&](const Head& head) {
    const double rstd =
        1 / std::sqrt(spanned_mean(c, widened(m.squares), head) + static_cast<double>(c.args.eps));
    const double mean = head.i < c.args.n_repeated ? 0 : spanned_mean(c, widened(m.dots), head);
    for (std::int64_t d = 0; d < c.D; ++d) {
      const auto at = static_cast<std::size_t>(head.at + d);
      const double x = m.heads[head.at + d], dy = m.dheads[head.at + d],
                   w = static_cast<double>(c.args.offset) + m.weight[head.weights + d];
      m.e_heads[at] = x * rstd * w;
      m.e_dheads[at] = rstd * (dy * w - x * rstd * rstd * mean);
      m.e_dweight[static_cast<std::size_t>(head.weights + d)] += dy * x * rstd;
    }
  });
  return m;
}

// What the formulas of ops.h come from: dx of Σ dy·y by finite differences, over one token.
TEST(HeadNormReference, GradientIsTheFiniteDifference) {
  for (const Case& c : {Case{1, 3, 5, each(1, 2), 2}, Case{1, 4, 5, whole(0, 3, 0, 0, 1), 3}}) {
    const Tensor heads = random({c.N, c.R, c.D}, 1), dheads = random({c.N, c.R, c.D}, 2);
    const Numbers at = numbers_of(c, heads, dheads);
    const auto value = [&](std::int64_t i, float by) {
      Tensor moved = heads;
      moved[i] += by;
      const Numbers m = numbers_of(c, moved, dheads);
      double sum = 0;
      for (std::size_t e = 0; e < m.e_heads.size(); ++e) sum += m.e_heads[e] * dheads.data[e];
      return sum;
    };
    constexpr float h = 0x1p-9f;
    for (std::int64_t i = 0; i < heads.shape.elems(); ++i)
      EXPECT_NEAR((value(i, h) - value(i, -h)) / (2 * static_cast<double>(h)),
                  at.e_dheads[static_cast<std::size_t>(i)], 1e-3)
          << name_of(c) << " " << i;
  }
}

TEST_P(HeadNorm, EqualsTheFormula) {
  for (const Case& c : kCases) {
    const Numbers m =
        numbers_of(c, rounded(random({c.N, c.R, c.D}, 1)), rounded(random({c.N, c.R, c.D}, 2)));
    const std::string name = name_of(c);
    const Resident heads = put_act(m.heads), dheads = put_act(m.dheads), w = put(m.weight),
                   dw = put(m.dweight), squares = put(m.squares), dots = put(m.dots),
                   raw = blank_act(m.raw.shape), own_squares = blank(m.squares.shape),
                   own_dots = blank(m.dots.shape);
    head_squares(own_squares, heads, c.args, stream());
    head_norm(heads, raw, squares, w, c.args, stream());
    head_dots(own_dots, dheads, raw, w, c.args, stream());
    head_norm_backward(dheads, dw, raw, squares, dots, w, c.args, stream());
    expect_close(get(own_squares).data, m.e_squares, 2e-6, ("squares, " + name).c_str());
    expect_close(get(heads).data, m.e_heads, tolerance(4e-6), ("y, " + name).c_str(), 1e-2);
    expect_close(get(raw).data, m.e_raw, 0, ("raw, " + name).c_str());
    expect_close(get(own_dots).data, m.e_dots, 1e-5, ("dots, " + name).c_str(), 1e-1);
    // Of one element the two terms cancel but for eps.
    expect_close(get(dheads).data, m.e_dheads, tolerance(c.D == 1 ? 1e-3 : 2e-5),
                 ("dx, " + name).c_str(), c.D == 1 && bf16() ? 1 : 1e-2);
    expect_close(get(dw).data, m.e_dweight, 1e-5, ("dweight, " + name).c_str(), 1e-1);

    const Resident again = put_act(m.heads);  // inference keeps nothing
    head_norm(again, View(), squares, w, c.args, stream());
    EXPECT_EQ(get(again).data, get(heads).data) << name;
  }
}

std::vector<float> summed_floats(const std::vector<double>& sum) {
  return {sum.begin(), sum.end()};
}

// The sum of what two ranks have is one rank's, a repeated head counted once.
TEST_P(HeadNorm, RanksTogetherAreOne) {
  constexpr std::int64_t N = 9, D = 24;
  const Case one = {N, 3, D, whole(0, 3, 0, 0), 3};
  const Tensor x = rounded(random({N, 3, D}, 1)), dy = rounded(random({N, 3, D}, 2));
  const Numbers m = numbers_of(one, x, dy);
  // Rank 0 has heads 0 and 1, rank 1 heads 1 and 2; head 1's gradient comes half from each.
  std::vector<double> squares(N * 3, 0), dots(N * 3, 0), dheads(N * 3 * D, 0), dweight(3 * D, 0);
  std::vector<Resident> raws, weights, grads;
  const auto part_of = [&](const Tensor& all, int rank, bool halves) {
    Tensor part = filled({N, 2, D}, 0);
    for (std::int64_t n = 0; n < N; ++n)
      for (std::int64_t i = 0; i < 2; ++i)
        for (std::int64_t d = 0; d < D; ++d)
          part[(n * 2 + i) * D + d] =
              all[(n * 3 + rank + i) * D + d] * (halves && rank + i == 1 ? 0.5f : 1.0f);
    return part;
  };
  const auto add_to = [](std::vector<double>& sum, const Tensor& part) {
    for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += part.data[i];
  };
  const auto summed = [&](const std::vector<double>& sum) {
    Tensor t = filled({N, 3}, 0);
    for (std::size_t i = 0; i < sum.size(); ++i) t.data[i] = static_cast<float>(sum[i]);
    return put(t);
  };
  const HeadNormArgs args[] = {whole(0, 2, 0, 0), whole(0, 2, 1, 1)};
  for (int rank = 0; rank < 2; ++rank) {
    const Resident heads = put_act(part_of(x, rank, false)), own = blank({N, 3});
    Tensor w = filled({2 * D}, 0);
    std::copy_n(m.weight.data.begin() + rank * D, 2 * D, w.data.begin());
    raws.push_back(heads);
    weights.push_back(put(w));
    grads.push_back(put_act(part_of(dy, rank, true)));
    head_squares(own, heads, args[rank], stream());
    add_to(squares, get(own));
    const Resident own_dots = blank({N, 3});
    head_dots(own_dots, grads.back(), heads, weights.back(), args[rank], stream());
    add_to(dots, get(own_dots));
  }
  expect_close(summed_floats(squares), m.e_squares, 2e-6, "squares");
  expect_close(summed_floats(dots), m.e_dots, 1e-5, "dots", 1e-1);
  for (int rank = 0; rank < 2; ++rank) {
    const auto at = static_cast<std::size_t>(rank);
    const Resident dw = put(filled({2 * D}, 0));
    head_norm_backward(grads[at], dw, raws[at], summed(squares), summed(dots), weights[at],
                       args[rank], stream());
    const Tensor dx = get(grads[at]), dwt = get(dw);
    for (std::int64_t n = 0; n < N; ++n)
      for (std::int64_t e = 0; e < 2 * D; ++e)
        dheads[static_cast<std::size_t>((n * 3 + rank) * D + e)] += dx[n * 2 * D + e];
    for (std::int64_t e = 0; e < 2 * D; ++e)
      dweight[static_cast<std::size_t>(rank * D + e)] += dwt[e];
  }
  std::vector<double> e_dweight = m.e_dweight;
  for (std::size_t i = 0; i < e_dweight.size(); ++i) e_dweight[i] -= m.dweight.data[i];
  expect_close(summed_floats(dheads), m.e_dheads, tolerance(2e-5, 2), "dx", 1e-2);
  expect_close(summed_floats(dweight), e_dweight, 1e-5, "dweight", 1e-1);
}

WEFT_ON_EACH_TARGET(HeadNorm);

TEST(HeadNormTeams, GradientsOfWeightsHaveTheSameBitsOnAnyTeam) {
  const std::int64_t N = 331, D = 24;
  const HeadNormArgs args = whole(1, 2, 1, 0);
  Tensor raw = random({N, 2, D}, 1), weight = random({2 * D}, 2), squares = random({N, 4}, 3),
         dots = random({N, 4}, 4);
  for (float& s : squares.data) s = 1 + s * s;
  std::vector<float> first;
  for (int threads : {1, 2, 3, 5}) {
    Stream stream({}, threads);
    Tensor dheads = random({N, 4, D}, 5), dw = filled({2 * D}, 1);
    head_norm_backward(dheads.view(), dw.view(), raw.view(), squares.view(), dots.view(),
                       weight.view(), args, stream);
    if (threads == 1) first = dw.data;
    EXPECT_EQ(dw.data, first) << threads;
  }
}

TEST(HeadNormChecks, WrongShapesAreNamed) {
  Stream stream;
  Tensor x = random({2, 4, 8}, 1), squares = filled({2, 3}, 1), weight = filled({8}, 1);
  const auto text = [&](const HeadNormArgs& args) -> std::string {
    try {
      head_norm(x.view(), View(), squares.view(), weight.view(), args, stream);
    } catch (const std::exception& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_EQ(text(each(0, 3)), "");
  EXPECT_NE(text(each(2, 3)).find("head_norm: heads 2 to 5 of 4"), std::string::npos);
  EXPECT_NE(text(each(0, 2)).find("of 3"), std::string::npos);
  EXPECT_NE(text(whole(0, 2, 2, 0)).find("2 heads from 2 on"), std::string::npos);
  EXPECT_NE(text(whole(0, 3, 0, 0)).find("head_norm: weight is"), std::string::npos);
}

}  // namespace
}  // namespace weft::test

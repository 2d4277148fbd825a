// rope against the rotation in double.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class Rope : public OnEachTarget {};

struct Case {
  std::int64_t N, R, D, P;
  int n_heads;
};
const std::vector<Case> kCases = {{1, 1, 2, 2, 1},     {1, 3, 7, 2, 2},    {5, 3, 7, 6, 3},
                                  {13, 6, 20, 10, 4},  {4, 12, 64, 64, 8}, {3, 5, 128, 96, 4},
                                  {300, 2, 16, 16, 1}, {2, 3, 80, 32, 0}};

// Cosines and sines of angles at no lattice, scaled as yarn scales them: turning back is the
// transpose and not the inverse.
Tensor angles(std::int64_t S, std::int64_t half) {
  Tensor table = filled({S, 2, half}, 0);
  for (std::int64_t s = 0; s < S; ++s)
    for (std::int64_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(s) *
                           std::pow(10000.0, -static_cast<double>(i) / static_cast<double>(half));
      table[s * 2 * half + i] = static_cast<float>(1.2 * std::cos(angle));
      table[s * 2 * half + half + i] = static_cast<float>(1.2 * std::sin(angle));
    }
  return table;
}

std::vector<double> turned(const Tensor& x, const std::vector<std::int32_t>& positions,
                           const Tensor& table, const Case& c, bool interleaved, double direction) {
  std::vector<double> out = widened(x);
  const std::int64_t half = c.P / 2;
  for (std::int64_t n = 0; n < c.N; ++n)
    for (std::int64_t h = 0; h < c.n_heads; ++h)
      for (std::int64_t i = 0; i < half; ++i) {
        const std::int64_t row = (n * c.R + h) * c.D,
                           at = positions[static_cast<std::size_t>(n)] * c.P;
        const std::int64_t a = row + (interleaved ? 2 * i : i),
                           b = row + (interleaved ? 2 * i + 1 : i + half);
        const double cos = table[at + i], sin = direction * table[at + half + i];
        out[static_cast<std::size_t>(a)] = x[a] * cos - x[b] * sin;
        out[static_cast<std::size_t>(b)] = x[b] * cos + x[a] * sin;
      }
  return out;
}

TEST_P(Rope, TurnsThePairsOfTheFirstHeadsAlone) {
  for (const Case& c : kCases)
    for (bool interleaved : {false, true}) {
      const std::int64_t S = 37;
      const Tensor x = rounded(random({c.N, c.R, c.D}, 1)), table = angles(S, c.P / 2);
      std::vector<std::int32_t> positions;
      for (std::int64_t n = 0; n < c.N; ++n)
        positions.push_back(
            static_cast<std::int32_t>((n * 17 + 36) % S));  // no order, with repeats
      const Resident heads = put_act(x), back = put_act(x), p = put(positions), t = put(table);
      const RopeArgs args = {.n_heads = c.n_heads, .interleaved = interleaved};
      rope(heads, p, t, args, stream());
      rope_backward(back, p, t, args, stream());
      const Tensor forward = get(heads), backward = get(back);
      const std::string name =
          fmt::format("N {} R {} D {} P {} interleaved {}", c.N, c.R, c.D, c.P, interleaved);
      // Two products and a sum.
      expect_close(forward.data, turned(x, positions, table, c, interleaved, 1), tolerance(4e-7),
                   ("rope " + name).c_str());
      expect_close(backward.data, turned(x, positions, table, c, interleaved, -1), tolerance(4e-7),
                   ("rope backward " + name).c_str());
      for (std::int64_t i = 0; i < x.shape.elems(); ++i) {
        const bool turns = i / c.D % c.R < c.n_heads && i % c.D < c.P;
        if (!turns) {
          ASSERT_EQ(forward[i], x[i]) << name << " " << i;
        }
        if (!turns) {
          ASSERT_EQ(backward[i], x[i]) << name << " " << i;
        }
      }
    }
}

// <rope(x), g> = <x, rope_backward(g)>
TEST_P(Rope, BackwardIsTheTranspose) {
  for (bool interleaved : {false, true}) {
    const Tensor x = rounded(random({9, 4, 24}, 1)), g = rounded(random({9, 4, 24}, 2));
    const Resident turned_x = put_act(x), turned_g = put_act(g),
                   p = put({3, 1, 4, 1, 5, 9, 2, 6, 5}), t = put(angles(10, 8));
    const RopeArgs args = {.n_heads = 3, .interleaved = interleaved};
    rope(turned_x, p, t, args, stream());
    rope_backward(turned_g, p, t, args, stream());
    const Tensor y = get(turned_x), dx = get(turned_g);
    double there = 0, back = 0, size = 0;
    for (std::int64_t i = 0; i < x.shape.elems(); ++i) {
      there += static_cast<double>(y[i]) * g[i];
      back += static_cast<double>(x[i]) * dx[i];
      size += std::abs(static_cast<double>(y[i]) * g[i]);
    }
    EXPECT_NEAR(there, back, tolerance(1e-6) * size);
  }
}

WEFT_ON_EACH_TARGET(Rope);

TEST(RopeChecks, NamesAPositionBeyondTheTable) {
  Stream stream;
  Tensor heads = filled({2, 1, 4}, 1), table = angles(3, 2);
  const std::vector<std::int32_t> positions = {0, 3};
  EXPECT_THROW(rope(heads.view(), ConstView(positions.data(), Dims{2}), table.view(),
                    {.n_heads = 1}, stream),
               Error);
}

}  // namespace
}  // namespace weft::test

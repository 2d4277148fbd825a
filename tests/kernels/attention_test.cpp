#include <cstring>

#include "tests/kernels/attention_reference.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

using Case = AttentionCase;

class Attention : public OnEachTarget {
 protected:
  struct Run {
    Tensor out, lse, dqkv;
  };

  Run run(const Case& c, const Tensor& qkv, const Tensor& dout) {
    const AttentionArgs args = arguments(c);
    const std::vector<std::int32_t>& lengths = args.packed ? c.begins : c.lengths;
    const Resident length_room = lengths.empty() ? Resident() : put(lengths);
    const Resident x = put_act(qkv), dy = put_act(dout), out = blank_act(dout.shape),
                   lse = blank({c.B, c.H, c.T}), dx = blank_act(qkv.shape);
    attention(out, lse, x, length_room, args, stream());
    attention_backward(dx, dy, out, lse, x, length_room, args, stream());
    return {get(out), get(lse), get(dx)};
  }

  Tensor input(const Case& c) const { return rounded(random({c.B, c.T, c.rows(), c.D}, 1, c.std)); }
  Tensor gradient(const Case& c) const { return rounded(random({c.B, c.T, c.H, c.D}, 2)); }

  void expect_formula(const std::vector<Case>& cases) {
    for (const Case& c : cases) {
      const std::string name = c.name();
      Tensor qkv = input(c), dout = gradient(c);
      const AttentionReference expected = attention_reference(c, qkv, dout);
      if (!c.begins.empty()) {  // nothing of the padding is read
        std::fill(qkv.data.begin() + c.begins.back() * c.rows() * c.D, qkv.data.end(), NAN);
        std::fill(dout.data.begin() + c.begins.back() * c.H * c.D, dout.data.end(), NAN);
      }
      Run actual = run(c, qkv, dout);
      // Sums of up to T terms of either sign, each rounded: epsilon·sqrt(T) and a factor for the
      // exponentials' 1-2 ulp. In a gradient a score's error comes in four times: in a probability
      // and through out, in each of ds and what it is summed over.
      expect_rounded(actual.out.data, expected.out, 4e-6 + expected.score_error(), bf16(),
                     "out " + name);
      expect_rounded(actual.dqkv.data, expected.dqkv, 1e-5 + 4 * expected.score_error(), bf16(),
                     "dqkv " + name, 1e-3);
      std::vector<double> lse = expected.lse;
      for (std::size_t i = 0; i < lse.size(); ++i) {
        ASSERT_EQ(lse[i] == -INFINITY, actual.lse.data[i] == -INFINITY)
            << "lse[" << i << "] is " << actual.lse.data[i] << " " << name;
        if (lse[i] == -INFINITY) lse[i] = actual.lse.data[i] = 0;
      }
      expect_close(actual.lse.data, lse, 2e-6 + expected.score_error(), ("lse " + name).c_str(),
                   1.0);  // fp32 always
    }
  }
};

TEST_P(Attention, OfEveryHeadDim) {
  expect_formula({{1, 1, 1, 1, 16},
                  {2, 5, 3, 3, 24},
                  {1, 63, 2, 2, 40, false},
                  {2, 64, 2, 1, 64},
                  {1, 65, 3, 3, 72},
                  {1, 65, 4, 1, 80, false},
                  {1, 130, 2, 1, 96},
                  {1, 65, 2, 2, 128},
                  {1, 66, 2, 1, 160},
                  {1, 75, 2, 1, 256},
                  {1, 70, 1, 1, 256, false}});
}

TEST_P(Attention, OfManyTilesAndGroups) {
  expect_formula({{2, 130, 4, 2, 16},
                  {1, 200, 3, 1, 24},
                  {2, 130, 4, 1, 16, false},
                  {1, 128, 2, 2, 40},
                  {3, 64, 6, 2, 16, false},
                  {1, 257, 1, 1, 24}});
}

TEST_P(Attention, OfHeadDimsThatOnlyACpuTakes) {
  if (on_gpu()) GTEST_SKIP() << "head dims on a GPU are multiples of 8 from 16 to 256";
  expect_formula({{1, 1, 1, 1, 1},
                  {2, 5, 3, 3, 1},
                  {1, 65, 3, 3, 20},
                  {2, 130, 4, 2, 7},
                  {2, 96, 5, 5, 8},
                  {.B = 1,
                   .T = 130,
                   .H = 4,
                   .Hkv = 2,
                   .D = 7,
                   .causal = false,
                   .left = 9,
                   .right = 3,
                   .softcap = 20,
                   .begins = {0, 60, 129},
                   .p = 0.1f,
                   .std = 2}});
}

TEST_P(Attention, SeesAWindow) {
  const auto windowed = [](Case c, int left, int right) {
    c.left = left;
    c.right = right;
    return c;
  };
  const Case causal = {1, 130, 2, 1, 16}, both = {1, 130, 2, 2, 24, false};
  expect_formula({windowed(causal, 0, -1), windowed(causal, 1, -1), windowed(causal, 7, -1),
                  windowed(causal, 63, 5), windowed(causal, 64, -1), windowed(causal, 200, -1),
                  windowed(causal, -1, 3),  // causal: nothing on the right in any case
                  windowed(both, 0, 0), windowed(both, 5, -1), windowed(both, -1, 9),
                  windowed(both, 3, 64), windowed(both, 0, 20), windowed(both, 66, 0),
                  windowed({1, 200, 1, 1, 40}, 70, -1), windowed({1, 257, 1, 1, 16}, 12, -1),
                  windowed({1, 257, 1, 1, 16, false}, 10, 10), windowed({1, 80, 2, 1, 256}, 9, -1),
                  windowed({1, 130, 1, 1, 128, false}, 30, 2)});
}

TEST_P(Attention, CapsScores) {
  const auto capped = [](Case c, float cap, float std) {
    c.softcap = cap;
    c.std = std;
    return c;
  };
  expect_formula({capped({1, 65, 2, 1, 16}, 20, 3), capped({2, 65, 2, 2, 64, false}, 50, 3),
                  capped({1, 130, 4, 2, 24}, 20, 1), capped({1, 70, 1, 1, 256}, 50, 4),
                  capped({1, 5, 1, 1, 40}, 0.5f, 2), capped({1, 130, 2, 1, 40, true, 30}, 50, 5),
                  capped({1, 130, 1, 1, 80, false, 20, 40}, 20, 2)});
}

TEST_P(Attention, OfPaddedSequences) {
  expect_formula(
      {{.B = 3, .T = 70, .H = 2, .Hkv = 2, .D = 16, .causal = false, .lengths = {70, 1, 65}},
       {.B = 2, .T = 66, .H = 2, .Hkv = 2, .D = 16, .lengths = {3, 66}},
       {.B = 3, .T = 65, .H = 4, .Hkv = 1, .D = 24, .causal = false, .lengths = {0, 1, 65}},
       {.B = 3, .T = 130, .H = 1, .Hkv = 1, .D = 40, .lengths = {0, 129, 64}},
       {.B = 2,
        .T = 130,
        .H = 2,
        .Hkv = 1,
        .D = 16,
        .left = 5,
        .lengths = {40, 130}},  // queries from 45 on see no key
       {.B = 2,
        .T = 130,
        .H = 1,
        .Hkv = 1,
        .D = 64,
        .causal = false,
        .left = 4,
        .right = 7,
        .lengths = {67, 0}},
       {.B = 2,
        .T = 65,
        .H = 2,
        .Hkv = 2,
        .D = 72,
        .causal = false,
        .softcap = 20,
        .lengths = {64, 9},
        .std = 3}});
}

TEST_P(Attention, OfPackedSequences) {
  expect_formula(
      {{.B = 1, .T = 130, .H = 2, .Hkv = 1, .D = 16, .begins = {0, 130}},
       {.B = 1, .T = 130, .H = 2, .Hkv = 2, .D = 24, .begins = {0, 70, 130}},
       {.B = 1, .T = 140, .H = 3, .Hkv = 1, .D = 16, .begins = {0, 0, 1, 1, 64, 65, 65, 130}},
       {.B = 1, .T = 140, .H = 2, .Hkv = 2, .D = 16, .causal = false, .begins = {0, 5, 5, 70, 139}},
       {.B = 1, .T = 5, .H = 1, .Hkv = 1, .D = 40, .begins = {0, 0}},
       {.B = 1, .T = 200, .H = 2, .Hkv = 1, .D = 16, .left = 6, .begins = {0, 3, 150, 190}},
       {.B = 1,
        .T = 200,
        .H = 1,
        .Hkv = 1,
        .D = 40,
        .causal = false,
        .left = 20,
        .right = 3,
        .begins = {0, 90, 199}},
       {.B = 1,
        .T = 130,
        .H = 4,
        .Hkv = 1,
        .D = 40,
        .softcap = 50,
        .begins = {0, 64, 128},
        .std = 4},
       {.B = 1, .T = 78, .H = 2, .Hkv = 1, .D = 256, .begins = {0, 7, 71}},
       {.B = 1, .T = 96, .H = 2, .Hkv = 2, .D = 128, .causal = false, .begins = {0, 31, 32, 96}}});
}

TEST_P(Attention, DropsProbabilities) {
  expect_formula(
      {{.B = 2, .T = 67, .H = 3, .Hkv = 3, .D = 16, .p = 0.3f},
       {.B = 1, .T = 130, .H = 4, .Hkv = 2, .D = 24, .causal = false, .lengths = {129}, .p = 0.1f},
       {.B = 2, .T = 130, .H = 2, .Hkv = 1, .D = 40, .left = 20, .p = 0.1f},
       {.B = 1,
        .T = 131,
        .H = 2,
        .Hkv = 1,
        .D = 16,
        .begins = {0, 3, 70, 129},
        .p = 0.2f},  // counted over the batch row
       {.B = 1, .T = 70, .H = 1, .Hkv = 1, .D = 256, .p = 0.5f},
       {.B = 1,
        .T = 133,
        .H = 4,
        .Hkv = 1,
        .D = 24,
        .causal = false,
        .left = 9,
        .right = 30,
        .softcap = 20,
        .begins = {0, 66, 66, 131},
        .p = 0.1f,
        .std = 2}});
}

// Tiles that no mask cuts, beside tiles that one does and tiles that nobody sees. A GPU's warp
// meets 32 rows of scores at a time, or 16 in backward, with 32, 64 or 128 columns.
TEST_P(Attention, BranchesAroundMasksCapsAndDropout) {
  for (const std::int64_t D : {64, 128}) {
    const int T = D == 64 ? 200 : 136;
    const Case causal = {1, T, 1, 1, D}, both = {1, T, 1, 1, D, false};
    Case band = both, dropped = causal, packed = both, all = both;
    band.left = 130, band.right = 70, band.softcap = 20, band.std = 3;
    dropped.left = 130, dropped.p = 0.2f;
    packed.begins = {0, 130, T - 4};
    all.T = T + 1, all.lengths = {T - 5};  // an odd T drops one by one
    all.softcap = 20, all.p = 0.1f;
    expect_formula({causal, band, dropped, packed, all});
  }
}

TEST_P(Attention, OfAnyScale) {
  expect_formula({{.B = 1, .T = 65, .H = 2, .Hkv = 1, .D = 64, .scale = 1.0f},
                  {.B = 1, .T = 65, .H = 2, .Hkv = 2, .D = 16, .scale = 0.01f},
                  {.B = 1,
                   .T = 65,
                   .H = 2,
                   .Hkv = 2,
                   .D = 80,
                   .causal = false,
                   .softcap = 20,
                   .scale = 0.5f}});
}

TEST_P(Attention, SurvivesScoresFarApart) {
  // Scores of several hundred: exp of what is not subtracted first would overflow, and all but a
  // few probabilities vanish.
  expect_formula(
      {{.B = 1, .T = 80, .H = 1, .Hkv = 1, .D = 16, .std = 30},
       {.B = 1, .T = 80, .H = 2, .Hkv = 1, .D = 64, .causal = false, .left = 40, .std = 30},
       {.B = 1, .T = 80, .H = 1, .Hkv = 1, .D = 64, .softcap = 50, .std = 30}});
}

// A NaN reaches every tile that is computed, even where its probabilities are masked to 0; so what
// stays finite was skipped.
TEST_P(Attention, SkipsTilesThatNoQuerySees) {
  constexpr std::int64_t T = 448,
                         kRows =
                             64;  // the first and last rows are more than two tiles of 128 apart
  const Case window = {1, T, 1, 1, 16, false, 10, 10}, causal_window = {1, T, 1, 1, 16, true, 10};
  const Case packed = {
      .B = 1, .T = T, .H = 1, .Hkv = 1, .D = 16, .causal = false, .begins = {0, 64, 300, 384, T}};
  for (const Case& c : {window, causal_window, packed})
    for (const auto& [poison, kept] : {std::pair{std::size_t{0}, std::size_t{T - kRows}},
                                       {std::size_t{T - kRows}, std::size_t{0}}}) {
      Tensor qkv = input(c);
      const Tensor dout = gradient(c);
      const Run clean = run(c, qkv, dout);
      const std::size_t in_row = qkv.data.size() / T;
      std::fill_n(qkv.data.begin() + static_cast<std::ptrdiff_t>(poison * in_row), kRows * in_row,
                  NAN);
      const Run poisoned = run(c, qkv, dout);
      const auto expect_same = [&](const Tensor& a, const Tensor& b, std::size_t first, bool same,
                                   const char* what) {
        const std::size_t row = a.data.size() / T;
        EXPECT_EQ(std::memcmp(&a.data[first * row], &b.data[first * row],
                              kRows * row * sizeof(float)) == 0,
                  same)
            << what << ", rows from " << first << ", poison from " << poison << ": " << c.name();
      };
      expect_same(clean.out, poisoned.out, poison, false, "out");
      expect_same(clean.out, poisoned.out, kept, true, "out");
      expect_same(clean.dqkv, poisoned.dqkv, kept, true, "dqkv");
    }
}

// A query that is no number makes its row's output, lse and gradient NaN, and those of the keys
// that it sees; it is not taken for a query that sees no key.
TEST_P(Attention, GivesNanForARowThatIsNan) {
  constexpr std::int64_t T = 70, D = 16, kRow = 66;
  const Case c = {1, T, 1, 1, D};
  Tensor qkv = input(c);
  qkv[kRow * 3 * D + 5] = NAN;
  const Run r = run(c, qkv, gradient(c));
  for (std::int64_t t = 0; t < T; ++t) {
    EXPECT_EQ(std::isnan(r.lse[t]), t == kRow) << t;
    for (std::int64_t d = 0; d < D; ++d) {
      EXPECT_EQ(std::isnan(r.out[t * D + d]), t == kRow) << t << " " << d;
      EXPECT_EQ(std::isnan(r.dqkv[t * 3 * D + d]), t == kRow) << "dq " << t << " " << d;
      for (std::int64_t of : {1, 2})  // later keys may get 0 · NaN
        EXPECT_TRUE(t > kRow || std::isnan(r.dqkv[(t * 3 + of) * D + d])) << of << " " << t;
    }
  }
}

TEST_P(Attention, NamesTheOpOfAMisalignedTensor) {
  if (!on_gpu()) GTEST_SKIP() << "a CPU takes any alignment";
  const Case c = {1, 4, 1, 1, 16};
  const AttentionArgs args = arguments(c);
  const Resident qkv = blank_act({1, 4, 3, 16}), out = blank_act({1, 4, 1, 16}),
                 lse = blank({1, 1, 4}), room = blank_act({4 * 3 * 16 + 1}),
                 odd = part(room, 1, {1, 4, 3, 16}), odd_out = part(room, 1, {1, 4, 1, 16});
  const auto expect_named = [&](const char* op, const auto& call) {
    try {
      call();
      ADD_FAILURE() << op << " takes a misaligned tensor";
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(std::string(op) + ": a tensor"), std::string::npos)
          << e.what();
    }
  };
  expect_named("attention", [&] { attention(out, lse, odd, ConstView(), args, stream()); });
  expect_named("attention", [&] { attention(odd_out, lse, qkv, ConstView(), args, stream()); });
  expect_named("attention_backward",
               [&] { attention_backward(odd, out, out, lse, qkv, ConstView(), args, stream()); });
  expect_named("attention_backward", [&] {
    attention_backward(qkv, odd_out, out, lse, qkv, ConstView(), args, stream());
  });
}

TEST_P(Attention, NamesABatchThatIsTooLarge) {
  if (!on_gpu()) GTEST_SKIP() << "a CPU takes any batch";
  const Case c = {1 << 16, 1, 1, 1, 16};
  const Resident qkv = blank_act({c.B, 1, 3, 16}), out = blank_act({c.B, 1, 1, 16}),
                 lse = blank({c.B, 1, 1});
  try {
    attention(out, lse, qkv, ConstView(), arguments(c), stream());
    ADD_FAILURE() << "a batch of " << c.B << " is taken";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("attention: a batch of 65536"), std::string::npos)
        << e.what();
  }
}

TEST_P(Attention, GivesTheSameGradientBitsTwice) {
  for (const Case& c : {Case{2, 200, 4, 1, 24}, Case{.B = 1,
                                                .T = 130,
                                                .H = 4,
                                                .Hkv = 2,
                                                .D = 64,
                                                .causal = false,
                                                .left = 50,
                                                .begins = {0, 60, 129},
                                                .p = 0.1f}}) {
    const Tensor qkv = input(c), dout = gradient(c);
    const Run first = run(c, qkv, dout), second = run(c, qkv, dout);
    EXPECT_EQ(first.dqkv.data, second.dqkv.data) << c.name();
    EXPECT_EQ(first.out.data, second.out.data) << c.name();
  }
}

WEFT_ON_EACH_TARGET(Attention);

}  // namespace
}  // namespace weft::test

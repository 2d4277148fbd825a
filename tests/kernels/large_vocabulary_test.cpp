// Embedding gradients and sampling where a GPU works in many tiles: many tokens, long runs of one
// id, vocabularies past 2^16.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class LargeVocabulary : public OnEachTarget {};

// Bit for bit the sums in the order of n, on every target.
TEST_P(LargeVocabulary, EmbeddingGradientsAreSummedInOrder) {
  struct Case {
    std::int64_t N, V, C;
    std::int64_t distinct;  // ids among the tokens
  };
  for (const Case& c : std::vector<Case>{{9001, 70'000, 3, 5000},
                                         {4097, 300, 8, 300},
                                         {4500, 70'000, 4, 1},
                                         {8192, 255, 1, 7},
                                         {8193, 256, 4, 1000}}) {
    const Tensor dy = rounded(random({c.N, c.C}, 1)), dtable = random({c.V, c.C}, 2);
    constexpr std::int64_t kFirst = 1000;
    std::vector<std::int32_t> ids;
    for (std::int64_t n = 0; n < c.N; ++n) {
      const std::int64_t k = n * 7919 % 10007 * n % c.distinct;
      ids.push_back(static_cast<std::int32_t>(
          n % 5 == 3 ? (n % 2 == 0 ? 12 : kFirst + c.V)
                     : kFirst + (c.V - 1 - k * 13 % c.V)));  // some outside
    }
    Tensor in_order = dtable;
    for (std::int64_t i = 0; i < c.N * c.C; ++i) {
      const std::int64_t row = ids[static_cast<std::size_t>(i / c.C)] - kFirst;
      if (row >= 0 && row < c.V) in_order[row * c.C + i % c.C] += dy[i];
    }
    const Resident out = put(dtable);
    embedding_backward(out, put_act(dy), put(ids), kFirst, stream());
    const Tensor got = get(out);
    for (std::int64_t i = 0; i < c.V * c.C; ++i)
      ASSERT_EQ(got[i], in_order[i]) << "N " << c.N << " V " << c.V << " row " << i / c.C;
  }
}

TEST_P(LargeVocabulary, HalfPrecisionTablesWiden) {
  const std::int64_t V = 5, C = 72;
  const Tensor table = random({V, C}, 1);
  std::vector<Float16> half;
  for (float e : table.data) half.push_back(to_float16(e));
  const Resident y = blank_act({3, C});
  embedding(y, put({4, 0, 7}), put(half.data(), DType::f16, {V, C}), 0, false, stream());
  Tensor expected = filled({3, C}, 0);
  for (std::int64_t c = 0; c < C; ++c) {
    expected[c] = to_float(half[static_cast<std::size_t>(4 * C + c)]);
    expected[C + c] = to_float(half[static_cast<std::size_t>(c)]);
  }
  EXPECT_EQ(get(y).data, rounded(expected).data);
}

// V equal logits: of them the first floor(V/2) go at top_p 1/2, and the draw (k + 1/2)/kept takes
// the k-th of the rest.
TEST_P(LargeVocabulary, DrawsAmongHundredsOfThousands) {
  const std::int64_t V = 300'001, gone = V / 2, kept = V - gone;
  const std::vector<std::int64_t> draws = {0, 1, 31, 77'777, kept - 1};
  const auto N = static_cast<std::int64_t>(draws.size());
  std::vector<SampleRow> rows;
  std::vector<float> expected;
  for (std::int64_t k : draws) {
    rows.push_back({.greedy = false,
                    .top_p = 0.5,
                    .uniform = (static_cast<double>(k) + 0.5) / static_cast<double>(kept)});
    expected.push_back(static_cast<float>(gone + k));
  }
  const Resident ids = blank(DType::i32, {N}), logprobs = blank({N});
  weft::sample(ids, logprobs, put_act(filled({N, V}, -2.5f)), rows, stream());
  EXPECT_EQ(get(ids).data, expected);
  for (float l : get(logprobs).data)
    EXPECT_NEAR(l, -std::log(static_cast<double>(V)), 2e-6);  // an ulp of 12.6
}

WEFT_ON_EACH_TARGET(LargeVocabulary);

}  // namespace
}  // namespace weft::test

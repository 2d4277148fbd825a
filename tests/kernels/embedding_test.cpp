#include "kernels/panels.h"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class Embedding : public OnEachTarget {};

struct Case {
  std::int64_t N, V, C;
};
const std::vector<Case> kCases = {{1, 1, 1},     {6, 11, 7},   {9, 5, 129},
                                  {300, 20, 16}, {3, 9, 1003}, {5, 7, 768}};
constexpr std::int64_t kFirst = 3;  // the shard holds ids kFirst … kFirst + V - 1

// Ids within the shard and on either side of it, with repeats.
std::vector<std::int32_t> ids_of(const Case& c) {
  std::vector<std::int32_t> ids;
  for (std::int64_t n = 0; n < c.N; ++n)
    ids.push_back(
        static_cast<std::int32_t>(n == 0 ? kFirst : (n * n * 7 + n) % (c.V + 2 * kFirst)));
  return ids;
}

TEST_P(Embedding, TakesTheRowsOfItsShard) {
  for (DType dtype : {DType::f32, DType::bf16})
    for (const Case& c : kCases) {
      Tensor table = random({c.V, c.C}, 1);
      const Tensor before = rounded(random({c.N, c.C}, 2));
      std::vector<BFloat16> narrow;
      for (float& e : table.data) {
        narrow.push_back(to_bfloat16(e));
        if (dtype == DType::bf16) e = to_float(narrow.back());
      }
      const std::vector<std::int32_t> ids = ids_of(c);
      const Resident t = dtype == DType::bf16 ? put(narrow.data(), dtype, table.shape) : put(table),
                     id = put(ids);
      std::vector<double> expected, added;
      for (std::int64_t i = 0; i < c.N * c.C; ++i) {
        const std::int64_t row = ids[static_cast<std::size_t>(i / c.C)] - kFirst;
        expected.push_back(row >= 0 && row < c.V ? table[row * c.C + i % c.C] : 0.0f);
        added.push_back(expected.back() + before[i]);
      }
      ConstView rows = t;
      for (int k = 0; k < 2; ++k) {
        const Resident y = blank_act(before.shape), sum = put_act(before);
        embedding(y, id, rows, kFirst, false, stream());
        embedding(sum, id, rows, kFirst, true, stream());
        // fp32 copies; adding rounds once.
        expect_close(get(y).data, expected, tolerance(0), "embedding");
        expect_close(get(sum).data, added, tolerance(1e-7), "embedding added");
        rows = to_panels(t, stream());  // the head's matrix
      }
    }
}

TEST_P(Embedding, BackwardAddsTheRowsInTheirOrder) {
  for (const Case& c : kCases) {
    const Tensor dy = rounded(random({c.N, c.C}, 1)), dtable = random({c.V, c.C}, 2);
    const std::vector<std::int32_t> ids = ids_of(c);
    std::vector<double> expected = widened(dtable);
    Tensor in_order = dtable;
    for (std::int64_t i = 0; i < c.N * c.C; ++i) {
      const std::int64_t row = ids[static_cast<std::size_t>(i / c.C)] - kFirst;
      if (row < 0 || row >= c.V) continue;
      expected[static_cast<std::size_t>(row * c.C + i % c.C)] += dy[i];
      in_order[row * c.C + i % c.C] += dy[i];
    }
    const Resident dy_in = put_act(dy), id = put(ids), out = put(dtable), again = put(dtable);
    embedding_backward(out, dy_in, id, kFirst, stream());
    embedding_backward(again, dy_in, id, kFirst, stream());
    expect_close(get(out).data, expected, 2e-6,
                 "dtable");  // up to 300 terms: epsilon·sqrt(300) and a factor of 2
    EXPECT_EQ(get(out).data, get(again).data);  // deterministic
    if (!on_gpu()) {
      EXPECT_EQ(get(out).data, in_order.data);
    }
  }
}

WEFT_ON_EACH_TARGET(Embedding);

}  // namespace
}  // namespace weft::test

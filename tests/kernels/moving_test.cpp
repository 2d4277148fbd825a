// fill, gather_rows, scatter_rows, join_columns, add_sum, element_loss.
#include <cmath>
#include <limits>

#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class Moving : public OnEachTarget {};

// Rows of odd, 4-byte and 16-byte lengths.
const std::vector<std::int64_t> kWidths = {1, 2, 7, 8, 96, 300};

TEST_P(Moving, FillsEveryElementAndNoMore) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f16, DType::i32})
    for (const double value : {0.0, 1.0, -100.0})
      for (const std::int64_t n : {1, 255, 257, 20'001}) {
        const Resident x = blank(dtype, {n + 2});
        const Tensor before = get(x);
        fill(part(x, 1, {n}), value, stream());
        const Tensor got = get(x);
        for (std::int64_t i = 1; i <= n; ++i) ASSERT_EQ(got[i], value) << i << " of " << n;
        for (const std::int64_t edge : {std::int64_t{0}, n + 1})
          ASSERT_TRUE(got[edge] == before[edge] || std::isnan(got[edge])) << edge;
      }
  const Resident total = blank(DType::f64, {1});
  fill(total, 0.1, stream());
  double value = 0;
  copy_bytes(&value, total.view.data(), sizeof value, stream());
  EXPECT_EQ(value, 0.1);
  EXPECT_THROW(fill(blank(DType::u8, {3}), 0, stream()), Error);
}

TEST_P(Moving, GathersAndScattersRows) {
  for (const std::int64_t C : kWidths) {
    const std::vector<std::int32_t> rows = {4, -1, 0, 6, -1, 1};
    const auto M = static_cast<std::int64_t>(rows.size());
    const std::int64_t N = 7;
    const Tensor x = rounded(random({N, C}, 1)), picked = rounded(random({M, C}, 2));
    const Resident at = put(rows), y = blank_act({M, C}), whole = blank_act({N, C});
    gather_rows(y, put_act(x), at, stream());
    scatter_rows(whole, put_act(picked), at, stream());
    const Tensor gathered = get(y), scattered = get(whole);
    Tensor expected = filled({N, C}, 0);
    for (std::int64_t m = 0; m < M; ++m)
      for (std::int64_t c = 0; c < C; ++c) {
        const std::int64_t row = rows[static_cast<std::size_t>(m)];
        ASSERT_EQ(gathered[m * C + c], row < 0 ? 0 : x[row * C + c]) << C << " " << m << " " << c;
        if (row >= 0) expected.data[static_cast<std::size_t>(row * C + c)] = picked[m * C + c];
      }
    EXPECT_EQ(scattered.data, expected.data) << C;
  }
  const Resident y = blank_act({2, 8}), x = blank_act({3, 8});
  EXPECT_THROW(gather_rows(y, x, put(std::vector<std::int32_t>{1}), stream()), Error);
  EXPECT_THROW(scatter_rows(x, y, put(std::vector<std::int32_t>{1}), stream()), Error);
}

TEST_P(Moving, JoinsColumnsOfUnevenBlocks) {
  for (const std::vector<std::int64_t>& widths :
       std::vector<std::vector<std::int64_t>>{{5}, {3, 0, 4}, {8, 16, 8}, {301, 300}, {96, 96, 95}})
    for (const auto& [N, padding] : std::vector<std::pair<std::int64_t, std::int64_t>>{
             {1, 0}, {5, 0}, {130, 0}, {1, 8}, {5, 3}, {70, 16}}) {
      std::int64_t W = 0, all = 0;
      std::vector<std::int64_t> held;
      for (const std::int64_t w : widths) {
        W += w;
        all += held.emplace_back(w + padding);
      }
      const Tensor parts = rounded(random({N * all}, 3));
      const Resident whole = blank_act({N, W});
      join_columns(whole, put_act(parts), widths, held, stream());
      const Tensor got = get(whole);
      std::int64_t column = 0, part = 0;
      for (std::size_t r = 0; r < widths.size(); ++r) {
        for (std::int64_t n = 0; n < N; ++n)
          for (std::int64_t c = 0; c < widths[r]; ++c)
            ASSERT_EQ(got[n * W + column + c], parts[part + n * held[r] + c]) << n << " " << c;
        column += widths[r];
        part += N * held[r];
      }
    }
  const Resident whole = blank_act({2, 3}), parts = blank_act({6});
  using Widths = std::vector<std::int64_t>;
  EXPECT_THROW(join_columns(whole, parts, Widths{2, 1}, Widths{1, 2}, stream()), Error);
  EXPECT_THROW(join_columns(whole, parts, Widths{2, 1}, Widths{3}, stream()), Error);
  EXPECT_THROW(join_columns(whole, parts, Widths{2, 1}, Widths{2, 2}, stream()), Error);
}

TEST_P(Moving, AddsSumsInDouble) {
  const Resident total = blank(DType::f64, {1});
  fill(total, 2, stream());
  double expected = 2;
  for (const std::int64_t n : {0, 1, 255, 1003, 20'001}) {
    const Tensor x = random({std::max<std::int64_t>(n, 1)}, 5, 1e3f);
    for (std::int64_t i = 0; i < n; ++i) expected += x[i];
    add_sum(total, part(put(x), 0, {n}), stream());
  }
  double sum = 0;
  copy_bytes(&sum, total.view.data(), sizeof sum, stream());
  EXPECT_NEAR(sum, expected, 1e-9 * std::abs(expected) + 1e-8);
}

TEST_P(Moving, ElementLossesAndTheirGradients) {
  for (const ElementLoss kind : {ElementLoss::binary_cross_entropy, ElementLoss::squared_error})
    for (const std::int64_t n : {1, 3, 20}) {
      const std::int64_t M = 300;
      const Tensor z = rounded(random({M, n}, 1, 6.0f)), t = random({M, n}, 2);
      std::vector<std::int32_t> labels(static_cast<std::size_t>(M), 0);
      labels[1] = kIgnoreLabel;
      const float scale = 0.37f;
      std::vector<double> losses, slopes;
      for (std::int64_t m = 0; m < M; ++m) {
        double sum = 0;
        const bool labelled = m != 1;
        for (std::int64_t i = m * n; i < (m + 1) * n; ++i) {
          const double x = z[i], y = t[i];
          const bool squared = kind == ElementLoss::squared_error;
          sum += squared ? (x - y) * (x - y)
                         : std::max(x, 0.0) - x * y + std::log1p(std::exp(-std::abs(x)));
          slopes.push_back(labelled ? scale / static_cast<double>(n) *
                                          (squared ? 2 * (x - y) : 1 / (1 + std::exp(-x)) - y)
                                    : 0);
        }
        losses.push_back(labelled ? sum / static_cast<double>(n) : 0);
      }
      const Resident logits = put_act(z), loss = blank({M}), alone = blank({M}),
                     label = put(labels), target = put(t);
      element_loss(alone, View(), logits, label, target, kind, scale, stream());
      EXPECT_EQ(get(logits).data, z.data);
      element_loss(loss, logits, logits, label, target, kind, scale, stream());
      expect_close(get(loss).data, losses, 1e-6, "loss");
      EXPECT_EQ(get(alone).data, get(loss).data);
      expect_close(get(logits).data, slopes, tolerance(1e-6), "gradient");
    }
}

WEFT_ON_EACH_TARGET(Moving);

}  // namespace
}  // namespace weft::test

// dropout, add, scale, soft_cap, convert.
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class Elementwise : public OnEachTarget {};

const std::vector<std::int64_t> kSizes = {1, 7, 8, 129, 768, 1003, 20'001};

TEST_P(Elementwise, DropoutIsTheCounterRngsAndKnowsNoGrid) {
  const Dropout drop = {.p = 0.25f, .seed = 9, .step = 2, .site = 4, .first_sample = 7'000'000'000};
  for (auto [B, T, C] : std::vector<std::array<std::int64_t, 3>>{
           {1, 1, 1}, {3, 5, 37}, {1, 300, 8}, {2, 3, 1003}, {2, 2, 768}}) {
    const Tensor x = rounded(random({B, T, C}, 1));
    std::vector<double> expected;
    std::int64_t dropped = 0;
    for (std::int64_t i = 0; i < B * T * C; ++i) {
      const double factor = dropout_factor(drop, i / (T * C), i % (T * C));
      expected.push_back(factor * x[i]);
      dropped += factor == 0;
    }
    if (B * T * C > 500) {
      EXPECT_NEAR(static_cast<double>(dropped) / static_cast<double>(B * T * C), 0.25, 0.07);
    }
    const Resident in = put_act(x), y = blank_act(x.shape);
    dropout(y, in, drop, stream());
    const Tensor got = get(y);
    expect_close(got.data, expected, tolerance(2e-7), "dropout", 1e-6);
    for (std::int64_t i = 0; i < B * T * C; ++i)
      ASSERT_EQ(got[i] == 0, expected[static_cast<std::size_t>(i)] == 0) << i;
    dropout(in, in, drop, stream());  // in place
    EXPECT_EQ(get(in).data, got.data);
    // The batch's last sample alone has the mask it had in the batch.
    Dropout last = drop;
    last.first_sample += B - 1;
    const Resident again = put_act(x), alone = blank_act({1, T, C});
    dropout(alone, again.view.rows(B - 1, B), last, stream());
    EXPECT_EQ(get(alone).data, (std::vector<float>(got.data.end() - T * C, got.data.end())));
    dropout(y, again, {}, stream());  // p = 0 passes through
    EXPECT_EQ(get(y).data, x.data);
  }
}

TEST_P(Elementwise, AddAndScale) {
  std::vector<DType> dtypes = {DType::f32};
  if (bf16()) dtypes.push_back(DType::bf16);
  for (DType y_dtype : dtypes)
    for (DType x_dtype : dtypes)
      for (std::int64_t n : kSizes)
        for (std::int64_t offset : {0, 1}) {
          Tensor x = random({n + offset}, 1), y = random({n + offset}, 2);
          const auto hold = [&](Tensor& t, DType dtype) {
            std::vector<BFloat16> narrow;
            for (float& e : t.data) {
              narrow.push_back(to_bfloat16(e));
              if (dtype == DType::bf16) e = to_float(narrow.back());
            }
            return dtype == DType::bf16 ? put(narrow.data(), dtype, t.shape) : put(t);
          };
          const Resident x_in = hold(x, x_dtype), y_out = hold(y, y_dtype),
                         in = part(x_in, offset, {n}), out = part(y_out, offset, {n});
          std::vector<double> sum, scaled;
          for (std::int64_t i = offset; i < n + offset; ++i) {
            sum.push_back(static_cast<double>(x[i]) + y[i]);
            scaled.push_back(sum.back() * 0.37f);
          }
          const double bound = y_dtype == DType::bf16 ? 0x1p-8 : 2e-7;
          add(out, in, stream());
          expect_close(get(out).data, sum, bound, "add");
          scale(out, 0.37f, stream());
          expect_close(get(out).data, scaled, 2 * bound, "scale");
          if (offset == 1) {
            EXPECT_EQ(get(y_out)[0], y[0]);
          }
        }
}

TEST_P(Elementwise, SoftCap) {
  for (float cap : {0.5f, 30.0f})
    for (std::int64_t n : kSizes) {
      Tensor x = random({n}, 1, 20.0f);
      const std::vector<float> edges = {0, 1e-20f, -1e-3f, 1e4f, -1e4f, INFINITY, -INFINITY};
      if (n > 7) std::copy(edges.begin(), edges.end(), x.data.begin());
      x = rounded(x);
      std::vector<double> expected;
      for (float e : x.data) expected.push_back(cap * std::tanh(static_cast<double>(e) / cap));
      const Resident in = put_act(x), y = blank_act({n});
      soft_cap(y, in, cap, stream());
      expect_close(get(y).data, expected, tolerance(1e-6), "soft cap");  // tanh of a few ulp
      soft_cap(in, in, cap, stream());                                   // in place
      EXPECT_EQ(get(in).data, get(y).data);
    }
}

// Every 16-bit pattern widens and narrows back to itself. An emulated GPU takes each third.
TEST_P(Elementwise, ConvertRoundTripsEveryHalf) {
  const std::size_t stride = on_gpu() ? 3 : 1;
  for (DType dtype : {DType::bf16, DType::f16}) {
    std::vector<std::uint16_t> all;
    std::vector<float> expected;
    for (std::size_t i = 0; i < 65536; i += stride) {
      const auto bits = static_cast<std::uint16_t>(i);
      const float value = dtype == DType::bf16 ? to_float(BFloat16{bits}) : to_float(Float16{bits});
      if (std::isnan(value)) continue;
      all.push_back(bits);
      expected.push_back(value);
    }
    const Dims shape = {static_cast<std::int64_t>(all.size())};
    const Resident narrow = put(all.data(), dtype, shape), wide = blank(shape),
                   back = blank(dtype, shape);
    convert(wide, narrow, stream());
    convert(back, wide, stream());
    EXPECT_EQ(get(wide).data, expected);
    EXPECT_EQ(get(back).data, expected);
  }
}

TEST_P(Elementwise, ConvertRoundsToNearestEven) {
  for (std::int64_t n : kSizes)
    for (std::int64_t offset : {0, 1}) {
      Tensor x = random({n + offset}, 1, 3.0f);
      // Halfway between neighbours of bf16 and of fp16, a carry into the exponent, subnormals of
      // fp16 and its overflow.
      const std::vector<float> edges = {
          1 + 0x1p-8f,  1 + 3 * 0x1p-8f, 1 + 0x1p-11f, 1 + 3 * 0x1p-11f, 2 - 0x1p-20f, 0x1p-25f,
          3 * 0x1p-25f, 65519,           65520,        -1e30f,           INFINITY,     NAN};
      if (n > 12) std::copy(edges.begin(), edges.end(), x.data.begin() + offset);
      const Resident flat = put(x), in = part(flat, offset, {n});
      for (DType dtype : {DType::f32, DType::bf16, DType::f16}) {
        const Resident held = blank(dtype, {n + offset}), out = part(held, offset, {n});
        convert(out, in, stream());
        const Tensor got = get(out);
        for (std::int64_t i = 0; i < n; ++i) {
          const float e = x[offset + i];
          const float expected = dtype == DType::f32    ? e
                                 : dtype == DType::bf16 ? to_float(to_bfloat16(e))
                                                        : to_float(to_float16(e));
          if (std::isnan(expected)) {
            ASSERT_TRUE(std::isnan(got[i])) << i;
          } else
            ASSERT_EQ(got[i], expected) << e << " to " << dtype_name(dtype);
        }
        if (offset == 1) {
          EXPECT_TRUE(std::isnan(get(held)[0]));
        }
      }
    }
}

WEFT_ON_EACH_TARGET(Elementwise);

}  // namespace
}  // namespace weft::test

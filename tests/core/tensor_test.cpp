#include "core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/arena.h"
#include "core/rng.h"

namespace weft {
namespace {

TEST(Float16, EveryValueSurvivesTheRoundTrip) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const Float16 x{static_cast<std::uint16_t>(bits)};
    const float wide = to_float(x);
    if (std::isnan(wide))
      EXPECT_TRUE(std::isnan(to_float(to_float16(wide)))) << bits;
    else
      EXPECT_EQ(to_float16(wide).bits, bits);
  }
}

TEST(Float16, RoundsToNearestEven) {
  EXPECT_EQ(to_float16(1.0f + 0x1p-11f).bits, to_float16(1.0f).bits);    // half way, down to even
  EXPECT_EQ(to_float(to_float16(1.0f + 3 * 0x1p-11f)), 1.0f + 0x1p-9f);  // half way, up to even
  EXPECT_EQ(to_float(to_float16(65519.0f)), 65504.0f);
  EXPECT_TRUE(std::isinf(to_float(to_float16(65520.0f))));
  EXPECT_EQ(to_float(to_float16(0x1p-25f)), 0.0f);  // half the least subnormal, to even
  EXPECT_EQ(to_float(to_float16(0x1.8p-25f)), 0x1p-24f);
}

TEST(BFloat16, RoundsToNearestEvenAndKeepsNaN) {
  EXPECT_EQ(to_float(to_bfloat16(1.0f + 0x1p-8f)), 1.0f);
  EXPECT_EQ(to_float(to_bfloat16(1.0f + 3 * 0x1p-8f)), 1.0f + 0x1p-6f);
  EXPECT_TRUE(std::isnan(to_float(to_bfloat16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isinf(to_float(to_bfloat16(std::numeric_limits<float>::max()))));
}

TEST(View, BindsAndChecksDims) {
  std::vector<float> data(24);
  const View x(data.data(), {2, 3, 4});
  const auto [B, T, C] = x.dims<3>();
  EXPECT_EQ(B * 100 + T * 10 + C, 234);
  EXPECT_THROW(x.dims<2>(), Error);
  EXPECT_THROW(x.as<double>(), Error);
  EXPECT_THROW(x.reshape({5, 5}), Error);
  EXPECT_EQ(x.rows(1, 2).as<float>(), data.data() + 12);
  EXPECT_THROW(x.rows(1, 3), Error);
}

TEST(Arena, MeasuresWhatItAllocates) {
  const auto layout = [](Arena& arena) {
    arena.alloc(DType::f32, {3, 5});
    return arena.alloc(DType::i32, {17});
  };
  const std::size_t bytes = measure(layout);
  Arena arena("test", bytes);
  const View x = layout(arena);
  EXPECT_EQ(arena.used_bytes(), bytes);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(x.data()) % 64, 0u);
  EXPECT_THROW(arena.alloc(DType::f32, {1}), Error);
}

// Known answers of Random123's kat_vectors for philox4x32-10.
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox(0, {0, 0, 0, 0}), (Philox{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(philox(~0ull, {~0u, ~0u, ~0u, ~0u}),
            (Philox{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(philox(0x299f31d0a4093822ull, {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}),
            (Philox{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

}  // namespace
}  // namespace weft

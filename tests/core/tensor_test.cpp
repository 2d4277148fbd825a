#include "core/tensor.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "core/arena.h"

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

TEST(View, OfAGpuIsNotReadByTheHost) {
  float value = 1;
  const View x(&value, DType::f32, {1}, {DeviceType::cuda, 0});
  EXPECT_THROW(x.as<float>(), Error);
  EXPECT_EQ(x.rows(0, 1).reshape({1, 1}).device(), x.device());
}

}  // namespace
}  // namespace weft

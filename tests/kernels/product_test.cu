// What a linear layer costs beside its product: the kernels that cuBLASLt's epilogues stand for are
// not launched.
#include <algorithm>

#include "kernels/cuda/launch.cuh"
#include "tests/kernels/target.h"

namespace weft::test {
namespace {

class LinearLaunches : public OnEachTarget {
 protected:
  void SetUp() override {
    OnEachTarget::SetUp();
    if (IsSkipped()) return;
    if (!on_gpu()) GTEST_SKIP() << "of a GPU alone";
    stream().attached<cuda::LaunchLog>().on = true;
  }
  std::size_t launches() {
    auto& entries = stream().attached<cuda::LaunchLog>().entries;
    const auto n = static_cast<std::size_t>(
        std::ranges::count_if(entries, [](const auto& e) { return e.kernel != nullptr; }));
    entries.clear();
    return n;
  }
  // bf16 operands need no conversion.
  Resident put_bf16(const Tensor& x) {
    const Resident wide = put(x), narrow = blank(DType::bf16, x.shape);
    convert(narrow, wide, stream());
    return narrow;
  }
};
WEFT_ON_EACH_TARGET(LinearLaunches);

TEST_P(LinearLaunches, BiasOfAnFp32ResultIsAddedByTheProduct) {
  const Resident w = bf16() ? put_bf16(random({48, 24}, 1)) : put(random({48, 24}, 1)),
                 x = put_act(random({40, 24}, 2)), bias = put(random({49}, 3)),
                 y = blank_act({40, 48});
  launches();
  for (Precision precision : {Precision::fp32, Precision::fp32_fixed}) {
    linear(y, x, w, part(bias, 0, {48}), precision, stream());
    EXPECT_EQ(launches(), bf16() ? 1u : 0u);
    linear(y, x, w, part(bias, 1, {48}), precision, stream());  // which does not begin at 16 bytes
    EXPECT_EQ(launches(), 1u);
  }
}

TEST_P(LinearLaunches, GeluIsPartOfAProductInBf16) {
  const bool wide = !bf16();
  const Resident w = put_bf16(random({48, 24}, 1)), w_behind = put_bf16(random({24, 48}, 2)),
                 odd = put_bf16(random({44, 24}, 1)), x = put_act(random({40, 24}, 3)),
                 bias = put(random({48}, 4)), y = blank_act({40, 48}), pre = blank_act({40, 48}),
                 y_odd = blank_act({40, 44}), pre_odd = blank_act({40, 44});
  launches();
  const std::size_t conversions = wide ? 1 : 0;  // of x
  linear_gelu(y, pre, x, w, ConstView(), Precision::bf16, stream());
  EXPECT_EQ(launches(), conversions);
  linear_gelu_backward(pre, x, w_behind, y, Precision::bf16, stream());
  EXPECT_EQ(launches(), conversions);
  // a bias is added to fp32 results alone
  linear_gelu(y, pre, x, w, bias, Precision::bf16, stream());
  EXPECT_EQ(launches(), wide ? conversions : 2u);
  // and what GELU is told in backward has rows of 8 columns
  linear_gelu(y_odd, pre_odd, x, odd, ConstView(), Precision::bf16, stream());
  EXPECT_EQ(launches(), 2 * conversions + 1);
}

TEST_P(LinearLaunches, GeluOfFp32ProductsIsNot) {
  if (bf16()) GTEST_SKIP() << "products of bf16 activations are in bf16";
  const Resident w = put(random({48, 24}, 1)), x = put(random({40, 24}, 3)),
                 bias = put(random({48}, 4)), y = blank({40, 48}), pre = blank({40, 48});
  for (Precision precision : {Precision::fp32, Precision::fp32_fixed}) {
    launches();
    linear_gelu(y, pre, x, w, bias, precision, stream());
    EXPECT_EQ(launches(), 1u);
  }
}

}  // namespace
}  // namespace weft::test

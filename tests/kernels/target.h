// One kernel test for every back end and activation dtype: {cpu with teams of 1, 2, 3, and with
// each lesser set of vector instructions that we build for} × fp32, cuda × {fp32, bf16}. The cuda
// targets are reported as skipped where there is no GPU, emulated or real.
#pragma once

#include <gtest/gtest.h>
#include <hwy/targets.h>

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "core/device.h"
#include "tests/kernels/close.h"

namespace weft::test {

struct Target {
  std::string name;
  Device device;
  int threads = 1;
  DType act = DType::f32;
  std::int64_t instructions = 0;  // Highway's target; 0: the best that the machine has
};

inline std::vector<Target> all_targets() {
  std::vector<Target> all = {{"cpu", {}, 1, DType::f32},
                             {"cpu_2_threads", {}, 2, DType::f32},
                             {"cpu_3_threads", {}, 3, DType::f32},
                             {"cuda_fp32", {DeviceType::cuda, 0}, 1, DType::f32},
                             {"cuda_bf16", {DeviceType::cuda, 0}, 1, DType::bf16}};
  const auto built = hwy::SupportedAndGeneratedTargets();  // the best first
  for (std::size_t i = 1; i < built.size(); ++i)
    all.push_back({fmt::format("cpu_{}", hwy::TargetName(built[i])), {}, 2, DType::f32, built[i]});
  return all;
}

// A tensor in a target's memory.
struct Resident {
  std::shared_ptr<void> memory;
  View view;
  operator View() const { return view; }       // NOLINT: handed to ops as it is
  operator ConstView() const { return view; }  // NOLINT
};

class OnEachTarget : public testing::TestWithParam<Target> {
 protected:
  void SetUp() override {
    if (on_gpu() && gpu_count() == 0) GTEST_SKIP() << "not run: no GPU (neither real nor emulated)";
    use_instructions(GetParam().instructions);
    stream_ = std::make_unique<Stream>(GetParam().device, GetParam().threads);
  }
  void TearDown() override { use_instructions(0); }

  Stream& stream() { return *stream_; }
  DType act() const { return GetParam().act; }
  bool on_gpu() const { return GetParam().device.type == DeviceType::cuda; }
  bool bf16() const { return act() == DType::bf16; }

  // Tolerance of an op: `fp32` where activations are fp32; bf16 inputs are exact in the reference
  // (see rounded()), so what remains is the rounding of stored results and intermediates:
  // `roundings` of them, 2^-8 each.
  double tolerance(double fp32, double roundings = 1) const {
    return bf16() ? roundings * 0x1p-8 : fp32;
  }

  // x as the target's activations hold it: what the float64 reference must be given.
  Tensor rounded(Tensor x) const {
    if (bf16())
      for (float& e : x.data) e = to_float(to_bfloat16(e));
    return x;
  }

  Resident put(const void* data, DType dtype, const Dims& shape) {
    Resident r = blank(dtype, shape);
    copy_bytes(r.view.data(), data, r.view.bytes(), stream());
    return r;
  }
  Resident put(const Tensor& x) {
    return put(x.data.data(), DType::f32, x.shape);
  }  // parameters, statistics: fp32
  Resident put(const std::vector<std::int32_t>& x) {
    return put(x.data(), DType::i32, Dims{static_cast<std::int64_t>(x.size())});
  }
  Resident put_act(const Tensor& x) {  // activations
    if (!bf16()) return put(x);
    std::vector<BFloat16> narrow;
    for (float e : x.data) narrow.push_back(to_bfloat16(e));
    return put(narrow.data(), DType::bf16, x.shape);
  }

  // Memory full of NaNs: an output element that a kernel does not write shows.
  Resident blank(DType dtype, const Dims& shape) {
    const std::size_t bytes = static_cast<std::size_t>(shape.elems()) * dtype_bytes(dtype);
    Resident r;
    r.memory = allocate(GetParam().device, std::max<std::size_t>(bytes, 1));
    r.view = View(r.memory.get(), dtype, shape, GetParam().device);
    const std::vector<unsigned char> poison(bytes, 0xFF);
    copy_bytes(r.view.data(), poison.data(), bytes, stream());
    return r;
  }
  Resident blank_act(const Dims& shape) { return blank(act(), shape); }
  Resident blank(const Dims& shape) { return blank(DType::f32, shape); }

  // Elements [begin, begin + shape.elems()) of a flat tensor: memory aligned to no more than an
  // element.
  static Resident part(const Resident& flat, std::int64_t begin, const Dims& shape) {
    const std::size_t at = static_cast<std::size_t>(begin) * dtype_bytes(flat.view.dtype());
    return {flat.memory, View(static_cast<std::byte*>(flat.view.data()) + at, flat.view.dtype(),
                              shape, flat.view.device())};
  }

  // Back on the host as fp32.
  Tensor get(const Resident& x) {
    std::vector<unsigned char> bytes(x.view.bytes());
    copy_bytes(bytes.data(), x.view.data(), bytes.size(), stream());
    stream().synchronize();
    Tensor t = filled(x.view.shape(), 0);
    for (std::size_t i = 0; i < t.data.size(); ++i) {
      if (x.view.dtype() == DType::f32) std::memcpy(&t.data[i], bytes.data() + 4 * i, 4);
      if (x.view.dtype() == DType::bf16) {
        BFloat16 b;
        std::memcpy(&b, bytes.data() + 2 * i, 2);
        t.data[i] = to_float(b);
      }
      if (x.view.dtype() == DType::f16) {
        Float16 h;
        std::memcpy(&h, bytes.data() + 2 * i, 2);
        t.data[i] = to_float(h);
      }
      if (x.view.dtype() == DType::i32) {
        std::int32_t n;
        std::memcpy(&n, bytes.data() + 4 * i, 4);
        t.data[i] = static_cast<float>(n);
      }
    }
    return t;
  }

 private:
  static void use_instructions(std::int64_t target) {
    hwy::SetSupportedTargetsForTest(target);
    hwy::GetChosenTarget().Update(hwy::SupportedTargets());
  }
  std::unique_ptr<Stream> stream_;
};

// TEST_P(Norm, …) after  class Norm : public OnEachTarget {};  and this:
#define WEFT_ON_EACH_TARGET(suite)                                                  \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(::weft::test::all_targets()), \
                           [](const auto& on) { return on.param.name; })

}  // namespace weft::test

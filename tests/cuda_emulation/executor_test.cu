// The emulation itself: that it computes what a GPU would, and that each kind of planted fault is
// caught.
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <vector>

#include "core/device.h"
#include "core/tensor.h"
#include "kernels/cuda/instructions.cuh"
#include "kernels/cuda/launch.cuh"
#include "runtime.h"

namespace weft::cuda {

// A block's sums, written to out (blocks): correct, or with a planted fault.
enum class Plant {
  none,
  out_of_bounds,
  missing_barrier,
  unwritten,
  wrong_mask,
  foreign_lane,
  shared_out_of_bounds,
  unwaited_copy,
  divergent_collective
};

__global__ void block_sum_kernel(float* out, const float* x, int n, Plant plant) {
  auto* partial = shared_memory<float>();
  const int thread = static_cast<int>(threadIdx.x), lane = thread % 32, warp = thread / 32;
  const int i = static_cast<int>(blockIdx.x * blockDim.x) + thread;
  float sum = i < n ? x[i] : 0.0f;
  if (plant == Plant::out_of_bounds) sum = x[i];  // no guard
  unsigned mask = kFullWarp;
  if (plant == Plant::wrong_mask) mask = 0x0000FFFFu;  // leaves half of the callers out
  if (plant == Plant::divergent_collective && lane < 7) __syncwarp(kFullWarp);
  const int reach = plant == Plant::foreign_lane ? 16 : 0;
  if (plant == Plant::foreign_lane && lane < 16) mask = 0x0000FFFFu;
  if (plant == Plant::foreign_lane && lane >= 16) mask = 0xFFFF0000u;
  for (int step = plant == Plant::foreign_lane ? reach : 16; step > 0; step /= 2)
    sum += __shfl_xor_sync(mask, sum, step);
  if (lane == 0) partial[plant == Plant::shared_out_of_bounds ? warp + 4 : warp] = sum;
  if (plant != Plant::missing_barrier) __syncthreads();
  if (thread != 0 || (plant == Plant::unwritten && blockIdx.x == 1)) return;
  float total = 0;
  for (int w = 0; w < static_cast<int>(blockDim.x) / 32; ++w) total += partial[w];
  out[plant == Plant::out_of_bounds ? blockIdx.x + 1 : blockIdx.x] = total;
}

// Uses its shared memory twice; without a barrier between, a fast warp overwrites what a slow one
// has yet to read.
__global__ void twice_kernel(float* out, bool barrier) {
  auto* values = shared_memory<float>();  // (64)
  float total = 0;
  for (int round = 1; round <= 2; ++round) {
    values[threadIdx.x] = static_cast<float>(round);
    __syncthreads();
    for (int i = 0; i < 64; ++i) total += values[i];
    if (barrier) __syncthreads();
  }
  if (threadIdx.x == 0) *out = total;
}

__global__ void same_place_kernel(float* out) {
  if (threadIdx.x == 0) *out = static_cast<float>(blockIdx.x);
}

__global__ void copy_kernel(float* out, const float* x, bool waits) {
  auto* tile = shared_memory<float>();
  copy_async_16(tile + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
  commit_copies();
  if (waits) wait_copies<0>();
  __syncthreads();
  for (int i = 0; i < 4; ++i)
    out[4 * threadIdx.x + static_cast<unsigned>(i)] =
        tile[(4 * threadIdx.x + static_cast<unsigned>(i) + 32) % 128];
}

// d (16, 8) = a (16, 16) b (16, 8) of bf16; a row-major, b row-major (k, n), through ldmatrix.
__global__ void mma_kernel(float* d, const __nv_bfloat16* a, const __nv_bfloat16* b) {
  auto* tile = shared_memory<__nv_bfloat16>();
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32) tile[i] = a[i];
  for (int i = lane; i < 128; i += 32) tile[256 + i] = b[i];
  __syncwarp(kFullWarp);
  std::uint32_t fragment[4], pair[4];
  load_matrix_x4(fragment, tile + (lane % 16) * 16 + lane / 16 * 8);
  load_matrix_x4_transposed(pair, tile + 256 + (lane % 16) * 8);  // matrices 2 and 3 repeat 0 and 1
  float sum[4] = {};
  const std::uint32_t right[2] = {pair[0], pair[1]};
  mma_m16n8k16(sum, fragment, right);
  for (int i = 0; i < 4; ++i) d[(lane / 4 + i / 2 * 8) * 8 + lane % 4 * 2 + i % 2] = sum[i];
}

__global__ void mma_tf32_kernel(float* d, const float* a, const float* b) {  // a (16, 8), b (8, 8)
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  const std::uint32_t left[4] = {to_tf32(a[g * 8 + t]), to_tf32(a[(g + 8) * 8 + t]),
                                 to_tf32(a[g * 8 + t + 4]), to_tf32(a[(g + 8) * 8 + t + 4])};
  const std::uint32_t right[2] = {to_tf32(b[t * 8 + g]), to_tf32(b[(t + 4) * 8 + g])};
  float sum[4] = {};
  mma_m16n8k8_tf32(sum, left, right);
  for (int i = 0; i < 4; ++i) d[(g + i / 2 * 8) * 8 + t * 2 + i % 2] = sum[i];
}

// Both halves of the warp multiply; on a GPU they must come to one and the same mma, and to one
// barrier.
__global__ void two_places_kernel(float* out, bool two_mmas, bool two_barriers) {
  const int lane = static_cast<int>(threadIdx.x);
  float sum[4] = {};
  const std::uint32_t a[4] = {}, b[2] = {};
  if (two_mmas && lane < 16) {
    mma_m16n8k8_tf32(sum, a, b);
    out[lane] = 1;
  } else {
    mma_m16n8k8_tf32(sum, a, b);
    out[lane] = 2;
  }
  if (two_barriers && lane < 16) {
    __syncthreads();
    out[lane] += 1;
  } else {
    __syncthreads();
    out[lane] += 2;
  }
}

__global__ void __launch_bounds__(64) bounded_kernel(float* out) { out[threadIdx.x] = 1; }

struct Output {
  int n;
  float* out;
};
__global__ void struct_kernel(Output to) {
  if (static_cast<int>(threadIdx.x) < to.n) to.out[threadIdx.x] = 1;
}

__global__ void uninitialised_kernel(float* out, bool initialises) {
  float x[4];
  if (initialises)
    for (float& e : x) e = 1;
  out[threadIdx.x] = x[threadIdx.x % 4];
}

// out (3): a·b - c contracted, the product apart, the sum apart; one a thread, since a product
// that several share is not contracted.
__global__ void contraction_kernel(float* out, float a, float b, float c) {
  if (threadIdx.x == 0)
    out[0] = a * b - c;
  else if (threadIdx.x == 1)
    out[1] = __fmul_rn(a, b) - c;
  else
    out[2] = __fadd_rn(a * b, -c);
}

__global__ void approximation_kernel(float* out, const float* x) {  // out (3, 32)
  const unsigned i = threadIdx.x;
  out[i] = exp2_approx(x[i]);
  out[32 + i] = __expf(x[i]);
  out[64 + i] = __fdividef(1.0f, x[i]);
}

}  // namespace weft::cuda

namespace weft::cuda {
namespace {

class Emulation : public testing::Test {
 protected:
  // A fault shows where the host waits.
  Emulation() { emulation::set_schedule(emulation::Schedule::late); }
  ~Emulation() override { emulation::set_schedule(emulation::Schedule::drawn); }

  const Device gpu_{DeviceType::cuda, 0};
  Stream stream_{gpu_};

  std::shared_ptr<void> put(const std::vector<float>& x) {
    auto memory = allocate(gpu_, x.size() * 4);
    copy_bytes(memory.get(), x.data(), x.size() * 4, stream_);
    return memory;
  }
  std::vector<float> get(const std::shared_ptr<void>& memory, std::size_t n) {
    std::vector<float> x(n);
    copy_bytes(x.data(), memory.get(), n * 4, stream_);
    return x;
  }

  // Sums of three blocks of 128 over 300 ones; what a planted fault does to it.
  std::vector<float> sums(Plant plant) {
    const auto x = put(std::vector<float>(300, 1.0f)), out = allocate(gpu_, 3 * 4);
    launch(block_sum_kernel, {dim3(3), dim3(128), 4 * 4}, {}, stream_,
           static_cast<float*>(out.get()), static_cast<const float*>(x.get()), 300, plant);
    return get(out, 3);
  }

  void expect_fault(Plant plant, const char* text) {
    try {
      sums(plant);
      ADD_FAILURE() << "no fault: expected " << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
    emulation::forget_fault();
  }
};

TEST_F(Emulation, ComputesWhatAGpuWould) {
  EXPECT_EQ(sums(Plant::none), (std::vector<float>{128, 128, 44}));
}

TEST_F(Emulation, CatchesAShuffleWithAWrongMask) {
  expect_fault(Plant::wrong_mask, "which is not in it");
}
TEST_F(Emulation, CatchesAShuffleFromALaneOutsideTheMask) {
  expect_fault(Plant::foreign_lane, "which its mask leaves out");
}
TEST_F(Emulation, CatchesLanesAtDifferentCollectives) {
  expect_fault(Plant::divergent_collective, "__syncwarp");
}

TEST_F(Emulation, CatchesAMissingBarrier) {
#ifdef __SANITIZE_THREAD__
  return expect_fault(Plant::missing_barrier, "race in shared memory");
#endif
  int wrong = 0;  // a block runs right where its order happens to be kind
  for (std::uint64_t seed = 0; seed < 4; ++seed) {
    emulation::set_order_seed(seed);
    for (float sum : sums(Plant::missing_barrier)) wrong += std::isnan(sum);
  }
  EXPECT_GE(wrong, 4) << "of 12 blocks";
}

#ifdef __SANITIZE_THREAD__
TEST_F(Emulation, CatchesAMissingBarrierBeforeSharedMemoryIsWrittenAgain) {
  const auto out = allocate(gpu_, 4);
  for (bool barrier : {true, false}) {
    launch(twice_kernel, {dim3(1), dim3(64), 64 * 4}, {}, stream_, static_cast<float*>(out.get()),
           barrier);
    if (barrier)
      EXPECT_EQ(get(out, 1)[0], 64 + 128);
    else
      EXPECT_THROW(get(out, 1), Error);
    emulation::forget_fault();
  }
}

TEST_F(Emulation, CatchesBlocksThatWriteTheSamePlace) {
  const auto out = allocate(gpu_, 4), in = put({1, 2, 3, 4});
  launch(same_place_kernel, {dim3(2), dim3(32), 0}, {}, stream_, static_cast<float*>(out.get()));
  EXPECT_THROW(get(out, 1), Error);
  emulation::forget_fault();
}
#endif

TEST_F(Emulation, ShowsAnUnwrittenOutput) {
  const auto out = sums(Plant::unwritten);
  EXPECT_EQ(out[0], 128);
  EXPECT_TRUE(std::isnan(out[1]));
}

TEST_F(Emulation, CatchesReadingACopyThatWasNotWaitedFor) {
  std::vector<float> x(128);
  for (std::size_t i = 0; i < 128; ++i) x[i] = static_cast<float>(i);
  const auto in = put(x), out = allocate(gpu_, 128 * 4);
  for (bool waits : {true, false}) {
    launch(copy_kernel, {dim3(1), dim3(32), 128 * 4}, {}, stream_, static_cast<float*>(out.get()),
           static_cast<const float*>(in.get()), waits);
    const auto y = get(out, 128);
    for (std::size_t i = 0; i < 128; ++i)
      EXPECT_TRUE(waits ? y[i] == x[(i + 32) % 128] : std::isnan(y[i])) << i;
  }
}

TEST_F(Emulation, CatchesALaunchWithoutItsStream) {
  const auto x = put({1, 2, 3, 4}), out = allocate(gpu_, 4);
  EXPECT_THROW(start_kernel(block_sum_kernel, {dim3(1), dim3(32), 16}, nullptr,
                            static_cast<float*>(out.get()), static_cast<const float*>(x.get()), 4,
                            Plant::none),
               Error);
  emulation::forget_fault();
}

TEST_F(Emulation, CatchesAHostPointerAsAnArgument) {
  float host = 0;
  EXPECT_THROW(launch(block_sum_kernel, {dim3(1), dim3(32), 16}, {}, stream_, &host,
                      static_cast<const float*>(&host), 1, Plant::none),
               Error);
  emulation::forget_fault();
}

TEST_F(Emulation, CatchesAHostPointerInAStruct) {
  const auto out = allocate(gpu_, 4);
  launch(struct_kernel, {dim3(1), dim3(32), 0}, {}, stream_,
         Output{1, static_cast<float*>(out.get())});
  EXPECT_EQ(get(out, 1)[0], 1);
  float on_stack = 0;
  const std::vector<float> on_heap(1);
  for (const float* host : {static_cast<const float*>(&on_stack), on_heap.data()}) {
    EXPECT_THROW(launch(struct_kernel, {dim3(1), dim3(32), 0}, {}, stream_,
                        Output{1, const_cast<float*>(host)}),
                 Error);
    emulation::forget_fault();
  }
}

#ifdef __x86_64__
TEST_F(Emulation, CatchesABlockBeyondLaunchBounds) {
  const auto out = allocate(gpu_, 96 * 4);
  launch(bounded_kernel, {dim3(1), dim3(64), 0}, {}, stream_, static_cast<float*>(out.get()));
  EXPECT_EQ(get(out, 64)[63], 1);
  EXPECT_THROW(
      launch(bounded_kernel, {dim3(1), dim3(65), 0}, {}, stream_, static_cast<float*>(out.get())),
      Error);
  emulation::forget_fault();
}
#endif

TEST_F(Emulation, CatchesAlignedInstructionsAtTwoPlaces) {
  const auto out = allocate(gpu_, 32 * 4);
  const auto run = [&](bool two_mmas, bool two_barriers) {
    launch(two_places_kernel, {dim3(1), dim3(32), 0}, {}, stream_, static_cast<float*>(out.get()),
           two_mmas, two_barriers);
    return get(out, 32);
  };
  EXPECT_EQ(run(false, false)[0], 4);
  const auto expect_text = [&](bool two_mmas, bool two_barriers, const char* text) {
    try {
      run(two_mmas, two_barriers);
      ADD_FAILURE() << "no fault: expected " << text;
    } catch (const Error& e) {
      EXPECT_NE(std::string(e.what()).find(text), std::string::npos) << e.what();
    }
    emulation::forget_fault();
  };
  expect_text(true, false, "another mma.m16n8k8");
  expect_text(false, true, "another __syncthreads");
}

#ifdef WEFT_EMULATION_INITIALISES
TEST_F(Emulation, ShowsAnUninitialisedRegister) {
  const auto out = allocate(gpu_, 4 * 4);
  for (bool initialises : {true, false}) {
    launch(uninitialised_kernel, {dim3(1), dim3(4), 0}, {}, stream_, static_cast<float*>(out.get()),
           initialises);
    for (float x : get(out, 4)) EXPECT_EQ(x == 1, initialises) << x;
    EXPECT_TRUE(initialises || get(out, 1)[0] < -1e38f);
  }
}
#endif

#ifdef WEFT_EMULATION_FMA
TEST_F(Emulation, ContractsProductsAndSumsButNotTheRoundedOnes) {
  const auto out = allocate(gpu_, 3 * 4);
  constexpr float kA = 1 + 0x1p-12f, kProduct = 1 + 0x1p-11f;  // kA² = kProduct + 2^-24, a tie
  launch(contraction_kernel, {dim3(1), dim3(3), 0}, {}, stream_, static_cast<float*>(out.get()), kA,
         kA, kProduct);
  EXPECT_EQ(get(out, 3), (std::vector<float>{0x1p-24f, 0, 0}));
}
#endif

TEST_F(Emulation, ApproximatesWithinTheDocumentedError) {
  std::vector<float> x(32);
  for (std::size_t i = 0; i < 32; ++i) x[i] = 0.37f * static_cast<float>(i) - 6;
  x[31] = 0;
  const auto in = put(x), out = allocate(gpu_, 96 * 4);
  launch(approximation_kernel, {dim3(1), dim3(32), 0}, {}, stream_, static_cast<float*>(out.get()),
         static_cast<const float*>(in.get()));
  const auto y = get(out, 96);
  const auto off = [](float actual, double exact) {  // in units of the last place
    return (static_cast<double>(actual) - exact) / std::ldexp(1.0, std::ilogb(exact) - 23);
  };
  double most[3] = {};
  for (std::size_t i = 0; i < 31; ++i) {
    const double at = x[i], errors[3] = {off(y[i], std::exp2(at)), off(y[32 + i], std::exp(at)),
                                         off(y[64 + i], 1 / at)};
    EXPECT_LE(std::abs(errors[0]), 2.5) << x[i];
    EXPECT_LE(std::abs(errors[1]), 2.5 + 1.173 * std::abs(at)) << x[i];
    EXPECT_LE(std::abs(errors[2]), 2.5) << x[i];
    for (int k = 0; k < 3; ++k) most[k] = std::max(most[k], std::abs(errors[k]));
  }
  for (double m : most) EXPECT_GT(m, 1);
  EXPECT_EQ(y[31], 1);
  EXPECT_EQ(y[63], 1);
}

#ifdef __SANITIZE_ADDRESS__
using EmulationDeathTest = Emulation;
TEST_F(EmulationDeathTest, CatchesAnOutOfBoundsAccess) {
  EXPECT_DEATH(sums(Plant::out_of_bounds), "AddressSanitizer");
}
TEST_F(EmulationDeathTest, CatchesAnOutOfBoundsSharedWrite) {
  EXPECT_DEATH(sums(Plant::shared_out_of_bounds), "AddressSanitizer");
}
TEST_F(EmulationDeathTest, CatchesTheHostTouchingDeviceMemory) {
  const auto x = put({1, 2, 3, 4});
  EXPECT_DEATH(static_cast<float*>(x.get())[1] = 2, "AddressSanitizer");
}
#endif

TEST_F(Emulation, MultipliesFragmentsAsTheIsaSays) {
  std::vector<float> a(256), b(128);
  for (std::size_t i = 0; i < a.size(); ++i)
    a[i] = static_cast<float>(static_cast<int>(i * 7 % 23) - 11);  // exact in bf16 and tf32
  for (std::size_t i = 0; i < b.size(); ++i)
    b[i] = static_cast<float>(static_cast<int>(i * 5 % 19) - 9);
  std::vector<BFloat16> narrow_a, narrow_b;
  for (float x : a) narrow_a.push_back(to_bfloat16(x));
  for (float x : b) narrow_b.push_back(to_bfloat16(x));
  const auto device_a = allocate(gpu_, 512), device_b = allocate(gpu_, 256),
             d = allocate(gpu_, 512);
  copy_bytes(device_a.get(), narrow_a.data(), 512, stream_);
  copy_bytes(device_b.get(), narrow_b.data(), 256, stream_);
  launch(mma_kernel, {dim3(1), dim3(32), 768}, {}, stream_, static_cast<float*>(d.get()),
         static_cast<const __nv_bfloat16*>(device_a.get()),
         static_cast<const __nv_bfloat16*>(device_b.get()));
  auto result = get(d, 128);
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 8; ++n) {
      float sum = 0;
      for (std::size_t k = 0; k < 16; ++k) sum += a[m * 16 + k] * b[k * 8 + n];
      EXPECT_EQ(result[m * 8 + n], sum) << m << " " << n;
    }
  const auto float_a = put({a.begin(), a.begin() + 128}),
             float_b = put({b.begin(), b.begin() + 64});
  launch(mma_tf32_kernel, {dim3(1), dim3(32), 0}, {}, stream_, static_cast<float*>(d.get()),
         static_cast<const float*>(float_a.get()), static_cast<const float*>(float_b.get()));
  result = get(d, 128);
  for (std::size_t m = 0; m < 16; ++m)
    for (std::size_t n = 0; n < 8; ++n) {
      float sum = 0;
      for (std::size_t k = 0; k < 8; ++k) sum += a[m * 8 + k] * b[k * 8 + n];
      EXPECT_EQ(result[m * 8 + n], sum) << m << " " << n;
    }
}

// 1 and products of 2^-24: a tensor core cuts what 24 bits do not hold, four products of tf32 at a
// time, where fp32 would round.
TEST_F(Emulation, CutsSumsOfFragments) {
  constexpr float kSmall = 0x1p-24f, kUlp = 0x1p-23f;
  const auto sum_of = [&](const std::vector<float>& terms) {  // (8)
    std::vector<float> a(128, 0.0f);
    for (std::size_t k = 0; k < 8; ++k) a[k] = terms[k];
    const auto device_a = put(a), device_b = put(std::vector<float>(64, 1.0f)),
               d = allocate(gpu_, 512);
    launch(mma_tf32_kernel, {dim3(1), dim3(32), 0}, {}, stream_, static_cast<float*>(d.get()),
           static_cast<const float*>(device_a.get()), static_cast<const float*>(device_b.get()));
    return get(d, 128)[0];
  };
  EXPECT_EQ(sum_of({1, kSmall, kSmall, kSmall, 0, 0, 0, 0}), 1 + kUlp);
  EXPECT_EQ(sum_of({-1, -kSmall, -kSmall, -kSmall, 0, 0, 0, 0}), -1 - kUlp);
  EXPECT_EQ(sum_of({1, kSmall, 0, 0, kSmall, 0, 0, 0}), 1);
  EXPECT_EQ(sum_of({1, 0, 0, 0, kSmall, kSmall, 0, 0}), 1 + kUlp);
  EXPECT_EQ(sum_of({1, kSmall / 2, kSmall / 2, kSmall / 2, 0, 0, 0, 0}), 1);  // cut before the sum
  EXPECT_EQ(sum_of({1, -kSmall, 0, 0, 0, 0, 0, 0}), 1 - kSmall);
}

}  // namespace
}  // namespace weft::cuda

#include "memory.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "core/check.h"

namespace weft::gpu_bench {
namespace {

constexpr std::size_t kPatternElems = (16 << 20) + 4096;  // 64 MiB of fp32: beyond every L2
constexpr std::size_t kPatternStep =
    1 << 20 | 1 << 8;  // 16-byte aligned, and not a divisor of the whole
constexpr Device kGpu = {DeviceType::cuda, 0};
// No memory of a program begins here on x86-64 or AArch64 Linux: touching it is a fault.
constexpr std::uintptr_t kNowhere = 1ull << 56;

std::shared_ptr<void> upload(const void* from, std::size_t bytes, Stream& stream) {
  std::shared_ptr<void> memory = allocate(kGpu, bytes);
  copy_bytes(memory.get(), from, bytes, stream);
  return memory;
}

}  // namespace

Patterns::Patterns(Stream& stream) {
  std::mt19937_64 random(1);
  std::normal_distribution<float> normal;
  std::vector<float> values(kPatternElems);
  for (float& x : values) x = normal(random);
  std::vector<BFloat16> narrow(kPatternElems);
  std::transform(values.begin(), values.end(), narrow.begin(),
                 [](float x) { return to_bfloat16(x); });
  fp32_ = upload(values.data(), values.size() * sizeof(float), stream);
  bf16_ = upload(narrow.data(), narrow.size() * sizeof(BFloat16), stream);
  for (float& x : values) x = std::abs(x);
  fp32_positive_ = upload(values.data(), values.size() * sizeof(float), stream);
}

void Patterns::fill(View x, bool positive, Stream& stream) {
  CHECK(x.dtype() == DType::f32 || (x.dtype() == DType::bf16 && !positive), "no pattern of {}",
        dtype_name(x.dtype()));
  const auto* from = static_cast<const std::byte*>((x.dtype() == DType::bf16 ? bf16_
                                                    : positive               ? fp32_positive_
                                                                             : fp32_)
                                                       .get());
  auto* to = static_cast<std::byte*>(x.data());
  const std::size_t elem = dtype_bytes(x.dtype());
  for (std::size_t done = 0, elems = static_cast<std::size_t>(x.elems()); done < elems;) {
    const std::size_t n = std::min(elems - done, kPatternElems - next_);
    copy_bytes(to + done * elem, from + next_ * elem, n * elem, stream);
    done += n;
    next_ = (next_ + kPatternStep) % kPatternElems / 8 * 8;
  }
}

View Memory::take(DType dtype, const Dims& shape) {
  const std::size_t bytes = static_cast<std::size_t>(shape.elems()) * dtype_bytes(dtype),
                    padded = (bytes + 255) / 256 * 256;
  void* at = reinterpret_cast<void*>(kNowhere + bytes_);
  if (!pretended()) {
    blocks_.push_back(allocate(kGpu, bytes));
    at = blocks_.back().get();
  }
  bytes_ += padded;
  return View(at, dtype, shape, kGpu);
}

View Memory::normal(DType dtype, const Dims& shape) {
  const View x = take(dtype, shape);
  if (!pretended()) patterns_->fill(x, false, stream_);
  return x;
}

View Memory::positive(const Dims& shape) {
  const View x = take(DType::f32, shape);
  if (!pretended()) patterns_->fill(x, true, stream_);
  return x;
}

View Memory::ids(std::int64_t n, std::int64_t end) {
  std::mt19937_64 random(seed_++);
  std::uniform_int_distribution<std::int32_t> id(0, static_cast<std::int32_t>(end - 1));
  std::vector<std::int32_t> values(static_cast<std::size_t>(n));
  for (std::int32_t& x : values) x = id(random);
  return integers(values);
}

View Memory::counted(std::int64_t n, std::int64_t end) {
  std::vector<std::int32_t> values(static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < values.size(); ++i)
    values[i] = static_cast<std::int32_t>(static_cast<std::int64_t>(i) % end);
  return integers(values);
}

View Memory::integers(const std::vector<std::int32_t>& values) {
  const View x = take(DType::i32, {static_cast<std::int64_t>(values.size())});
  if (!pretended()) copy_bytes(x.data(), values.data(), x.bytes(), stream_);
  return x;
}

}  // namespace weft::gpu_bench

// Filling, moving and summing: what streams memory and computes next to nothing.
#include <algorithm>
#include <cmath>
#include <cstring>

#include "kernels/backends.h"
#include "kernels/cpu/parallel.h"

namespace weft::cpu {
namespace {

constexpr std::int64_t kGrain = 1 << 14;

template <class T>
void fill_with(View x, T value, Stream& stream) {
  T* to = x.as<T>();
  parallel_for(stream, x.elems(), kGrain, [&](std::int64_t begin, std::int64_t end) {
    std::fill(to + begin, to + end, value);
  });
}

std::size_t row_bytes(ConstView x) {
  return static_cast<std::size_t>(x.dim(1)) * dtype_bytes(x.dtype());
}

// Loss and gradient of one number.
struct Lost {
  float loss, gradient;
};
Lost lost(ElementLoss kind, float z, float target) {
  if (kind == ElementLoss::squared_error) return {(z - target) * (z - target), 2 * (z - target)};
  const float loss = std::max(z, 0.0f) - z * target + std::log1p(std::exp(-std::abs(z)));
  return {loss, 1 / (1 + std::exp(-z)) - target};
}

}  // namespace

void fill(View x, double value, Stream& stream) {
  const auto single = static_cast<float>(value);
  switch (x.dtype()) {
    case DType::f32:
      return fill_with(x, single, stream);
    case DType::bf16:
      return fill_with(x, to_bfloat16(single), stream);
    case DType::f16:
      return fill_with(x, to_float16(single), stream);
    case DType::f64:
      return fill_with(x, value, stream);
    default:
      return fill_with(x, static_cast<std::int32_t>(value), stream);
  }
}

void gather_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  const std::size_t bytes = row_bytes(x);
  const auto* at = rows.as<std::int32_t>();
  const auto* from = static_cast<const std::byte*>(x.data());
  auto* to = static_cast<std::byte*>(y.data());
  parallel_for(stream, y.dim(0), row_grain(y.dim(1)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t m = begin; m < end; ++m) {
      std::byte* row = to + static_cast<std::size_t>(m) * bytes;
      if (at[m] < 0)
        std::memset(row, 0, bytes);
      else
        std::memcpy(row, from + static_cast<std::size_t>(at[m]) * bytes, bytes);
    }
  });
}

void scatter_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  cpu::fill(y, 0, stream);
  const std::size_t bytes = row_bytes(x);
  const auto* at = rows.as<std::int32_t>();
  const auto* from = static_cast<const std::byte*>(x.data());
  auto* to = static_cast<std::byte*>(y.data());
  parallel_for(stream, x.dim(0), row_grain(x.dim(1)), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t m = begin; m < end; ++m)
      if (at[m] >= 0)
        std::memcpy(to + static_cast<std::size_t>(at[m]) * bytes,
                    from + static_cast<std::size_t>(m) * bytes, bytes);
  });
}

void join_columns(View whole, ConstView parts, std::span<const std::int64_t> widths,
                  std::span<const std::int64_t> held, Stream& stream) {
  const std::int64_t N = whole.dim(0), W = whole.dim(1);
  const std::size_t size = dtype_bytes(whole.dtype());
  const auto* from = static_cast<const std::byte*>(parts.data());
  auto* to = static_cast<std::byte*>(whole.data());
  parallel_for(stream, N, row_grain(W), [&](std::int64_t begin, std::int64_t end) {
    std::int64_t column = 0, part = 0;  // of the block, in whole and in parts
    for (std::size_t r = 0; r < widths.size(); ++r) {
      for (std::int64_t n = begin; n < end; ++n)
        std::memcpy(to + static_cast<std::size_t>(n * W + column) * size,
                    from + static_cast<std::size_t>(part + n * held[r]) * size,
                    static_cast<std::size_t>(widths[r]) * size);
      column += widths[r];
      part += N * held[r];
    }
  });
}

void add_sum(View total, ConstView x, Stream&) {
  const float* from = x.as<float>();
  double sum = *total.as<double>();
  for (std::int64_t i = 0; i < x.elems(); ++i) sum += from[i];
  *total.as<double>() = sum;
}

void element_loss(View loss, View dlogits, ConstView logits, ConstView labels, ConstView targets,
                  ElementLoss kind, float scale, Stream&) {
  const std::int64_t M = logits.dim(0), n = logits.dim(1);
  const float *z = logits.as<float>(), *target = targets.as<float>();
  float* dz = dlogits.empty() ? nullptr : dlogits.as<float>();
  for (std::int64_t m = 0; m < M; ++m) {
    const bool labelled = labels.as<std::int32_t>()[m] != kIgnoreLabel;
    double sum = 0;
    for (std::int64_t i = m * n; i < (m + 1) * n; ++i) {
      const Lost l = lost(kind, z[i], target[i]);
      sum += l.loss;
      if (dz) dz[i] = labelled ? l.gradient * scale / static_cast<float>(n) : 0.0f;
    }
    loss.as<float>()[m] = labelled ? static_cast<float>(sum / static_cast<double>(n)) : 0.0f;
  }
}

}  // namespace weft::cpu

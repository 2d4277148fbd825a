// Filling, moving and summing. Rows are moved as what they are in memory, 16 bytes at a time where
// they are aligned.
#include <algorithm>
#include <array>
#include <bit>

#include "kernels/cuda/arguments.cuh"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/cuda/vector.cuh"
#include "kernels/ops.h"

namespace weft::cuda {

constexpr int kThreads = 256;

template <class Word>
__global__ void __launch_bounds__(256) fill_kernel(Word* x, Word value, std::int64_t words) {
  const std::int64_t i = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i < words) x[i] = value;
}

template <class Word>
void fill_words(View x, Word value, Stream& stream) {
  const auto words = static_cast<std::int64_t>(x.bytes() / sizeof(Word));
  const LaunchShape shape = {{n_blocks(ceil_div(words, kThreads))}, {kThreads}};
  launch(fill_kernel<Word>, shape, {static_cast<double>(x.bytes()), 0}, stream, pointer<Word>(x),
         value, words);
}

// T: an integer of the element's size.
template <class T>
void fill_with(View x, T value, Stream& stream) {
  if ((reinterpret_cast<std::uintptr_t>(x.data()) | x.bytes()) % sizeof(uint4) != 0)
    return fill_words(x, value, stream);
  std::array<T, sizeof(uint4) / sizeof(T)> repeated;
  repeated.fill(value);
  fill_words(x, std::bit_cast<uint4>(repeated), stream);
}

void fill(View x, double value, Stream& stream) {
  const auto single = static_cast<float>(value);
  switch (x.dtype()) {
    case DType::f32:
      return fill_with(x, std::bit_cast<std::uint32_t>(single), stream);
    case DType::bf16:
      return fill_with(x, to_bfloat16(single).bits, stream);
    case DType::f16:
      return fill_with(x, to_float16(single).bits, stream);
    case DType::f64:
      return fill_with(x, std::bit_cast<std::uint64_t>(value), stream);
    default:
      return fill_with(x, static_cast<std::uint32_t>(static_cast<std::int32_t>(value)), stream);
  }
}

// Word: what a thread moves. A row has `words` of them; rows are blockIdx.y, gridDim.y apart.
// kScatter: y[rows[m]] = x[m], else y[m] = x[rows[m]] or 0.
template <class Word, bool kScatter>
__global__ void __launch_bounds__(256)
    move_rows_kernel(Word* y, const Word* x, const std::int32_t* rows, std::int64_t n_rows,
                     std::int64_t words) {
  const std::int64_t w = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (w >= words) return;
  for (std::int64_t m = blockIdx.y; m < n_rows; m += gridDim.y) {
    const std::int64_t row = rows[m];
    if constexpr (kScatter) {
      if (row >= 0) y[row * words + w] = x[m * words + w];
    } else {
      y[m * words + w] = row >= 0 ? x[row * words + w] : Word{};
    }
  }
}

// f(Word()) for the widest word that divides `bytes` and these addresses.
template <class F, class... Pointers>
void for_word(std::size_t bytes, const F& f, Pointers... pointers) {
  const std::uintptr_t all = (reinterpret_cast<std::uintptr_t>(pointers) | ... | bytes);
  if (all % sizeof(uint4) == 0)
    f(uint4{});
  else if (all % sizeof(std::uint32_t) == 0)
    f(std::uint32_t{});
  else
    f(std::uint16_t{});
}

template <bool kScatter>
void move_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  const std::int64_t M = rows.dim(0);
  const std::size_t bytes = static_cast<std::size_t>(x.dim(1)) * dtype_bytes(x.dtype());
  for_word(
      bytes,
      [&](auto zero) {
        using Word = decltype(zero);
        const auto words = static_cast<std::int64_t>(bytes / sizeof(Word));
        const LaunchShape shape = {{n_blocks(ceil_div(words, kThreads)),
                                    static_cast<unsigned>(std::min<std::int64_t>(M, 65535))},
                                   {kThreads}};
        const Work work = {static_cast<double>(M) * (2 * static_cast<double>(bytes) + 4), 0};
        launch(move_rows_kernel<Word, kScatter>, shape, work, stream, pointer<Word>(y),
               pointer<Word>(x), pointer<std::int32_t>(rows), M, words);
      },
      y.data(), x.data());
}

void gather_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  move_rows<false>(y, x, rows, stream);
}

void scatter_rows(View y, ConstView x, ConstView rows, Stream& stream) {
  cuda::fill(y, 0, stream);
  move_rows<true>(y, x, rows, stream);
}

// `words` words of each row of a block of columns, whose rows have `held`, to where they stand in
// rows of `pitch` words.
template <class Word>
__global__ void __launch_bounds__(256)
    place_columns_kernel(Word* to, const Word* from, std::int64_t n_rows, std::int64_t words,
                         std::int64_t held, std::int64_t pitch) {
  const std::int64_t w = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (w >= words) return;
  for (std::int64_t n = blockIdx.y; n < n_rows; n += gridDim.y)
    to[n * pitch + w] = from[n * held + w];
}

void join_columns(View whole, ConstView parts, std::span<const std::int64_t> widths,
                  std::span<const std::int64_t> held, Stream& stream) {
  const std::int64_t N = whole.dim(0);
  const std::size_t size = dtype_bytes(whole.dtype()),
                    pitch = static_cast<std::size_t>(whole.dim(1)) * size;
  auto* to = static_cast<std::byte*>(whole.data());
  const auto* from = static_cast<const std::byte*>(parts.data());
  for (std::size_t r = 0; r < widths.size(); ++r) {
    const std::size_t bytes = static_cast<std::size_t>(widths[r]) * size,
                      held_bytes = static_cast<std::size_t>(held[r]) * size;
    for_word(
        bytes | held_bytes | pitch,
        [&](auto zero) {
          using Word = decltype(zero);
          const auto words = static_cast<std::int64_t>(bytes / sizeof(Word));
          const LaunchShape shape = {{n_blocks(ceil_div(words, kThreads)),
                                      static_cast<unsigned>(std::min<std::int64_t>(N, 65535))},
                                     {kThreads}};
          const Work work = {2 * static_cast<double>(N) * static_cast<double>(bytes), 0};
          launch(place_columns_kernel<Word>, shape, work, stream, reinterpret_cast<Word*>(to),
                 reinterpret_cast<const Word*>(from), N, words,
                 static_cast<std::int64_t>(held_bytes / sizeof(Word)),
                 static_cast<std::int64_t>(pitch / sizeof(Word)));
        },
        to, from);
    to += bytes;
    from += static_cast<std::size_t>(N) * held_bytes;
  }
}

// One block: a thread's sum is of every 256th element, and the sums are added up in a fixed tree.
__global__ void __launch_bounds__(256)
    add_sum_kernel(double* total, const float* x, std::int64_t elems) {
  double sum = 0;
  for (std::int64_t i = threadIdx.x; i < elems; i += kThreads) sum += x[i];
  sum = block_sum_of_doubles(sum, shared_memory<double>());
  if (threadIdx.x == 0) *total += sum;
}

void add_sum(View total, ConstView x, Stream& stream) {
  const Work work = {static_cast<double>(x.bytes()) + 16, static_cast<double>(x.elems())};
  launch(add_sum_kernel, {{1}, {kThreads}, 32 * sizeof(double)}, work, stream,
         pointer<double>(total), pointer<float>(x), x.elems());
}

// A thread a row: there are few labels, and few rows.
template <class Act>
__global__ void __launch_bounds__(256)
    element_loss_kernel(float* loss, Act* dlogits, const Act* logits, const std::int32_t* labels,
                        const float* targets, std::int64_t rows, std::int64_t n, bool squared,
                        float scale) {
  const std::int64_t m = static_cast<std::int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (m >= rows) return;
  const bool labelled = labels[m] != kIgnoreLabel;
  double sum = 0;
  for (std::int64_t i = m * n; i < (m + 1) * n; ++i) {
    const float z = widen(logits[i]), target = targets[i];
    if (squared)
      sum += (z - target) * (z - target);
    else
      sum += fmaxf(z, 0.0f) - z * target + log1pf(expf(-fabsf(z)));
    const float gradient = squared ? 2 * (z - target) : 1 / (1 + expf(-z)) - target;
    if (dlogits)
      dlogits[i] = narrow<Act>(labelled ? gradient * scale / static_cast<float>(n) : 0.0f);
  }
  loss[m] = labelled ? static_cast<float>(sum / static_cast<double>(n)) : 0.0f;
}

void element_loss(View loss, View dlogits, ConstView logits, ConstView labels, ConstView targets,
                  ElementLoss kind, float scale, Stream& stream) {
  const std::int64_t M = logits.dim(0), n = logits.dim(1);
  const double elems = static_cast<double>(M * n);
  const Work work = {static_cast<double>(logits.bytes()) * (dlogits.empty() ? 1 : 2) + 4 * elems +
                         8 * static_cast<double>(M),
                     8 * elems};
  for_act(logits.dtype(), [&](auto zero) {
    using Act = decltype(zero);
    launch(element_loss_kernel<Act>, {{n_blocks(ceil_div(M, kThreads))}, {kThreads}}, work, stream,
           pointer<float>(loss), pointer<Act>(dlogits), pointer<Act>(logits),
           pointer<std::int32_t>(labels), pointer<float>(targets), M, n,
           kind == ElementLoss::squared_error, scale);
  });
}

}  // namespace weft::cuda

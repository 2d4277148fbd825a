// A row of logits as packs of 16 bytes. Rows begin anywhere (V need not be even), so packs lie at
// 16-byte boundaries of memory and the first and the last may stick out of the row.
#pragma once

#include <cstdint>

#include "kernels/cuda/vector.cuh"

namespace weft::cuda {

constexpr float kMinusInfinity = -__builtin_huge_valf();

template <class T>
struct LogitsRow {
  static constexpr int kPack = 16 / static_cast<int>(sizeof(T));
  T* row;  // (V)
  int V;
  int before;  // elements of the first pack that lie before the row
  int packs;

  __device__ __forceinline__ LogitsRow(T* first, int n)
      : row(first),
        V(n),
        before(static_cast<int>(reinterpret_cast<std::uintptr_t>(first) % 16 / sizeof(T))),
        packs((before + n + kPack - 1) / kPack) {}

  // Column of the pack's first element: negative in a first pack that sticks out.
  __device__ __forceinline__ int column(int pack) const { return pack * kPack - before; }

  __device__ __forceinline__ bool whole(int pack) const {
    return column(pack) >= 0 && column(pack) + kPack <= V;
  }

  // Elements outside the row, and packs outside it, read as -inf.
  __device__ __forceinline__ void load(float (&x)[kPack], int pack) const {
    const int c = column(pack);
    if (whole(pack)) return weft::cuda::load(x, row + c);
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      x[i] = c + i >= 0 && c + i < V ? widen(row[c + i]) : kMinusInfinity;
  }

  __device__ __forceinline__ void store(const float (&x)[kPack], int pack) const {
    const int c = column(pack);
    if (whole(pack)) return weft::cuda::store(row + c, x);
#pragma unroll
    for (int i = 0; i < kPack; ++i)
      if (c + i >= 0 && c + i < V) row[c + i] = narrow<T>(x[i]);
  }
};

}  // namespace weft::cuda

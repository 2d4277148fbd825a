// Products of operands that stay in a core's caches, each thread on a piece of c of its own: what a
// thread packs, it packs for itself, since lines that another core wrote cost more than the work.
#pragma once

#include <cstdint>

#include "core/tensor.h"
#include "kernels/cpu/gemm.h"

namespace weft::cpu {

// Whether all three operands are: 4 MiB of fp32, some 2 MiB of it a thread's.
bool is_small(const GemmShape& shape);

// Whether small_gemm() takes the shape and is the faster of the two (fp32 inputs).
bool small_gemm_serves(const GemmShape& shape);

// c = aᵀ b or c += aᵀ b, in fp32, as gemm() does. An element of c is summed in the order of K, in
// parts of a fixed length: its bits depend neither on the team nor on the rows and columns beside
// it.
void small_gemm(float* c, const float* a, const float* b, const GemmShape& shape, Stream& stream);

// Any product whose inputs are rounded to bf16 as they are packed, on CPUs whose vector units
// multiply it (AVX-512 BF16) and that have no AMX; b is fp32, or bf16 already. Sums as
// small_gemm().
bool small_bf16_gemm_serves(const GemmShape& shape, DType b);
std::size_t small_bf16_gemm_scratch_bytes(const GemmShape& shape, int n_threads);  // of a stream's
void small_bf16_gemm(float* c, const float* a, ConstView b, const float* bias /* or null */,
                     const GemmShape& shape, Stream& stream);

// Rows and columns of c.
struct GemmPiece {
  std::int64_t row, rows, column, columns;
};

// c cut into a piece for each thread such that the rows of a and columns of b that a thread reads
// are few; columns in multiples of `width`.
class GemmPieces {
 public:
  GemmPieces(const GemmShape& shape, std::int64_t width, std::int64_t threads);
  std::int64_t size() const { return down_ * across_; }
  std::int64_t rows() const { return rows_; }  // of the largest piece
  std::int64_t columns() const { return columns_; }
  GemmPiece operator[](std::int64_t i) const;

 private:
  std::int64_t M_, N_, rows_, columns_, down_, across_;
};

}  // namespace weft::cpu

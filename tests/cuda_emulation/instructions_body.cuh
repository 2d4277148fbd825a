// The instructions of kernels/cuda/instructions.cuh on the host. What a GPU leaves undefined is a
// Fault: misaligned addresses, lanes that do not take part, results read before the copy that
// brings them was waited for (the bytes are poison until then).
#pragma once

#include <bit>
#include <cmath>

#include "executor.h"
#include "rounding.h"

namespace weft::cuda {

template <class T>
T* shared_memory() {
  return static_cast<T*>(emulation::block_shared_memory());
}

}  // namespace weft::cuda

namespace weft::emulation {

// This thread's background copies, carried out as late as a GPU may: when they are waited for.
void copy_async(void* shared, const void* global, bool valid);
void commit();
void wait(int pending);

struct LoadOperand {
  const void* row;
  std::uint32_t* result;  // (4)
};
struct MmaOperand {
  float* d;                // (4)
  const std::uint32_t* a;  // (4)
  const std::uint32_t* b;  // (2)
};
void complete_load(void* const (&operands)[32], unsigned mask);
void complete_load_transposed(void* const (&operands)[32], unsigned mask);
void complete_mma_bf16(void* const (&operands)[32], unsigned mask);
void complete_mma_tf32(void* const (&operands)[32], unsigned mask);

}  // namespace weft::emulation

namespace weft::cuda {

inline void copy_async_16(void* shared, const void* global, bool valid) {
  emulation::copy_async(shared, global, valid);
}
inline void commit_copies() { emulation::commit(); }
template <int kPending>
void wait_copies() {
  emulation::wait(kPending);
}

// These are .aligned: all lanes of a warp come to the same one. Not inlined: where they return to
// tells one from another.
__attribute__((noinline)) inline void load_matrix_x4(std::uint32_t (&r)[4],
                                                     const void* shared_row) {
  emulation::LoadOperand operand = {shared_row, r};
  emulation::warp_collective(emulation::Collective::load_matrix, kFullWarp, &operand,
                             emulation::complete_load, __builtin_return_address(0));
}
__attribute__((noinline)) inline void load_matrix_x4_transposed(std::uint32_t (&r)[4],
                                                                const void* shared_row) {
  emulation::LoadOperand operand = {shared_row, r};
  emulation::warp_collective(emulation::Collective::load_matrix_transposed, kFullWarp, &operand,
                             emulation::complete_load_transposed, __builtin_return_address(0));
}
__attribute__((noinline)) inline void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4],
                                                   const std::uint32_t (&b)[2]) {
  emulation::MmaOperand operand = {d, a, b};
  emulation::warp_collective(emulation::Collective::mma_bf16, kFullWarp, &operand,
                             emulation::complete_mma_bf16, __builtin_return_address(0));
}
__attribute__((noinline)) inline void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                                       const std::uint32_t (&b)[2]) {
  emulation::MmaOperand operand = {d, a, b};
  emulation::warp_collective(emulation::Collective::mma_tf32, kFullWarp, &operand,
                             emulation::complete_mma_tf32, __builtin_return_address(0));
}
inline std::uint32_t to_tf32(float x) {
  const auto bits = std::bit_cast<std::uint32_t>(x);
  if ((bits & 0x7F800000u) == 0x7F800000u) return bits;  // infinity, NaN
  return (bits + 0x1000u) & ~0x1FFFu;  // half of the last kept bit's weight, away from zero
}

inline float exp2_approx(float x) {
  if (x == 0) return 1;
  const float y = emulation::approximate(std::exp2(x), 2, x);
  return y < 0x1p-126f ? 0.0f : y;
}

}  // namespace weft::cuda

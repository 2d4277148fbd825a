// The bodies behind instructions_body.cuh: fragment layouts written out element by element from the
// PTX ISA, section 9.7.14.
#include <cuda_runtime.h>

#include <bit>
#include <cstring>

#include "kernels/cuda/instructions.cuh"
#include "races.h"
#include "thread_copies.h"

namespace weft::emulation {
namespace {

float bf16_at(std::uint32_t pair, int half) {
  return std::bit_cast<float>((half == 0 ? pair << 16 : pair & 0xFFFF0000u));
}
// The tensor core reads the upper 19 bits.
float tf32(std::uint32_t bits) { return std::bit_cast<float>(bits & ~0x1FFFu); }

template <bool kTransposed>
void load(void* const (&operands)[32]) {
  std::uint16_t rows[4][8][8];
  for (int l = 0; l < 32; ++l) {
    const void* row = static_cast<const LoadOperand*>(operands[l])->row;
    if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
      fault("ldmatrix from an address that is no multiple of 16");
    race_access(row, 16, Access::read, running_thread() / 32 * 32 + l);
    std::memcpy(rows[l / 8][l % 8], row, 16);
  }
  for (int l = 0; l < 32; ++l)
    for (int i = 0; i < 4; ++i) {
      const int r = l / 4, c = l % 4 * 2;
      const std::uint32_t low = kTransposed ? rows[i][c][r] : rows[i][r][c],
                          high = kTransposed ? rows[i][c + 1][r] : rows[i][r][c + 1];
      static_cast<const LoadOperand*>(operands[l])->result[i] = low | high << 16;
    }
}

// d (16, 8) += a (16, kK) b (kK, 8), summed in fp32 in the order of k. Its operands were checked
// where they were made; it takes most of the emulation's time.
template <int kK>
__attribute__((no_sanitize("address", "undefined"), optimize("O3"))) void multiply(
    void* const (&operands)[32], const float (&a)[16][kK], const float (&b)[kK][8]) {
  float product[16][8] = {};
  for (int row = 0; row < 16; ++row)
    for (int k = 0; k < kK; ++k)
      for (int column = 0; column < 8; ++column) product[row][column] += a[row][k] * b[k][column];
  for (int l = 0; l < 32; ++l) {
    float* d = static_cast<const MmaOperand*>(operands[l])->d;
    for (int i = 0; i < 4; ++i) d[i] += product[l / 4 + i / 2 * 8][l % 4 * 2 + i % 2];
  }
}

}  // namespace

void complete_load(void* const (&operands)[32], unsigned) { load<false>(operands); }
void complete_load_transposed(void* const (&operands)[32], unsigned) { load<true>(operands); }

void complete_mma_bf16(void* const (&operands)[32], unsigned) {
  float a[16][16], b[16][8];
  for (int l = 0; l < 32; ++l) {
    const auto& o = *static_cast<const MmaOperand*>(operands[l]);
    const int g = l / 4, t = l % 4;
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i)
        a[g + i % 2 * 8][2 * t + half + i / 2 * 8] = bf16_at(o.a[i], half);
      for (int i = 0; i < 2; ++i) b[2 * t + half + i * 8][g] = bf16_at(o.b[i], half);
    }
  }
  multiply<16>(operands, a, b);
}

void complete_mma_tf32(void* const (&operands)[32], unsigned) {
  float a[16][8], b[8][8];
  for (int l = 0; l < 32; ++l) {
    const auto& o = *static_cast<const MmaOperand*>(operands[l]);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = tf32(o.a[i]);
    for (int i = 0; i < 2; ++i) b[t + i * 4][g] = tf32(o.b[i]);
  }
  multiply<8>(operands, a, b);
}

// The destination is poison until the copy is waited for: a kernel that reads early sees NaNs.
void copy_async(void* shared, const void* global, bool valid) {
  if (reinterpret_cast<std::uintptr_t>(shared) % 16 != 0)
    fault("cp.async to an address that is no multiple of 16");
  if (valid && reinterpret_cast<std::uintptr_t>(global) % 16 != 0)
    fault("cp.async from an address that is no multiple of 16");
  ThreadCopies::Copy copy = {shared, {}};
  if (valid) race_access(global, 16, Access::read, running_thread());
  race_access(shared, 16, Access::write, running_thread());
  if (valid) std::memcpy(copy.bytes, global, 16);
  std::memset(shared, 0xFF, 16);
  thread_copies().open.push_back(copy);
}

void commit() {
  auto& copies = thread_copies();
  copies.groups.push_back(std::move(copies.open));
  copies.open.clear();
}

void wait(int pending) {
  auto& copies = thread_copies();
  while (copies.groups.size() > static_cast<std::size_t>(pending)) {
    for (const auto& copy : copies.groups.front()) std::memcpy(copy.shared, copy.bytes, 16);
    copies.groups.pop_front();
  }
}

}  // namespace weft::emulation

// The bodies behind instructions_body.cuh: fragment layouts written out element by element from the
// PTX ISA, section 9.7.14.
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cstdlib>
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

// How an A100's tensor core sums: kBlock products at a time, exact, and the sum so far are aligned
// to the largest exponent, cut to a float's 24 bits and one more, added, and the sum is cut to 24
// bits. (An H100 has twice the block and two more bits, so what passes here passes there.) Fasi,
// Higham, Mikaitis, Pranesh: Numerical behavior of NVIDIA tensor cores, PeerJ CS 7:e330, 2021;
// Khattak, Mikaitis: Accurate models of NVIDIA tensor cores, arXiv 2512.07004, and its
// models/A100TC.m.
constexpr int kTf32Block = 4, kBf16Block = 8, kExtraBits = 1;

// The exponent of x; very large where x is no number. What is below 2^-100 counts as that.
constexpr int kLeastExponent = -100, kNoNumber = 1000, kMostExponent = 120;
inline int exponent(float x) {
  const int field = static_cast<int>(std::bit_cast<std::uint32_t>(x) >> 23 & 0xFF);
  return field == 0xFF ? kNoNumber : field - 127;
}
inline float power_of_2(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

// sum (8) += row (kK) b (kK, 8)
template <int kK, int kBlock>
__attribute__((no_sanitize("address", "undefined"), optimize("O3"))) void multiply_row(
    float (&sum)[8], const float (&row)[kK], const float (&b)[kK][8],
    const int (&b_exponents)[kK][8]) {
  for (int first = 0; first < kK; first += kBlock) {
    float product[kBlock][8];
    int top[8], largest = kLeastExponent;
    for (int c = 0; c < 8; ++c) top[c] = std::max(kLeastExponent, exponent(sum[c]));
    for (int k = 0; k < kBlock; ++k) {
      const float a = row[first + k];
      const int a_exponent = exponent(a);
      for (int c = 0; c < 8; ++c) {
        product[k][c] = a * b[first + k][c];
        top[c] = std::max(top[c], a_exponent + b_exponents[first + k][c]);
      }
    }
    for (int c = 0; c < 8; ++c) largest = std::max(largest, top[c]);
    if (largest > kMostExponent) {  // infinities, NaNs and what is near them
      for (int c = 0; c < 8; ++c)
        for (int k = 0; k < kBlock; ++k) sum[c] += product[k][c];
      continue;
    }
    int total[8];
    float unit[8];
    for (int c = 0; c < 8; ++c) {
      unit[c] = power_of_2(23 + kExtraBits - top[c]);
      total[c] = static_cast<int>(sum[c] * unit[c]);  // a cast cuts
    }
    for (int k = 0; k < kBlock; ++k)
      for (int c = 0; c < 8; ++c) total[c] += static_cast<int>(product[k][c] * unit[c]);
    for (int c = 0; c < 8; ++c) {
      const float nearest = static_cast<float>(total[c]);
      const bool beyond = std::abs(static_cast<int>(nearest)) > std::abs(total[c]);
      const float cut = std::bit_cast<float>(std::bit_cast<int>(nearest) - (beyond ? 1 : 0));
      sum[c] = cut * power_of_2(top[c] - 23 - kExtraBits);
    }
  }
}

// d (16, 8) += a (16, kK) b (kK, 8). Its operands were checked where they were made; it takes much
// of the emulation's time.
template <int kK, int kBlock>
__attribute__((no_sanitize("address", "undefined"), optimize("O3"))) void multiply(
    void* const (&operands)[32], const float (&a)[16][kK], const float (&b)[kK][8]) {
  int b_exponents[kK][8];
  for (int k = 0; k < kK; ++k)
    for (int column = 0; column < 8; ++column) b_exponents[k][column] = exponent(b[k][column]);
  float* d[32];
  for (int l = 0; l < 32; ++l) d[l] = static_cast<const MmaOperand*>(operands[l])->d;
  for (int row = 0; row < 16; ++row) {
    const int half = row / 8 * 2, lane = row % 8 * 4;
    float sum[8];
    for (int column = 0; column < 8; ++column)
      sum[column] = d[lane + column / 2][half + column % 2];
    multiply_row<kK, kBlock>(sum, a[row], b, b_exponents);
    for (int column = 0; column < 8; ++column)
      d[lane + column / 2][half + column % 2] = sum[column];
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
  multiply<16, kBf16Block>(operands, a, b);
}

void complete_mma_tf32(void* const (&operands)[32], unsigned) {
  float a[16][8], b[8][8];
  for (int l = 0; l < 32; ++l) {
    const auto& o = *static_cast<const MmaOperand*>(operands[l]);
    const int g = l / 4, t = l % 4;
    for (int i = 0; i < 4; ++i) a[g + i % 2 * 8][t + i / 2 * 4] = tf32(o.a[i]);
    for (int i = 0; i < 2; ++i) b[t + i * 4][g] = tf32(o.b[i]);
  }
  multiply<8, kTf32Block>(operands, a, b);
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

// Included before every .cu source that the host compiler compiles: CUDA C++'s built-in names, over
// the executor.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <type_traits>

#include "executor.h"
#include "rounding.h"

// Only shared_memory<T>() of kernels/cuda/instructions.cuh: it is poisoned before each block, and
// its ends are watched.
#undef __shared__
#define __shared__ weft_kernels_use_shared_memory_of_instructions_h
#undef __forceinline__
#define __forceinline__ inline
#undef __launch_bounds__
// A kernel's largest block, as a NOP for each of its warps before the first instruction
// (launch_body.cuh counts them).
#define __launch_bounds__(...) \
  __attribute__((patchable_function_entry(weft::emulation::bounded_warps(__VA_ARGS__))))

#define threadIdx (::weft::emulation::place().thread)
#define blockIdx (::weft::emulation::place().block)
#define blockDim (::weft::emulation::place().block_dim)
#define gridDim (::weft::emulation::place().grid_dim)
constexpr int warpSize = 32;

namespace weft::emulation {

void heard_atomic(const void* p, std::size_t bytes);  // races.h

constexpr int bounded_warps(int threads, int = 0) { return (threads + 31) / 32; }

template <class T>
struct ShuffleOperand {
  T value;
  int argument;  // source lane, distance or lane mask
  int width;
  T result;
};

template <class T, Collective kKind>
void complete_shuffle(void* const (&operands)[32], unsigned mask) {
  for (int lane = 0; lane < 32; ++lane) {
    if (!operands[lane]) continue;
    auto& own = *static_cast<ShuffleOperand<T>*>(operands[lane]);
    const int base = lane / own.width * own.width, end = base + own.width;
    int source = lane;
    if (kKind == Collective::shuffle_index) source = base + (own.argument & (own.width - 1));
    if (kKind == Collective::shuffle_up)
      source = lane - own.argument < base ? lane : lane - own.argument;
    if (kKind == Collective::shuffle_down)
      source = lane + own.argument >= end ? lane : lane + own.argument;
    if (kKind == Collective::shuffle_xor)
      source = (lane ^ own.argument) >= end ? lane : lane ^ own.argument;
    if ((mask >> source & 1) == 0)
      fault("a shuffle reads lane " + std::to_string(source) + ", which its mask leaves out");
    own.result = static_cast<ShuffleOperand<T>*>(operands[source])->value;
  }
}

template <Collective kKind, class T>
T shuffle(unsigned mask, T value, int argument, int width) {
  static_assert(std::is_trivially_copyable_v<T>);
  ShuffleOperand<T> operand = {value, argument, width, value};
  warp_collective(kKind, mask, &operand, complete_shuffle<T, kKind>);
  return operand.result;
}

struct VoteOperand {
  bool predicate;
  unsigned result;
};

inline unsigned ballot(unsigned mask, bool predicate) {
  VoteOperand operand = {predicate, 0};
  warp_collective(Collective::ballot, mask, &operand, [](void* const(&operands)[32], unsigned) {
    unsigned bits = 0;
    for (int l = 0; l < 32; ++l)
      if (operands[l] && static_cast<VoteOperand*>(operands[l])->predicate) bits |= 1u << l;
    for (void* o : operands)
      if (o) static_cast<VoteOperand*>(o)->result = bits;
  });
  return operand.result;
}

}  // namespace weft::emulation

template <class T>
T __shfl_sync(unsigned mask, T value, int lane, int width = 32) {
  return weft::emulation::shuffle<weft::emulation::Collective::shuffle_index>(mask, value, lane,
                                                                              width);
}
template <class T>
T __shfl_up_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  return weft::emulation::shuffle<weft::emulation::Collective::shuffle_up>(
      mask, value, static_cast<int>(distance), width);
}
template <class T>
T __shfl_down_sync(unsigned mask, T value, unsigned distance, int width = 32) {
  return weft::emulation::shuffle<weft::emulation::Collective::shuffle_down>(
      mask, value, static_cast<int>(distance), width);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int lanes, int width = 32) {
  return weft::emulation::shuffle<weft::emulation::Collective::shuffle_xor>(mask, value, lanes,
                                                                            width);
}

inline unsigned __ballot_sync(unsigned mask, int predicate) {
  return weft::emulation::ballot(mask, predicate != 0);
}
inline int __any_sync(unsigned mask, int predicate) { return __ballot_sync(mask, predicate) != 0; }
inline int __all_sync(unsigned mask, int predicate) {
  return __ballot_sync(mask, predicate) == mask;
}
inline void __syncwarp(unsigned mask = 0xFFFFFFFFu) {
  int unused = 0;
  weft::emulation::warp_collective(weft::emulation::Collective::sync_warp, mask, &unused,
                                   [](void* const(&)[32], unsigned) {});
}
// Not inlined: where they return to tells one barrier of a kernel from another.
__attribute__((noinline)) inline void __syncthreads() {
  weft::emulation::block_barrier(0, __builtin_return_address(0));
}
__attribute__((noinline)) inline int __syncthreads_count(int predicate) {
  return weft::emulation::block_barrier(predicate, __builtin_return_address(0));
}
__attribute__((noinline)) inline int __syncthreads_or(int predicate) {
  return weft::emulation::block_barrier(predicate, __builtin_return_address(0)) != 0;
}
__attribute__((noinline)) inline int __syncthreads_and(int predicate) {
  return weft::emulation::block_barrier(predicate == 0, __builtin_return_address(0)) == 0;
}
inline void __threadfence() {}
inline void __threadfence_block() {}

// Fibers switch only where they wait, so a plain read and write is atomic; and no race, whoever
// else does the same.
template <class T, class F>
__attribute__((noinline, no_sanitize("thread"))) T weft_atomic(T* p, F change) {
#ifdef __SANITIZE_THREAD__
  weft::emulation::heard_atomic(p, sizeof(T));
#endif
  const T before = *p;
  *p = change(before);
  return before;
}
template <class T>
T atomicAdd(T* p, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T old) { return static_cast<T>(old + x); });
}
template <class T>
T atomicMax(T* p, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T old) { return old < x ? x : old; });
}
template <class T>
T atomicMin(T* p, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T old) { return x < old ? x : old; });
}
template <class T>
T atomicOr(T* p, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T old) { return old | x; });
}
template <class T>
T atomicAnd(T* p, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T old) { return old & x; });
}
template <class T>
T atomicExch(T* p, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T) { return x; });
}
template <class T>
T atomicCAS(T* p, std::type_identity_t<T> compare, std::type_identity_t<T> x) {
  return weft_atomic(p, [&](T old) { return old == compare ? x : old; });
}

template <class T>
T __ldg(const T* p) {
  return *p;
}

inline float __expf(float x) {
  if (x == 0) return 1;
  return weft::emulation::approximate(
      std::exp(x), 2 + static_cast<int>(std::min(1.173f * std::abs(x), 200.0f)), x);
}
inline float __fdividef(float a, float b) {
  if (std::abs(b) > 0x1p126f && std::isfinite(b)) return std::isfinite(a) ? 0.0f : NAN;
  return weft::emulation::approximate(a / b, 2, b);
}
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fmul_rn(float a, float b) { return weft::emulation::apart(a * b); }
inline float __fadd_rn(float a, float b) {
  return weft::emulation::apart(a) + weft::emulation::apart(b);
}
inline float rsqrtf(float x) { return weft::emulation::approximate(1.0f / std::sqrt(x), 2, x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline long long __double_as_longlong(double x) { return std::bit_cast<long long>(x); }
inline double __longlong_as_double(long long x) { return std::bit_cast<double>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __clzll(long long x) { return std::countl_zero(static_cast<unsigned long long>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __brev(unsigned x) {
  unsigned r = 0;
  for (int i = 0; i < 32; ++i) r |= (x >> i & 1u) << (31 - i);
  return r;
}
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>(static_cast<unsigned long long>(a) * b >> 32);
}
template <class T>
constexpr T min(T a, std::type_identity_t<T> b) {
  return b < a ? b : a;
}
template <class T>
constexpr T max(T a, std::type_identity_t<T> b) {
  return a < b ? b : a;
}

// Runs of kN consecutive elements between memory and fp32 registers: 16 bytes at a time, or one
// element where alignment allows no more.
#pragma once

#include <cuda_bf16.h>
#include <cuda_fp16.h>

namespace weft::cuda {

__device__ __forceinline__ float widen(float x) { return x; }
__device__ __forceinline__ float widen(__nv_bfloat16 x) { return __bfloat162float(x); }
__device__ __forceinline__ float widen(__half x) { return __half2float(x); }

template <class T>
__device__ __forceinline__ T narrow(float x);  // to nearest even
template <>
__device__ __forceinline__ float narrow<float>(float x) {
  return x;
}
template <>
__device__ __forceinline__ __nv_bfloat16 narrow<__nv_bfloat16>(float x) {
  return __float2bfloat16_rn(x);
}
template <>
__device__ __forceinline__ __half narrow<__half>(float x) {
  return __float2half_rn(x);
}

// kN elements as they lie in memory, copied in pieces of 16 bytes at most.
template <class T, int kN>
struct alignas(kN * sizeof(T) < 16 ? kN * sizeof(T) : 16) Pack {
  T e[kN];
};

// r <- p[0 … kN);  p is aligned as Pack<T, kN>.
template <class T, int kN>
__device__ __forceinline__ void load(float (&r)[kN], const T* p) {
  const Pack<T, kN> pack = *reinterpret_cast<const Pack<T, kN>*>(p);
#pragma unroll
  for (int i = 0; i < kN; ++i) r[i] = widen(pack.e[i]);
}

// p[0 … kN) <- r, rounded to T.
template <class T, int kN>
__device__ __forceinline__ void store(T* p, const float (&r)[kN]) {
  Pack<T, kN> pack;
#pragma unroll
  for (int i = 0; i < kN; ++i) pack.e[i] = narrow<T>(r[i]);
  *reinterpret_cast<Pack<T, kN>*>(p) = pack;
}

// x as T would store it.
template <class T>
__device__ __forceinline__ float rounded(float x) {
  return widen(narrow<T>(x));
}

}  // namespace weft::cuda

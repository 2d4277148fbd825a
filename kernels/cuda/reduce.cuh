// Sums and maxima over warps and teams of warps, in one fixed tree: the same bits whatever the
// schedule. Every lane gets the result.
#pragma once

#include "kernels/cuda/instructions.cuh"

namespace weft::cuda {

__device__ __forceinline__ float warp_sum(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kFullWarp, x, lanes);
  return x;
}

__device__ __forceinline__ float warp_max(float x) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x = fmaxf(x, __shfl_xor_sync(kFullWarp, x, lanes));
  return x;
}

// What a block's reductions need of shared memory, for kK values at once.
template <int kK>
constexpr int kReduceFloats = 32 * kK;  // a warp's value each

// x[k] <- Σ over the caller's team. A block is teams of `team_warps` warps each (32 at most in all;
// one team: the block), numbered along threadIdx.x; all of its threads must call. `shared` is
// kReduceFloats<kK> floats, free again on return.
template <int kK>
__device__ __forceinline__ void team_sum(float (&x)[kK], int team_warps, float* shared) {
#pragma unroll
  for (int k = 0; k < kK; ++k) x[k] = warp_sum(x[k]);
  if (team_warps == 1) return;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  if (lane == 0) {
#pragma unroll
    for (int k = 0; k < kK; ++k) shared[k * 32 + warp] = x[k];
  }
  __syncthreads();
  const int first = warp / team_warps * team_warps;
#pragma unroll
  for (int k = 0; k < kK; ++k)
    x[k] = warp_sum(lane < team_warps ? shared[k * 32 + first + lane] : 0.0f);
  __syncthreads();
}

// Over the whole block, one-dimensional.
__device__ __forceinline__ float block_sum(float x, float* shared) {
  float one[1] = {x};
  team_sum(one, static_cast<int>(blockDim.x) / 32, shared);
  return one[0];
}

__device__ __forceinline__ float block_max(float x, float* shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps = static_cast<int>(blockDim.x) / 32;
  x = warp_max(x);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  x = warp_max(shared[lane < warps ? lane : 0]);
  __syncthreads();
  return x;
}

// The block's sum of one double a thread, in a fixed tree; the result is thread 0's.
__device__ __forceinline__ double block_sum_of_doubles(double x, double* shared) {
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32,
            warps = static_cast<int>(blockDim.x) / 32;
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kFullWarp, x, lanes);
  if (lane == 0) shared[warp] = x;
  __syncthreads();
  if (warp != 0) return 0;
  x = lane < warps ? shared[lane] : 0;
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) x += __shfl_xor_sync(kFullWarp, x, lanes);
  return x;
}

}  // namespace weft::cuda

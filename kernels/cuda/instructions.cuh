// GPU instructions without a spelling in C++, one function each. Two bodies: PTX
// (kernels/cuda/nvcc, when nvcc compiles) and an emulation on the host (tests/cuda_emulation). The
// include path decides. Fragment layouts are those of the PTX ISA, section 9.7.14.
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

namespace weft::cuda {

constexpr unsigned kFullWarp = 0xFFFFFFFFu;

// The block's dynamic shared memory (LaunchShape::shared_bytes of it), 128-byte aligned. The only
// shared memory that kernels use: the emulation poisons it and puts fences around it.
template <class T>
__device__ T* shared_memory();

// Copies 16 bytes from global to shared memory in the background; zeros where not `valid` (then
// `global` is not read).
__device__ void copy_async_16(void* shared, const void* global, bool valid);
__device__ void commit_copies();  // ends a group of copies
template <int kPending>
__device__ void wait_copies();  // of this thread, until at most kPending groups are under way;
                                // other threads' need __syncthreads() too

// Four 8x8 matrices of 16-bit elements: lane 8i + j holds the address of row j (16 bytes, 16-byte
// aligned) of matrix i. Lane l gets, of matrix i in r[i], the elements (l/4, 2(l%4)) and (l/4,
// 2(l%4) + 1); transposed: (2(l%4), l/4) and (2(l%4) + 1, l/4).
__device__ void load_matrix_x4(std::uint32_t (&r)[4], const void* shared_row);
__device__ void load_matrix_x4_transposed(std::uint32_t (&r)[4], const void* shared_row);

// d (16, 8) += a (16, 16) b (16, 8). With g = lane/4, t = lane%4, pairs of bf16, lower k or column
// in the lower half:
//   a[0] (g, 2t..)  a[1] (g+8, 2t..)  a[2] (g, 2t+8..)  a[3] (g+8, 2t+8..)    b[0] (2t.., g)  b[1]
//   (2t+8.., g) d[0], d[1] (g, 2t), (g, 2t+1)     d[2], d[3] (g+8, 2t), (g+8, 2t+1)
__device__ void mma_m16n8k16(float (&d)[4], const std::uint32_t (&a)[4],
                             const std::uint32_t (&b)[2]);

// d (16, 8) += a (16, 8) b (8, 8) in tf32 (10 bits of fraction; operands from to_tf32):
//   a[0] (g, t)  a[1] (g+8, t)  a[2] (g, t+4)  a[3] (g+8, t+4)    b[0] (t, g)  b[1] (t+4, g)    d
//   as above
__device__ void mma_m16n8k8_tf32(float (&d)[4], const std::uint32_t (&a)[4],
                                 const std::uint32_t (&b)[2]);
__device__ std::uint32_t to_tf32(float x);  // round to nearest, ties away from zero

// 2^x to 2^-22, denormal results flushed to 0: one instruction, where exp2f takes four.
__device__ float exp2_approx(float x);

}  // namespace weft::cuda

#include "instructions_body.cuh"

// What the tests of the emulation ask of it.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>
#include <functional>

namespace weft::emulation {

void enqueue(cudaStream_t stream, std::function<void()> work);
void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                    std::function<void()> kernel);
void forget_fault();  // after a planted one: the next calls start afresh
std::uint64_t kernels_launched();

}  // namespace weft::emulation

// How kernels are started: launch(kernel, shape, work, stream, arguments…), because <<< >>> is not
// C++ and because every launch states the bytes and FLOPs it cannot do without. For sources of
// kernels/cuda only.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>
#include <limits>
#include <string>
#include <type_traits>
#include <vector>

#include "core/check.h"
#include "core/device.h"

#define CUDA_CHECK(call)                                                           \
  do {                                                                             \
    const cudaError_t result = (call);                                             \
    CHECK(result == cudaSuccess, "{}: {} ({})", #call, cudaGetErrorString(result), \
          static_cast<int>(result));                                               \
  } while (false)

namespace weft::cuda {

struct LaunchShape {
  dim3 grid, block;
  std::size_t shared_bytes = 0;
};

// What a launch must do at least: device memory read and written once each, and floating-point
// operations (an fma is two).
struct Work {
  double bytes = 0, flops = 0;
};

// The launches of a stream since it was switched on: for benchmarks and for the table in
// kernels/README.md. stream.attached<LaunchLog>().
struct LaunchLog {
  struct Entry {
    const void* kernel;  // null: a product of matrices by cuBLASLt
    LaunchShape shape;
    Work work;
  };
  bool on = false;
  bool dry = false;  // only log, do not run
  std::vector<Entry> entries;
};

inline cudaStream_t native(Stream& stream) { return static_cast<cudaStream_t>(stream.native()); }

}  // namespace weft::cuda

// start_kernel(kernel, shape, cudaStream_t, arguments…): on the device, or in the emulation
#include "launch_body.cuh"

namespace weft::cuda {

template <class... Params, class... Args>
void launch(void (*kernel)(Params...), const LaunchShape& shape, const Work& work, Stream& stream,
            Args... args) {
  if (shape.grid.x == 0 || shape.grid.y == 0 || shape.grid.z == 0) return;  // nothing to do
  CHECK(shape.grid.y <= 65535 && shape.grid.z <= 65535, "a grid of ({}, {}, {}) blocks",
        shape.grid.x, shape.grid.y, shape.grid.z);
  auto& log = stream.attached<LaunchLog>();
  if (log.on) log.entries.push_back({reinterpret_cast<const void*>(kernel), shape, work});
  const DeviceGuard current(stream.device());
  if (!log.dry) start_kernel(kernel, shape, native(stream), static_cast<Params>(args)...);
}

constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

// A size as kernels count it, and how many blocks a grid has in x.
inline int as_int(std::int64_t n) {
  CHECK(n >= 0 && n <= std::numeric_limits<int>::max(), "{} is more than the GPU's kernels count",
        n);
  return static_cast<int>(n);
}
inline unsigned n_blocks(std::int64_t n) { return static_cast<unsigned>(as_int(n)); }

}  // namespace weft::cuda

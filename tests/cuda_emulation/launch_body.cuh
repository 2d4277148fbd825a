// start_kernel under emulation: the launch is queued on its stream and runs when somebody waits for
// the stream.
#pragma once

#include <functional>
#include <type_traits>

namespace weft::emulation {

void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                    std::function<void()> kernel);
void expect_device_memory(const void* argument);  // a Fault where a kernel is handed a host pointer

}  // namespace weft::emulation

namespace weft::cuda {

template <class... Params>
void start_kernel(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                  Params... args) {
  const auto expect_device = []<class T>(const T& x) {
    if constexpr (std::is_pointer_v<T>) emulation::expect_device_memory(x);
  };
  (expect_device(args), ...);
  emulation::enqueue_kernel(stream, shape.grid, shape.block, shape.shared_bytes,
                            [=] { kernel(args...); });
  CUDA_CHECK(cudaPeekAtLastError());
}

}  // namespace weft::cuda

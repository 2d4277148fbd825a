// start_kernel under emulation: the launch is queued on its stream and runs when somebody waits for
// the stream.
#pragma once

#include <functional>
#include <type_traits>

namespace weft::emulation {

void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                    std::function<void()> kernel);
// Faults where a kernel is handed a host pointer, also among the bytes of a struct, and where a
// block has more threads than the kernel's __launch_bounds__.
void expect_device_memory(const void* argument);
void expect_no_host_pointer(const void* argument, std::size_t bytes);
void expect_block(const void* kernel, dim3 block);

}  // namespace weft::emulation

namespace weft::cuda {

template <class... Params>
void start_kernel(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                  Params... args) {
  const auto expect_device = []<class T>(const T& x) {
    if constexpr (std::is_pointer_v<T>) emulation::expect_device_memory(x);
#if __has_builtin(__builtin_clear_padding)  // else what lies between members may look like one
    if constexpr (std::is_class_v<T> && std::is_trivially_copyable_v<T>) {
      T copy = x;
      __builtin_clear_padding(&copy);
      emulation::expect_no_host_pointer(&copy, sizeof(copy));
    }
#endif
  };
  (expect_device(args), ...);
  emulation::expect_block(reinterpret_cast<const void*>(kernel), shape.block);
  emulation::enqueue_kernel(stream, shape.grid, shape.block, shape.shared_bytes,
                            [=] { kernel(args...); });
  CUDA_CHECK(cudaPeekAtLastError());
}

}  // namespace weft::cuda

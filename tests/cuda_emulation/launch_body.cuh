// start_kernel under emulation: the launch is queued on its stream and runs when somebody waits for
// the stream.
#pragma once

#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include "accesses.h"

namespace weft::emulation {

void enqueue_kernel(cudaStream_t stream, const void* kernel, dim3 grid, dim3 block,
                    std::size_t shared_bytes, std::vector<Range> touches,
                    std::function<void()> run);
// Adds a range, as far as it lies in the GPU's memory.
void touch_first(std::vector<Range>& touches, const Range& range);
// Faults where a kernel is handed a host pointer, also among the bytes of a struct, and where a
// block has more threads than the kernel's __launch_bounds__. What a struct points to is read, as
// far as can be told.
void expect_device_memory(const void* argument);
void expect_no_host_pointer(const void* argument, std::size_t bytes, std::vector<Range>& touches);
void expect_block(const void* kernel, dim3 block);

}  // namespace weft::emulation

namespace weft::cuda {

template <class... Params>
void start_kernel(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                  Params... args) {
  // How far a kernel goes is not known before it runs, but that it comes to the first element of
  // what it is handed; with -fsanitize=thread each access is heard (races.h).
  std::vector<emulation::Range> touches;
  const auto expect_device = [&]<class T>(const T& x) {
    if constexpr (std::is_pointer_v<T>) {
      using Element = std::remove_pointer_t<T>;
      emulation::expect_device_memory(x);
      std::size_t bytes = 1;
      if constexpr (!std::is_void_v<Element>) bytes = sizeof(Element);
      emulation::touch_first(
          touches, {reinterpret_cast<std::uintptr_t>(x), bytes, !std::is_const_v<Element>});
    }
#if __has_builtin(__builtin_clear_padding)  // else what lies between members may look like one
    if constexpr (std::is_class_v<T> && std::is_trivially_copyable_v<T>) {
      T copy = x;
      __builtin_clear_padding(&copy);
      emulation::expect_no_host_pointer(&copy, sizeof(copy), touches);
    }
#endif
  };
  (expect_device(args), ...);
  emulation::expect_block(reinterpret_cast<const void*>(kernel), shape.block);
#ifdef __SANITIZE_THREAD__
  touches.clear();
#endif
  emulation::enqueue_kernel(stream, reinterpret_cast<const void*>(kernel), shape.grid, shape.block,
                            shape.shared_bytes, std::move(touches), [=] { kernel(args...); });
  CUDA_CHECK(cudaPeekAtLastError());
}

}  // namespace weft::cuda

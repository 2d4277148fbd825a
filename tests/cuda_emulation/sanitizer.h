// What AddressSanitizer must be told: that a fiber runs on another stack, and which memory may be
// touched now. Nothing without it.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace weft::emulation {

#ifdef __SANITIZE_ADDRESS__
inline void start_switch(void** fake_stack, const void* stack, std::size_t bytes) {
  __sanitizer_start_switch_fiber(fake_stack, stack, bytes);
}
inline void finish_switch(void* fake_stack, const void** stack, std::size_t* bytes) {
  __sanitizer_finish_switch_fiber(fake_stack, stack, bytes);
}
inline void allow(void* memory, std::size_t bytes) { __asan_unpoison_memory_region(memory, bytes); }
inline void forbid(void* memory, std::size_t bytes) { __asan_poison_memory_region(memory, bytes); }
#else
inline void start_switch(void**, const void*, std::size_t) {}
inline void finish_switch(void*, const void**, std::size_t*) {}
inline void allow(void*, std::size_t) {}
inline void forbid(void*, std::size_t) {}
#endif

}  // namespace weft::emulation

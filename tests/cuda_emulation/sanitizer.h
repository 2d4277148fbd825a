// What AddressSanitizer must be told: that a fiber runs on another stack, and which memory may be
// touched now. Without it pages are guarded instead (WEFT_EMULATION_GUARDS_PAGES), or nothing.
#pragma once

#include <cstddef>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef WEFT_EMULATION_GUARDS_PAGES
#include <sys/mman.h>
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
#ifdef WEFT_EMULATION_GUARDS_PAGES
inline void allow(void* memory, std::size_t bytes) {
  mprotect(memory, bytes, PROT_READ | PROT_WRITE);
}
inline void forbid(void* memory, std::size_t bytes) { mprotect(memory, bytes, PROT_NONE); }
#else
inline void allow(void*, std::size_t) {}
inline void forbid(void*, std::size_t) {}
#endif
#endif

#ifdef WEFT_EMULATION_GUARDS_PAGES
constexpr bool kGuardsPages = true;
#else
constexpr bool kGuardsPages = false;
#endif
// Of the device's memory, as cudaMalloc's at least.
constexpr std::size_t kAlignment = kGuardsPages ? 4096 : 256;

}  // namespace weft::emulation

// What core asks of a GPU back end: gpu_cuda.cpp, or gpu_none.cpp in a build without one. Streams
// are cudaStream_t, events cudaEvent_t.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

namespace weft::gpu {

int count();
bool is_built_in();
std::string absence();  // why count() is 0
std::int64_t free_bytes(int device);
std::shared_ptr<void> make_stream(int device);
void synchronize(void* stream);
std::shared_ptr<void> make_event(int device);
void record(void* event, void* stream);
void wait(void* stream, void* event);
void synchronize_event(void* event);
// name: what is to lie there, for the sentence that says there is no room; may be empty.
std::shared_ptr<void> allocate(int device, std::size_t bytes, const std::string& name);
std::shared_ptr<void> allocate_host(int device, std::size_t bytes);  // pinned
void zero(void* memory, std::size_t bytes, int device);              // has happened on return
void copy(void* to, const void* from, std::size_t bytes,
          void* stream);  // either may be host memory
// Marks what this thread does from here on as `name` in a profiler's time line (NVTX); nested.
void enter_range(const char* name);
void leave_range();

}  // namespace weft::gpu

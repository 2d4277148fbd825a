// What core asks of a GPU back end: gpu_cuda.cpp, or gpu_none.cpp in a build without one. Streams
// are cudaStream_t, events cudaEvent_t.
#pragma once

#include <cstddef>
#include <memory>

namespace weft::gpu {

int count();
std::shared_ptr<void> make_stream(int device);
void synchronize(void* stream);
std::shared_ptr<void> make_event(int device);
void record(void* event, void* stream);
void wait(void* stream, void* event);
void synchronize_event(void* event);
std::shared_ptr<void> allocate(int device, std::size_t bytes);
void copy(void* to, const void* from, std::size_t bytes,
          void* stream);  // either may be host memory

}  // namespace weft::gpu

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
std::string absence();         // why count() is 0
int make_current(int device);  // of this thread; the GPU that was, or -1 where it was this one
void restore_current(int device) noexcept;
std::int64_t free_bytes(int device);
std::string bus_id(int device);
std::shared_ptr<void> make_stream(int device);
void synchronize(void* stream);
std::shared_ptr<void> make_event(int device, bool timed = false);
void record(void* event, void* stream);
void wait(void* stream, void* event);
void synchronize_event(void* event);
double seconds_between(void* begin, void* end);  // of timed events that have passed
bool has_passed(void* event);
// From begin_capture on, what the stream is given is kept instead of run, until end_capture, which
// gives a cudaGraphExec_t (null: the GPU has no memory left for one), or drop_capture.
void begin_capture(void* stream);
std::shared_ptr<void> end_capture(void* stream, int device);
void drop_capture(void* stream) noexcept;
void launch_graph(void* graph, void* stream);
// name: what is to lie there, for the sentence that says there is no room; may be empty.
std::shared_ptr<void> allocate(int device, std::size_t bytes, const std::string& name);
std::shared_ptr<void> allocate_host(int device, std::size_t bytes);  // pinned
void zero(void* memory, std::size_t bytes, int device);              // has happened on return
void copy(void* to, const void* from, std::size_t bytes,
          void* stream);  // either may be host memory
void start_copy(void* to, const void* from, std::size_t bytes, void* stream);  // waits for nothing
// Marks what this thread does from here on as `name` in a profiler's time line (NVTX); nested.
void enter_range(const char* name);
void leave_range();

}  // namespace weft::gpu

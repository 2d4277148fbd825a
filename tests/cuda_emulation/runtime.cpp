// The part of the CUDA runtime that Weft calls, over streams.h and device_memory.h. Errors are
// sticky, as on a GPU, and cudaGetErrorString tells the Fault.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <memory>
#include <utility>

#include "device_memory.h"
#include "executor.h"
#include "pinned.h"
#include "streams.h"

namespace weft::emulation {

void enqueue_kernel(cudaStream_t stream, const void* kernel, dim3 grid, dim3 block,
                    std::size_t shared_bytes, std::vector<Range> touches,
                    std::function<void()> run) {
  const Turn turn;
  ++runtime().launches;
  const auto queue = queue_of(stream);
  if (queue && queue->device != current_gpu()) {
    failed(fmt::format("a kernel on {} while GPU {} is the thread's current one", named(*queue),
                       current_gpu()),
           cudaErrorInvalidResourceHandle);
    return;
  }
  Item item;
  item.kernel = kernel;
  item.touches = std::move(touches);
  item.work = [=, run = std::move(run)] { run_grid(grid, block, shared_bytes, run); };
  enqueue(stream, std::move(item));
}

void touch_first(std::vector<Range>& touches, const Range& range) {
  const Turn turn;
  const MemoryBlock* block = memory_block(reinterpret_cast<const void*>(range.begin));
  if (!block) return;
  touches.push_back(range);
  touches.back().bytes = std::min(range.bytes, block->begin + block->bytes - range.begin);
}

void expect_device_memory(const void* argument) {
  const Turn turn;
  if (argument && !is_device_memory(argument))
    failed("a kernel is handed a pointer that is not device memory", cudaErrorIllegalAddress);
}

void expect_no_host_pointer(const void* argument, std::size_t bytes, std::vector<Range>& touches) {
  const Turn turn;
  for (std::size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
    const void* word = nullptr;
    std::memcpy(&word, static_cast<const std::byte*>(argument) + at, sizeof(word));
    if (is_host_memory(word))
      failed(fmt::format("a kernel is handed a struct with a pointer at byte {} that is not device "
                         "memory",
                         at),
             cudaErrorIllegalAddress);
    touch_first(touches, reads(word, 1));
  }
}

void expect_block(const void* kernel, dim3 block) {
#ifdef __x86_64__
  constexpr unsigned char kNop = 0x90;
  const auto* code = static_cast<const unsigned char*>(kernel);
  unsigned most = 0;
  while (code[most / 32] == kNop) most += 32;
  const unsigned n = block.x * block.y * block.z;
  if (most > 0 && n > most)
    failed(fmt::format("a block of {} threads, more than the {} of its kernel's __launch_bounds__",
                       n, most),
           cudaErrorLaunchOutOfResources);
#endif
}

}  // namespace weft::emulation

using namespace weft::emulation;

namespace {

bool is_gpu(int device) { return device >= 0 && device < n_gpus(); }

// Waits for a GPU, as cudaFree does; false where that cannot be. Without the turn.
bool waits_for_gpu(const char* call, int device) {
  {
    const Turn turn;
    if (refused_in_capture(call)) return false;
  }
  host_waits([&] { return run_all(device); });
  return true;
}

int device_of(const void* memory) {
  const Turn turn;
  const MemoryBlock* block = memory_block(memory);
  return block && block->device != kPinned ? block->device : -1;
}

// A copy's or memset's item.
cudaError_t given(cudaStream_t stream, Item item) {
  enqueue(stream, std::move(item));
  return runtime().error;
}

}  // namespace

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = n_gpus();
  return *count > 0 ? cudaSuccess : cudaErrorNoDevice;
}
cudaError_t cudaSetDevice(int device) {
  if (!is_gpu(device)) return cudaErrorInvalidDevice;
  return current_gpu() = device, cudaSuccess;
}
cudaError_t cudaGetDevice(int* device) { return *device = current_gpu(), cudaSuccess; }
cudaError_t cudaDeviceGetPCIBusId(char* id, int length, int device) {
  if (!is_gpu(device)) return cudaErrorInvalidDevice;
  const int place = visible_gpus()[static_cast<std::size_t>(device)];
  const std::string text = fmt::format("0000:{:02X}:00.0", 16 + place);
  if (length <= static_cast<int>(text.size())) return cudaErrorInvalidValue;
  return std::memcpy(id, text.c_str(), text.size() + 1), cudaSuccess;
}
cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  // An A100's.
  static const std::map<int, int> kValues = {{cudaDevAttrMultiProcessorCount, 108},
                                             {cudaDevAttrMaxSharedMemoryPerBlockOptin, 166912},
                                             {cudaDevAttrComputeCapabilityMajor, 8},
                                             {cudaDevAttrComputeCapabilityMinor, 0},
                                             {cudaDevAttrL2CacheSize, 40 << 20}};
  const auto found = kValues.find(attribute);
  if (found == kValues.end()) return cudaErrorInvalidValue;
  return *value = found->second, cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int) {
  *properties = {};
  std::strcpy(properties->name, "emulated GPU");
  properties->major = 8;
  properties->multiProcessorCount = 108;
  properties->totalGlobalMem = device_bytes();
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  const Turn turn;
  *total_bytes = device_bytes();
  *free_bytes = device_bytes() - device_bytes_used(current_gpu());
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return cudaPeekAtLastError(); }
cudaError_t cudaPeekAtLastError() {
  const Turn turn;
  return runtime().error;
}
const char* cudaGetErrorString(cudaError_t error) {
  const Turn turn;
  if (error == cudaSuccess) return "no error";
  if (error == runtime().error && !runtime().fault_text.empty()) {
    runtime().fault_told = true;
    return runtime().fault_text.c_str();
  }
  return "an error of the emulated CUDA runtime";
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  const Turn turn;
  *memory = nullptr;
  if (refused_in_capture("cudaMalloc")) return runtime().error;
  *memory = device_allocate(current_gpu(), bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  const int device = device_of(memory);
  if (device < 0 || !waits_for_gpu("cudaFree", device)) return cudaErrorInvalidValue;
  const Turn turn;
  forget_accesses(memory, memory_block(memory)->bytes);
  return device_free(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  const Turn turn;
  *memory = nullptr;
  if (refused_in_capture("cudaMallocHost")) return runtime().error;
  *memory = pinned_allocate(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* memory) {
  if (memory == nullptr) return cudaSuccess;
  for (int gpu = 0; gpu < n_gpus(); ++gpu)
    if (!waits_for_gpu("cudaFreeHost", gpu)) return cudaErrorInvalidValue;
  const Turn turn;
  const MemoryBlock* block = memory_block(memory);
  if (!block) return cudaErrorInvalidValue;
  forget_accesses(memory, block->bytes);
  forget_pinned(memory, block->bytes);
  return pinned_free(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  const Turn turn;
  *attributes = {};
  const MemoryBlock* block = memory_block(p);
  attributes->type = !block                     ? cudaMemoryTypeUnregistered
                     : block->device == kPinned ? cudaMemoryTypeHost
                                                : cudaMemoryTypeDevice;
  attributes->device = block && block->device != kPinned ? block->device : current_gpu();
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  const Turn turn;
  *stream = reinterpret_cast<cudaStream_t>(make_queue(current_gpu()).get());
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  std::shared_ptr<Queue> queue;
  {
    const Turn turn;
    queue = queue_of(stream);
    if (!queue) return cudaErrorInvalidResourceHandle;
    if (queue->capture) failed(named(*queue) + " is destroyed while it is captured for a graph");
  }
  host_waits([&] { return run_until(*queue, queue->enqueued); });
  const Turn turn;
  drop_queue(*queue);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  std::shared_ptr<Queue> queue;
  {
    const Turn turn;
    queue = queue_of(stream);
    if (!queue)
      return failed("waiting for the default stream or for one that does not exist",
                    cudaErrorInvalidResourceHandle);
    if (queue->capture)
      return failed("waiting for " + named(*queue) + " while it is captured for a graph",
                    cudaErrorStreamCaptureUnsupported);
    if (refused_in_capture("waiting for another stream")) return runtime().error;
  }
  host_waits([&] { return run_until(*queue, queue->enqueued); });
  const Turn turn;
  host_sees(queue->clock);
  return runtime().error;
}
cudaError_t cudaDeviceSynchronize() {
  waits_for_gpu("cudaDeviceSynchronize", current_gpu());
  const Turn turn;
  return runtime().error;
}

// CUDA has read pageable host memory when the call returns, and has not necessarily written it;
// pinned memory is read when the copy runs.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  const Turn turn;
  if (bytes == 0) return runtime().error;
  Item item;
  item.name = "a copy";
  if (memory_block(to))
    item.touches.push_back(writes(to, bytes));
  else
    item.refused = "it goes to pageable host memory, which may be gone at a launch";
  if (memory_block(from)) {
    item.touches.push_back(reads(from, bytes));
    item.work = [=] { std::memmove(to, from, bytes); };
  } else {
    const auto* begin = static_cast<const std::byte*>(from);
    item.work = [to, copied = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, copied.data(), copied.size());
    };
    item.refused = "it comes from pageable host memory, which a launch would read again";
  }
  return given(stream, std::move(item));
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  Item item;
  item.name = "a memset";
  item.touches = {writes(to, bytes)};
  item.work = [=] { std::memset(to, value, bytes); };
  return given(stream, std::move(item));
}
// On the default stream, which orders nothing here: as late as cudaDeviceSynchronize() allows would
// be after the queues that run then.
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  const Turn turn;
  if (bytes == 0 || refused_in_capture("cudaMemset")) return runtime().error;
  Queue& queue = runtime().default_queues[current_gpu()];
  if (queue.clock.empty()) queue.agent = make_agent(), queue.device = current_gpu();
  join(queue.clock, runtime().host);
  Item item;
  item.name = "a memset";
  item.touches = {writes(to, bytes)};
  item.work = [=] { std::memset(to, value, bytes); };
  const Stamp stamp = next_stamp(item, queue.agent, queue, queue.clock);
  queue.work.push_back([&] {
    run_item(item, stamp, queue.clock);
    return true;
  });
  run_until(queue, ++queue.enqueued);
  return runtime().error;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
  auto made = std::make_unique<Event>();
  made->device = current_gpu();
  made->timed = !(flags & cudaEventDisableTiming);
  *event = reinterpret_cast<cudaEvent_t>(made.release());
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  const Turn turn;
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  const Turn turn;
  const auto queue = queue_of(stream);
  if (!queue)
    return failed("an event on the default stream or on one that does not exist",
                  cudaErrorInvalidResourceHandle);
  Event& e = *reinterpret_cast<Event*>(event);
  if (e.device != queue->device)
    return failed(fmt::format("an event of GPU {} is recorded on {}", e.device, named(*queue)),
                  cudaErrorInvalidResourceHandle);
  const int device = e.device;
  const bool timed = e.timed;
  e = Event();
  e.device = device;
  e.timed = timed;
  if (queue->capture) {
    Capture& capture = *queue->capture;
    e.capture = queue->capture;
    e.mark = capture.n_marks++;
    capture.steps.push_back({Step::Kind::record, queue->branch, e.mark, {}, {}});
    return runtime().error;
  }
  if (timed) {
    e.passed_at = std::make_shared<std::chrono::steady_clock::time_point>();
    push(*queue, [at = e.passed_at] {
      *at = std::chrono::steady_clock::now();
      return true;
    });
  }
  e.queue = queue;
  e.position = queue->enqueued;
  join(queue->clock, runtime().host);
  e.clock = queue->clock;
  return runtime().error;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Event e = *reinterpret_cast<Event*>(event);
  {
    const Turn turn;
    if (e.capture)
      return failed("waiting for an event that was recorded in a capture",
                    cudaErrorStreamCaptureUnsupported);
    if (refused_in_capture("waiting for an event")) return runtime().error;
  }
  if (e.queue) host_waits([&] { return run_until(*e.queue, e.position); });
  const Turn turn;
  host_sees(e.clock);
  return runtime().error;
}
// Makes nothing run: a stream comes there by itself, or when somebody waits.
cudaError_t cudaEventQuery(cudaEvent_t event) {
  const Turn turn(Turn::Kind::look);
  const Event& e = *reinterpret_cast<Event*>(event);
  if (e.capture)
    return failed("asking for an event that was recorded in a capture",
                  cudaErrorStreamCaptureUnsupported);
  if (runtime().error != cudaSuccess) return runtime().error;
  if (e.queue && e.queue->done < e.position) return cudaErrorNotReady;
  return cudaSuccess;
}
// Of the host, as it ran what lies between: no GPU's.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
  const Turn turn(Turn::Kind::look);
  const Event &a = *reinterpret_cast<Event*>(begin), &b = *reinterpret_cast<Event*>(end);
  if (!a.passed_at || !b.passed_at)
    return failed("the time between events of which one is not timed or not recorded",
                  cudaErrorInvalidResourceHandle);
  if (runtime().error != cudaSuccess) return runtime().error;
  if (a.queue->done < a.position || b.queue->done < b.position) return cudaErrorNotReady;
  *milliseconds = std::chrono::duration<float, std::milli>(*b.passed_at - *a.passed_at).count();
  return cudaSuccess;
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Turn turn;
  const Event e = *reinterpret_cast<Event*>(event);
  const auto queue = queue_of(stream);
  if (!queue)
    return failed("the default stream or one that does not exist is to wait for an event",
                  cudaErrorInvalidResourceHandle);
  if (e.capture) {
    const auto& open = runtime().captures;
    if (std::find(open.begin(), open.end(), e.capture) == open.end())
      return failed(named(*queue) + " is to wait for an event of a capture that has ended",
                    cudaErrorStreamCaptureIsolation);
    if (!queue->capture) {  // it is captured too from now on
      queue->capture = e.capture;
      queue->branch = e.capture->branches.size();
      e.capture->branches.push_back(queue);
    }
    if (queue->capture != e.capture)
      return failed(named(*queue) + " is to wait for an event of another capture",
                    cudaErrorStreamCaptureMerge);
    e.capture->steps.push_back({Step::Kind::wait, queue->branch, e.mark, {}, {}});
    return runtime().error;
  }
  if (!e.queue) return runtime().error;  // nothing is marked
  if (queue->capture)
    return failed(named(*queue) + " is captured and to wait for an event from before the capture",
                  cudaErrorStreamCaptureIsolation);
  join(queue->clock, e.clock);
  push(*queue, [e] { return run_until(*e.queue, e.position); });
  return runtime().error;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

#ifdef __SANITIZE_ADDRESS__
// A run is to end without leaks of its own. What MPI and the libraries below it still hold at the
// end is not ours; what they had loaded stays, so that it is still known by name then.
int dlclose(void*) { return 0; }
const char* __lsan_default_suppressions();
const char* __lsan_default_suppressions() {
  return "leak:libmpi.so\nleak:libopen-\nleak:/openmpi/lib\nleak:libpmix.so\nleak:/pmix\n"
         "leak:libevent\nleak:libhwloc.so\nleak:vasprintf\n";
}
#endif

}  // extern "C"

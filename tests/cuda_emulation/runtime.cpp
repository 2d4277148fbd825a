// The part of the CUDA runtime that Weft calls. Work is queued on its stream and runs as late as
// CUDA allows: when somebody waits. So a forgotten wait or event shows as poison or stale numbers.
// Errors are sticky, as on a GPU, and cudaGetErrorString tells the Fault.
#include <cuda_runtime.h>
#include <fmt/format.h>

#include <cstring>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "device_memory.h"
#include "executor.h"
#include "runtime.h"

namespace weft::emulation {
namespace {

struct Queue {
  std::deque<std::function<void()>> work;
  std::uint64_t enqueued = 0, done = 0;
};

struct Event {
  Queue* queue = nullptr;  // recorded on
  std::uint64_t position = 0;
};

struct Runtime {
  std::map<Queue*, std::unique_ptr<Queue>> queues;
  cudaError_t error = cudaSuccess;
  std::string fault_text;
  std::uint64_t launches = 0;
};

Runtime& runtime() {
  static Runtime r;
  return r;
}

Queue* queue_of(cudaStream_t stream) {
  auto* q = reinterpret_cast<Queue*>(stream);
  return runtime().queues.contains(q) ? q : nullptr;
}

cudaError_t failed(const std::string& what, cudaError_t error = cudaErrorLaunchFailure) {
  if (runtime().error == cudaSuccess) {
    runtime().error = error;
    runtime().fault_text = what;
  }
  return runtime().error;
}

// Runs what was queued up to a position.
void run_until(Queue& q, std::uint64_t position) {
  if (q.done >= position || q.work.empty()) return;
  const DeviceAccess access;
  while (q.done < position && !q.work.empty()) {
    const std::function<void()> next = std::move(q.work.front());
    q.work.pop_front();
    ++q.done;
    if (runtime().error != cudaSuccess) continue;
    try {
      next();
    } catch (const Fault& f) {
      failed(f.what());
    }
  }
}

void run_all() {
  for (auto& [key, q] : runtime().queues) run_until(*q, q->enqueued);
}

}  // namespace

void enqueue(cudaStream_t stream, std::function<void()> work) {
  Queue* q = queue_of(stream);
  if (!q) {
    failed(stream == nullptr ? "work on the default stream: it is not ordered with Weft's streams"
                             : "work on a stream that does not exist");
    return;
  }
  if (runtime().error != cudaSuccess) return;
  q->work.push_back(std::move(work));
  ++q->enqueued;
}

void enqueue_kernel(cudaStream_t stream, dim3 grid, dim3 block, std::size_t shared_bytes,
                    std::function<void()> kernel) {
  ++runtime().launches;
  enqueue(stream, [=, kernel = std::move(kernel)] { run_grid(grid, block, shared_bytes, kernel); });
}

void expect_device_memory(const void* argument) {
  if (argument && !is_device_memory(argument))
    failed("a kernel is handed a pointer that is not device memory", cudaErrorIllegalAddress);
}

void expect_no_host_pointer(const void* argument, std::size_t bytes) {
  for (std::size_t at = 0; at + sizeof(void*) <= bytes; at += sizeof(void*)) {
    const void* word = nullptr;
    std::memcpy(&word, static_cast<const std::byte*>(argument) + at, sizeof(word));
    if (is_host_memory(word))
      failed(fmt::format("a kernel is handed a struct with a pointer at byte {} that is not device "
                         "memory",
                         at),
             cudaErrorIllegalAddress);
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

void forget_fault() {
  runtime().error = cudaSuccess;
  runtime().fault_text.clear();
}

std::uint64_t kernels_launched() { return runtime().launches; }

}  // namespace weft::emulation

using namespace weft::emulation;

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) { return *count = 1, cudaSuccess; }
cudaError_t cudaSetDevice(int device) { return device == 0 ? cudaSuccess : cudaErrorInvalidDevice; }
cudaError_t cudaGetDevice(int* device) { return *device = 0, cudaSuccess; }
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
  properties->totalGlobalMem = kDeviceBytes;
  return cudaSuccess;
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
  *total_bytes = kDeviceBytes;
  *free_bytes = kDeviceBytes - device_bytes_used();
  return cudaSuccess;
}

cudaError_t cudaGetLastError() { return runtime().error; }
cudaError_t cudaPeekAtLastError() { return runtime().error; }
const char* cudaGetErrorString(cudaError_t error) {
  if (error == cudaSuccess) return "no error";
  if (error == runtime().error && !runtime().fault_text.empty())
    return runtime().fault_text.c_str();
  return "an error of the emulated CUDA runtime";
}

cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
  *memory = device_allocate(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFree(void* memory) {
  run_all();  // cudaFree waits for the device
  return memory == nullptr || device_free(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
  *memory = pinned_allocate(bytes);
  return *memory ? cudaSuccess : cudaErrorMemoryAllocation;
}
cudaError_t cudaFreeHost(void* memory) {
  run_all();  // as cudaFree
  return memory == nullptr || pinned_free(memory) ? cudaSuccess : cudaErrorInvalidValue;
}
cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* p) {
  *attributes = {};
  attributes->type = is_device_memory(p)   ? cudaMemoryTypeDevice
                     : is_pinned_memory(p) ? cudaMemoryTypeHost
                                           : cudaMemoryTypeUnregistered;
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned) {
  auto q = std::make_unique<Queue>();
  *stream = reinterpret_cast<cudaStream_t>(q.get());
  runtime().queues[q.get()] = std::move(q);
  return cudaSuccess;
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  Queue* q = queue_of(stream);
  if (!q) return cudaErrorInvalidResourceHandle;
  run_until(*q, q->enqueued);
  runtime().queues.erase(q);
  return cudaSuccess;
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  Queue* q = queue_of(stream);
  if (!q)
    return failed("waiting for the default stream or for one that does not exist",
                  cudaErrorInvalidResourceHandle);
  run_until(*q, q->enqueued);
  return runtime().error;
}
cudaError_t cudaDeviceSynchronize() { return run_all(), runtime().error; }

// CUDA has read pageable host memory when the call returns, and has not necessarily written it;
// pinned memory is read when the copy runs.
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind,
                            cudaStream_t stream) {
  if (is_device_memory(from) || is_pinned_memory(from)) {
    enqueue(stream, [=] { std::memmove(to, from, bytes); });
  } else {
    const auto* begin = static_cast<const std::byte*>(from);
    enqueue(stream, [to, bytes = std::vector<std::byte>(begin, begin + bytes)] {
      std::memcpy(to, bytes.data(), bytes.size());
    });
  }
  return runtime().error;
}
cudaError_t cudaMemsetAsync(void* to, int value, std::size_t bytes, cudaStream_t stream) {
  enqueue(stream, [=] { std::memset(to, value, bytes); });
  return runtime().error;
}
// On the default stream, which orders nothing here: as late as cudaDeviceSynchronize() allows would
// be after the queues that run then.
cudaError_t cudaMemset(void* to, int value, std::size_t bytes) {
  run_all();
  const DeviceAccess access;
  std::memset(to, value, bytes);
  return runtime().error;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = reinterpret_cast<cudaEvent_t>(new Event());
  return cudaSuccess;
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete reinterpret_cast<Event*>(event);
  return cudaSuccess;
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  Queue* q = queue_of(stream);
  if (!q)
    return failed("an event on the default stream or on one that does not exist",
                  cudaErrorInvalidResourceHandle);
  *reinterpret_cast<Event*>(event) = {q, q->enqueued};
  return cudaSuccess;
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  const Event& e = *reinterpret_cast<Event*>(event);
  if (e.queue) run_until(*e.queue, e.position);
  return runtime().error;
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  return *milliseconds = 0, cudaSuccess;
}  // time means nothing here
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  const Event e = *reinterpret_cast<Event*>(event);
  if (e.queue) enqueue(stream, [e] { run_until(*e.queue, e.position); });
  return runtime().error;
}

cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }

}  // extern "C"

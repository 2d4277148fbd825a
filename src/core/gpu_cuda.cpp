#include <cuda_runtime_api.h>
#include <nvtx3/nvToolsExt.h>

#include <algorithm>
#include <array>

#include "core/check.h"
#include "core/device.h"
#include "core/gpu.h"

#define CUDA_CHECK(call)                                                           \
  do {                                                                             \
    const cudaError_t result = (call);                                             \
    CHECK(result == cudaSuccess, "{}: {} ({})", #call, cudaGetErrorString(result), \
          static_cast<int>(result));                                               \
  } while (false)

namespace weft::gpu {
namespace {

Device gpu(int device) { return {DeviceType::cuda, device}; }

}  // namespace

int count() {
  int n = 0;
  if (cudaGetDeviceCount(&n) == cudaSuccess) return n;
  cudaGetLastError();  // no driver or no GPU: not an error of the next call
  return 0;
}

bool is_built_in() { return true; }

std::string absence() {
  int n = 0;
  const cudaError_t error = cudaGetDeviceCount(&n);
  cudaGetLastError();
  return error == cudaSuccess ? "no GPU is visible (CUDA_VISIBLE_DEVICES)"
                              : fmt::format("no GPU can be used ({})", cudaGetErrorString(error));
}

int make_current(int device) {
  int before = 0;
  CUDA_CHECK(cudaGetDevice(&before));
  if (before == device) return -1;
  CUDA_CHECK(cudaSetDevice(device));
  return before;
}

void restore_current(int device) noexcept { cudaSetDevice(device); }

std::int64_t free_bytes(int device) {
  const DeviceGuard current(gpu(device));
  std::size_t free_bytes = 0, total_bytes = 0;
  CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
  return static_cast<std::int64_t>(free_bytes);
}

std::string bus_id(int device) {
  std::array<char, 32> id{};
  CUDA_CHECK(cudaDeviceGetPCIBusId(id.data(), static_cast<int>(id.size()), device));
  return id.data();
}

std::shared_ptr<void> make_stream(int device) {
  CHECK_USER(device >= 0 && device < count(), "--device cuda: GPU {} of {} on this host", device,
             count());
  const DeviceGuard current(gpu(device));
  cudaStream_t stream = nullptr;
  CUDA_CHECK(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return std::shared_ptr<void>(stream,
                               [](void* s) { cudaStreamDestroy(static_cast<cudaStream_t>(s)); });
}

void synchronize(void* stream) {
  CUDA_CHECK(cudaStreamSynchronize(static_cast<cudaStream_t>(stream)));
}

std::shared_ptr<void> make_event(int device, bool timed) {
  CHECK_USER(device >= 0 && device < count(), "--device cuda: GPU {} of {} on this host", device,
             count());
  const DeviceGuard current(gpu(device));
  cudaEvent_t event = nullptr;
  CUDA_CHECK(cudaEventCreateWithFlags(&event, timed ? cudaEventDefault : cudaEventDisableTiming));
  return std::shared_ptr<void>(event,
                               [](void* e) { cudaEventDestroy(static_cast<cudaEvent_t>(e)); });
}

void record(void* event, void* stream) {
  CUDA_CHECK(cudaEventRecord(static_cast<cudaEvent_t>(event), static_cast<cudaStream_t>(stream)));
}

void wait(void* stream, void* event) {
  CUDA_CHECK(
      cudaStreamWaitEvent(static_cast<cudaStream_t>(stream), static_cast<cudaEvent_t>(event), 0));
}

void synchronize_event(void* event) {
  CUDA_CHECK(cudaEventSynchronize(static_cast<cudaEvent_t>(event)));
}

double seconds_between(void* begin, void* end) {
  float ms = 0;
  CUDA_CHECK(
      cudaEventElapsedTime(&ms, static_cast<cudaEvent_t>(begin), static_cast<cudaEvent_t>(end)));
  return 1e-3 * static_cast<double>(ms);
}

bool has_passed(void* event) {
  const cudaError_t said = cudaEventQuery(static_cast<cudaEvent_t>(event));
  if (said == cudaErrorNotReady) return false;
  CUDA_CHECK(said);
  return true;
}

// Of this thread alone: another may allocate meanwhile.
void begin_capture(void* stream) {
  CUDA_CHECK(
      cudaStreamBeginCapture(static_cast<cudaStream_t>(stream), cudaStreamCaptureModeThreadLocal));
}

std::shared_ptr<void> end_capture(void* stream, int device) {
  const DeviceGuard current(gpu(device));
  cudaGraph_t graph = nullptr;
  CUDA_CHECK(cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph));
  cudaGraphExec_t exec = nullptr;
  const cudaError_t error = cudaGraphInstantiate(&exec, graph, 0);
  cudaGraphDestroy(graph);
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  CHECK(error == cudaSuccess, "cudaGraphInstantiate: {}", cudaGetErrorString(error));
  return std::shared_ptr<void>(
      exec, [](void* g) { cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(g)); });
}

void drop_capture(void* stream) noexcept {
  cudaGraph_t graph = nullptr;
  cudaStreamEndCapture(static_cast<cudaStream_t>(stream), &graph);
  if (graph) cudaGraphDestroy(graph);
  cudaGetLastError();  // what stopped the capture was said already
}

void launch_graph(void* graph, void* stream) {
  CUDA_CHECK(
      cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph), static_cast<cudaStream_t>(stream)));
}

std::shared_ptr<void> allocate(int device, std::size_t bytes, const std::string& name) {
  const DeviceGuard current(gpu(device));
  void* memory = nullptr;
  const cudaError_t error = cudaMalloc(&memory, bytes);
  if (error == cudaErrorMemoryAllocation) {
    std::size_t free_bytes = 0, total_bytes = 0;
    cudaGetLastError();
    CUDA_CHECK(cudaMemGetInfo(&free_bytes, &total_bytes));
    const std::string what = name.empty() ? "" : fmt::format("the {} take ", name);
    user_error("{}{} bytes{} more than GPU {} can give: {} of its {} are free", what, bytes,
               name.empty() ? " are" : ",", device, free_bytes, total_bytes);
  }
  CHECK(error == cudaSuccess, "cudaMalloc of {} bytes: {}", bytes, cudaGetErrorString(error));
  return std::shared_ptr<void>(memory, [](void* p) { cudaFree(p); });
}

std::shared_ptr<void> allocate_host(int device, std::size_t bytes) {
  const DeviceGuard current(gpu(device));
  void* memory = nullptr;
  const cudaError_t error = cudaMallocHost(&memory, std::max<std::size_t>(bytes, 1));
  CHECK_USER(error != cudaErrorMemoryAllocation,
             "{} bytes of pinned memory are more than this machine can give", bytes);
  CHECK(error == cudaSuccess, "cudaMallocHost of {} bytes: {}", bytes, cudaGetErrorString(error));
  return std::shared_ptr<void>(memory, [](void* p) { cudaFreeHost(p); });
}

void zero(void* memory, std::size_t bytes, int device) {
  const DeviceGuard current(gpu(device));
  CUDA_CHECK(cudaMemset(memory, 0, bytes));
  CUDA_CHECK(cudaDeviceSynchronize());  // the default stream orders nothing with ours
}

void start_copy(void* to, const void* from, std::size_t bytes, void* stream) {
  CUDA_CHECK(
      cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, static_cast<cudaStream_t>(stream)));
}

void copy(void* to, const void* from, std::size_t bytes, void* stream) {
  start_copy(to, from, bytes, stream);
  cudaPointerAttributes attributes{};
  CUDA_CHECK(cudaPointerGetAttributes(&attributes, to));
  if (attributes.type != cudaMemoryTypeDevice) synchronize(stream);
}

void enter_range(const char* name) { nvtxRangePushA(name); }
void leave_range() { nvtxRangePop(); }

}  // namespace weft::gpu

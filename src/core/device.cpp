#include "core/device.h"

#include <array>
#include <atomic>
#include <cstdlib>
#include <cstring>

#include "core/allocations.h"
#include "core/check.h"
#include "core/gpu.h"

namespace weft {
namespace {

std::atomic<std::int64_t>& counter(DeviceType type) {
  static std::array<std::atomic<std::int64_t>, 2> counts = {};
  return counts[static_cast<std::size_t>(type)];
}

std::atomic<std::int64_t>& host_bytes() {
  static std::atomic<std::int64_t> bytes = 0;
  return bytes;
}

}  // namespace

DeviceGuard::DeviceGuard(Device device) {
  if (device.type == DeviceType::cuda) before_ = gpu::make_current(device.index);
}
DeviceGuard::~DeviceGuard() {
  if (before_ >= 0) gpu::restore_current(before_);
}

Stream::Stream(Device device, int n_threads) : device_(device), n_threads_(n_threads) {
  if (device.type == DeviceType::cuda) native_ = gpu::make_stream(device.index);
}

void Stream::synchronize() {
  if (native_) gpu::synchronize(native_.get());
}

void* Stream::scratch(std::size_t bytes) {
  if (bytes > scratch_bytes_) {
    const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
    scratch_.reset();
    scratch_bytes_ = 0;
    scratch_ = allocate(device_, rounded);
    scratch_bytes_ = rounded;
  }
  return scratch_.get();
}

Event::Event(Device device) : device_(device) {
  if (device.type == DeviceType::cuda) native_ = gpu::make_event(device.index);
}

void Event::record(Stream& stream) {
  CHECK(stream.device() == device_, "an event of another device than its stream's is recorded");
  if (native_) gpu::record(native_.get(), stream.native());
}

void Event::wait(Stream& stream) const {
  if (native_ && stream.native()) gpu::wait(stream.native(), native_.get());
  if (native_ && !stream.native()) gpu::synchronize_event(native_.get());
}

bool Event::has_passed() const { return !native_ || gpu::has_passed(native_.get()); }

int gpu_count() { return gpu::count(); }
bool gpu_is_built_in() { return gpu::is_built_in(); }
std::string gpu_absence() { return gpu::absence(); }
std::int64_t gpu_free_bytes(Device device) { return gpu::free_bytes(device.index); }

std::int64_t allocations(DeviceType type) { return counter(type); }
std::int64_t host_bytes_allocated() { return host_bytes(); }

std::shared_ptr<void> allocate(Device device, std::size_t bytes) {
  ++counter(device.type);
  if (device.type == DeviceType::cuda) return gpu::allocate(device.index, bytes, "");
  host_bytes() += static_cast<std::int64_t>(bytes);
  void* memory = std::aligned_alloc(64, (bytes + 63) / 64 * 64);
  CHECK_USER(memory || bytes == 0, "{} bytes are more than this machine can give", bytes);
  return std::shared_ptr<void>(memory, std::free);
}

std::shared_ptr<void> allocate_zeroed(Device device, std::size_t bytes, const std::string& name) {
  std::shared_ptr<void> memory;
  if (device.type == DeviceType::cuda) {
    ++counter(device.type);
    memory = gpu::allocate(device.index, bytes, name);
    gpu::zero(memory.get(), bytes, device.index);
  } else {
    memory = allocate(device, bytes);
    std::memset(memory.get(), 0, bytes);
  }
  return memory;
}

std::shared_ptr<void> allocate_host(Device device, std::size_t bytes) {
  if (device.type == DeviceType::cpu) return allocate(device, bytes);
  ++counter(device.type);
  host_bytes() += static_cast<std::int64_t>(bytes);
  return gpu::allocate_host(device.index, bytes);
}

void copy_bytes(void* to, const void* from, std::size_t bytes, Stream& stream) {
  if (bytes == 0) return;
  if (stream.native())
    gpu::copy(to, from, bytes, stream.native());
  else
    std::memcpy(to, from, bytes);
}

}  // namespace weft

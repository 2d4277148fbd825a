// The emulated GPU's memory: host memory under watch. Fresh memory is poison; it may be touched
// only while device work runs.
#pragma once

#include <cstddef>

namespace weft::emulation {

void* device_allocate(std::size_t bytes);  // null where the emulated GPU (8 GiB) is full
bool device_free(void* memory);            // false: not allocated here
bool is_device_memory(const void* p);
void* pinned_allocate(std::size_t bytes);  // host memory that copies read and write when they run
bool pinned_free(void* memory);
bool is_pinned_memory(const void* p);
bool is_host_memory(
    const void* p);  // mapped, and no device memory; false where an int may be meant
std::size_t device_bytes_used();
constexpr std::size_t kDeviceBytes = std::size_t{8} << 30;

// While one lives, device memory may be touched.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace weft::emulation

// The emulated GPUs' memory: host memory under watch. Fresh memory is poison; it may be touched
// only while device work runs. And pinned memory, which is the host's but while a copy is under
// way.
#pragma once

#include <cstddef>
#include <cstdint>

namespace weft::emulation {

struct MemoryBlock {
  std::uintptr_t begin;
  std::size_t bytes;
  int device;            // kPinned: the host's
  std::uint64_t serial;  // of the allocation
};
constexpr int kPinned = -1;

void* device_allocate(int device, std::size_t bytes);  // null where the GPU is full
bool device_free(void* memory);                        // false: not allocated here
void* pinned_allocate(std::size_t bytes);  // host memory that copies read and write when they run
bool pinned_free(void* memory);
const MemoryBlock* memory_block(const void* p);  // device or pinned, that p lies in; or null
bool is_device_memory(const void* p);            // or one past its end
bool is_host_memory(
    const void* p);  // mapped, and no device memory; false where an int may be meant
std::size_t device_bytes_used(int device);
std::size_t device_bytes();  // of a GPU: 10 GiB, or WEFT_EMULATED_GPU_BYTES
// What a GPU holds that nobody allocated; false where it is full. charge(-n) gives n back.
bool charge(int device, std::int64_t bytes);

// Pinned memory that only a copy under way may touch: with pages guarded, the whole pages of it.
void close_pinned(std::uintptr_t begin, std::size_t bytes);
void open_pinned(std::uintptr_t begin, std::size_t bytes);

// While one lives, device memory and closed pinned memory may be touched.
class DeviceAccess {
 public:
  DeviceAccess();
  ~DeviceAccess();
  DeviceAccess(const DeviceAccess&) = delete;
  DeviceAccess& operator=(const DeviceAccess&) = delete;
};

}  // namespace weft::emulation

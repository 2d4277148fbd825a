#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "sanitizer.h"

namespace weft::emulation {
namespace {

struct Memory {
  std::map<std::uintptr_t, std::size_t> blocks;  // begin, bytes
  std::size_t used = 0;
  int accesses = 0;
};

Memory& memory() {
  static Memory m;
  return m;
}

}  // namespace

void* device_allocate(std::size_t bytes) {
  Memory& m = memory();
  if (m.used + bytes > kDeviceBytes) return nullptr;
  void* block = nullptr;
  if (posix_memalign(&block, 256, bytes == 0 ? 1 : bytes) != 0) return nullptr;
  std::memset(block, 0xFF, bytes);
  m.blocks[reinterpret_cast<std::uintptr_t>(block)] = bytes;
  m.used += bytes;
  if (m.accesses == 0) forbid(block, bytes);
  return block;
}

bool device_free(void* block) {
  Memory& m = memory();
  const auto at = m.blocks.find(reinterpret_cast<std::uintptr_t>(block));
  if (at == m.blocks.end()) return false;
  allow(block, at->second);
  std::memset(block, 0xFF, at->second);
  m.used -= at->second;
  m.blocks.erase(at);
  std::free(block);
  return true;
}

bool is_device_memory(const void* p) {
  const Memory& m = memory();
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  auto after = m.blocks.upper_bound(address);
  if (after == m.blocks.begin()) return false;
  --after;
  return address <= after->first + after->second;  // one past the end is a pointer into it still
}

bool is_host_memory(const void* p) {
  // Heap, stack and code of an x86-64 Linux process lie above AddressSanitizer's shadow.
  constexpr std::uintptr_t kLeast = 0x1000'8000'0000, kMost = 0x7FFF'FFFF'FFFF;
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  if (address < kLeast || address > kMost || is_device_memory(p)) return false;
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  unsigned char resident = 0;
  return mincore(reinterpret_cast<void*>(address / page * page), 1, &resident) == 0;
}

std::size_t device_bytes_used() { return memory().used; }

DeviceAccess::DeviceAccess() {
  if (memory().accesses++ > 0) return;
  for (const auto& [begin, bytes] : memory().blocks) allow(reinterpret_cast<void*>(begin), bytes);
}

DeviceAccess::~DeviceAccess() {
  if (--memory().accesses > 0) return;
  for (const auto& [begin, bytes] : memory().blocks) forbid(reinterpret_cast<void*>(begin), bytes);
}

}  // namespace weft::emulation

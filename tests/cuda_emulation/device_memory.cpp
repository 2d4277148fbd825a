#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>

#include "sanitizer.h"

namespace weft::emulation {
namespace {

struct Memory {
  std::map<std::uintptr_t, std::size_t> blocks;  // begin, bytes
  std::map<std::uintptr_t, std::size_t> pinned;  // of the host's memory
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
  bytes = std::max<std::size_t>(bytes, 1);
  if (kGuardsPages) bytes = (bytes + kAlignment - 1) / kAlignment * kAlignment;
  if (posix_memalign(&block, kAlignment, bytes) != 0) return nullptr;
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

namespace {

bool lies_in(const std::map<std::uintptr_t, std::size_t>& blocks, const void* p) {
  const auto address = reinterpret_cast<std::uintptr_t>(p);
  auto after = blocks.upper_bound(address);
  if (after == blocks.begin()) return false;
  --after;
  return address <= after->first + after->second;  // one past the end is a pointer into it still
}

}  // namespace

bool is_device_memory(const void* p) { return lies_in(memory().blocks, p); }
bool is_pinned_memory(const void* p) { return lies_in(memory().pinned, p); }

void* pinned_allocate(std::size_t bytes) {
  void* block = std::malloc(bytes);
  if (block) memory().pinned[reinterpret_cast<std::uintptr_t>(block)] = bytes;
  return block;
}

bool pinned_free(void* block) {
  if (memory().pinned.erase(reinterpret_cast<std::uintptr_t>(block)) == 0) return false;
  std::free(block);
  return true;
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

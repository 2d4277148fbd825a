#include "device_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>
#include <vector>

#include "page_arena.h"
#include "sanitizer.h"

namespace weft::emulation {
namespace {

struct Memory {
  std::map<std::uintptr_t, MemoryBlock> blocks;  // by begin
  std::vector<std::pair<std::uintptr_t, std::size_t>> closed;
  std::map<int, std::size_t> used;  // by device
  std::uint64_t serial = 0;
  int accesses = 0;
};

Memory& memory() {
  static Memory m;
  return m;
}

void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

std::size_t whole_pages(std::size_t bytes) {
  bytes = std::max<std::size_t>(bytes, 1);
  return kGuardsPages ? (bytes + kAlignment - 1) / kAlignment * kAlignment : bytes;
}

// Of all devices, with pages guarded.
PageArena& arena() {
  static PageArena a(std::size_t{256} << 30);
  return a;
}

void* take(int device, std::size_t bytes) {
  if (kGuardsPages && device != kPinned) return arena().allocate(bytes);
  void* block = nullptr;
  return posix_memalign(&block, kAlignment, bytes) == 0 ? block : nullptr;
}

void give_back(int device, void* block, std::size_t bytes) {
  if (kGuardsPages && device != kPinned)
    arena().free(block, bytes);
  else
    std::free(block);
}

void* add_block(int device, std::size_t bytes) {
  void* block = take(device, whole_pages(bytes));
  if (!block) return nullptr;
  Memory& m = memory();
  const auto begin = reinterpret_cast<std::uintptr_t>(block);
  m.blocks[begin] = {begin, bytes, device, ++m.serial};
  return block;
}

bool remove_block(void* block, bool pinned) {
  Memory& m = memory();
  const auto found = m.blocks.find(reinterpret_cast<std::uintptr_t>(block));
  if (found == m.blocks.end() || (found->second.device == kPinned) != pinned) return false;
  const DeviceAccess access;
  const int device = found->second.device;
  const std::size_t bytes = whole_pages(found->second.bytes);
  if (pinned)
    open_pinned(found->first, bytes);
  else
    m.used[device] -= bytes;
  std::memset(block, 0xFF, bytes);
  m.blocks.erase(found);
  give_back(device, block, bytes);
  return true;
}

// The last block that begins at p or before.
const MemoryBlock* block_before(const void* p) {
  auto& blocks = memory().blocks;
  const auto after = blocks.upper_bound(reinterpret_cast<std::uintptr_t>(p));
  return after == blocks.begin() ? nullptr : &std::prev(after)->second;
}

void guard(void (*change)(void*, std::size_t), void (PageArena::*change_all)()) {
  if (kGuardsPages)
    (arena().*change_all)();
  else
    for (const auto& [begin, block] : memory().blocks)
      if (block.device != kPinned) change(at(begin), block.bytes);
  for (const auto& [begin, bytes] : memory().closed) change(at(begin), bytes);
}

// The part of a range that can be guarded apart from what else is there.
std::pair<std::uintptr_t, std::size_t> guardable(std::uintptr_t begin, std::size_t bytes) {
  if (!kGuardsPages) return {begin, bytes};
  const MemoryBlock* block = memory_block(at(begin));
  std::uintptr_t end = begin + bytes;
  if (block && end == block->begin + block->bytes) end = block->begin + whole_pages(block->bytes);
  begin = (begin + kAlignment - 1) / kAlignment * kAlignment;
  end = end / kAlignment * kAlignment;
  return {begin, end > begin ? end - begin : 0};
}

}  // namespace

void* device_allocate(int device, std::size_t bytes) {
  Memory& m = memory();
  bytes = std::max<std::size_t>(bytes, 1);
  const std::size_t taken = whole_pages(bytes);
  if (m.used[device] + taken > device_bytes()) return nullptr;
  const DeviceAccess access;
  void* block = add_block(device, bytes);
  if (!block) return nullptr;
  std::memset(block, 0xFF, taken);
  m.used[device] += taken;
  return block;
}

bool device_free(void* block) { return remove_block(block, false); }
void* pinned_allocate(std::size_t bytes) { return add_block(kPinned, bytes); }
bool pinned_free(void* block) { return remove_block(block, true); }

const MemoryBlock* memory_block(const void* p) {
  const MemoryBlock* block = block_before(p);
  return block && reinterpret_cast<std::uintptr_t>(p) < block->begin + block->bytes ? block
                                                                                    : nullptr;
}

bool is_device_memory(const void* p) {
  const MemoryBlock* block = block_before(p);
  return block && block->device != kPinned &&
         reinterpret_cast<std::uintptr_t>(p) <= block->begin + block->bytes;
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

std::size_t device_bytes_used(int device) { return memory().used[device]; }

std::size_t device_bytes() {
  static const char* said = std::getenv("WEFT_EMULATED_GPU_BYTES");
  static const std::size_t bytes = said ? std::strtoull(said, nullptr, 10) : std::size_t{10} << 30;
  return bytes;
}

bool charge(int device, std::int64_t bytes) {
  const std::size_t after = memory().used[device] + static_cast<std::size_t>(bytes);
  if (bytes > 0 && after > device_bytes()) return false;
  memory().used[device] = after;
  return true;
}

void close_pinned(std::uintptr_t begin, std::size_t bytes) {
  const auto part = guardable(begin, bytes);
  if (part.second == 0) return;
  memory().closed.push_back(part);
  if (memory().accesses == 0) forbid(at(part.first), part.second);
}

void open_pinned(std::uintptr_t begin, std::size_t bytes) {
  auto& closed = memory().closed;
  std::erase_if(closed, [&](const auto& part) {
    if (part.first + part.second <= begin || begin + bytes <= part.first) return false;
    allow(at(part.first), part.second);
    return true;
  });
}

DeviceAccess::DeviceAccess() {
  if (memory().accesses++ == 0) guard(allow, &PageArena::open);
}

DeviceAccess::~DeviceAccess() {
  if (--memory().accesses == 0) guard(forbid, &PageArena::close);
}

}  // namespace weft::emulation

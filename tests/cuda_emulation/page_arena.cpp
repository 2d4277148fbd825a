#include "page_arena.h"

#include <sys/mman.h>

#include <iterator>

namespace weft::emulation {
namespace {

// What the machine guards with one entry: it is then a handful of entries that a call changes.
constexpr std::size_t kHugePage = std::size_t{2} << 20;

constexpr std::size_t up(std::size_t n) { return (n + kHugePage - 1) / kHugePage * kHugePage; }

void* at(std::uintptr_t address) { return reinterpret_cast<void*>(address); }

}  // namespace

PageArena::PageArena(std::size_t bytes) : bytes_(up(bytes)), protection_(PROT_NONE) {
  void* range = mmap(nullptr, bytes_ + kHugePage, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (range == MAP_FAILED) {
    bytes_ = 0;
    return;
  }
  begin_ = up(reinterpret_cast<std::uintptr_t>(range));
  madvise(at(begin_), bytes_, MADV_HUGEPAGE);
  gaps_[begin_] = bytes_;
}

// The first gap that is large enough.
void* PageArena::allocate(std::size_t bytes) {
  for (auto gap = gaps_.begin(); gap != gaps_.end(); ++gap) {
    const auto [begin, length] = *gap;
    if (length < bytes) continue;
    gaps_.erase(gap);
    if (length > bytes) gaps_[begin + bytes] = length - bytes;
    if (begin + bytes - begin_ > reached_) {
      reached_ = up(begin + bytes - begin_);
      protect(protection_);
    }
    return at(begin);
  }
  return nullptr;
}

void PageArena::free(void* block, std::size_t bytes) {
  auto begin = reinterpret_cast<std::uintptr_t>(block);
  const std::uintptr_t whole = up(begin), end = (begin + bytes) / kHugePage * kHugePage;
  if (end > whole) madvise(at(whole), end - whole, MADV_DONTNEED);
  const auto after = gaps_.find(begin + bytes);
  if (after != gaps_.end()) {
    bytes += after->second;
    gaps_.erase(after);
  }
  const auto next = gaps_.lower_bound(begin);
  if (next != gaps_.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == begin) {
      begin = before->first;
      bytes += before->second;
    }
  }
  gaps_[begin] = bytes;
}

void PageArena::open() { protect(PROT_READ | PROT_WRITE); }
void PageArena::close() { protect(PROT_NONE); }

void PageArena::protect(int protection) {
  protection_ = protection;
  if (reached_ > 0) mprotect(at(begin_), reached_, protection);
}

}  // namespace weft::emulation

// Who touched which bytes of the emulated GPUs' memory, by vector clocks: an access that no event
// orders with an earlier one is a Fault whatever the schedule was. Agents are the streams (and the
// nodes' branches of graphs); the host is one more, for what it has waited for.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace weft::emulation {

// Of each agent, how many of its items have happened before.
using Clock = std::vector<std::uint64_t>;
void join(Clock& into, const Clock& other);

struct Range {
  std::uintptr_t begin;
  std::size_t bytes;
  bool writes;
};
inline Range reads(const void* p, std::size_t bytes) {
  return {reinterpret_cast<std::uintptr_t>(p), bytes, false};
}
inline Range writes(const void* p, std::size_t bytes) {
  return {reinterpret_cast<std::uintptr_t>(p), bytes, true};
}

// An item of a stream's work.
struct Stamp {
  int agent = -1;  // -1: nobody
  std::uint64_t position = 0;
  const char* name = nullptr;    // of the op …
  const void* kernel = nullptr;  // … or the kernel
  int stream = 0, device = 0;
  bool seen_by(const Clock& clock) const {
    return agent < 0 || (static_cast<std::size_t>(agent) < clock.size() &&
                         clock[static_cast<std::size_t>(agent)] >= position);
  }
};
std::string named(const Stamp& item);  // "rope_kernel on stream 2 of GPU 0"

// Throws a Fault that names both items where one before, that `clock` has not seen, touched the
// same bytes and one of the two writes.
void note_access(const Range& range, const Stamp& item, const Clock& clock);
void forget_accesses(const void* memory, std::size_t bytes);  // it is freed

}  // namespace weft::emulation

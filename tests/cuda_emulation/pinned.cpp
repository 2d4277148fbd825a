#include "pinned.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "device_memory.h"
#include "executor.h"

namespace weft::emulation {
namespace {

struct Copy {
  Range range;
  Stamp item;
  std::vector<std::byte> before;  // what a copy from there is to find
};

std::vector<Copy>& copies() {
  static std::vector<Copy> c;
  return c;
}

bool overlap(const Range& a, std::uintptr_t begin, std::size_t bytes) {
  return a.begin < begin + bytes && begin < a.begin + a.bytes;
}

void expect_unchanged(const Copy& copy) {
  if (copy.range.writes) return;
  const DeviceAccess access;
  if (std::memcmp(copy.before.data(), reinterpret_cast<const void*>(copy.range.begin),
                  copy.range.bytes) == 0)
    return;
  throw Fault(fmt::format("the host writes pinned memory that {} reads, and has not waited for it",
                          named(copy.item)));
}

}  // namespace

void pinned_copy_begins(const Range& range, const Stamp& item, const Clock& clock) {
  bool from_device = false;
  std::erase_if(copies(), [&](const Copy& other) {
    if (!overlap(other.range, range.begin, range.bytes)) return false;
    from_device |= other.range.writes;
    // What changes there from now on may be this copy's doing.
    if (!range.writes || other.range.writes || !other.item.seen_by(clock)) return false;
    expect_unchanged(other);
    return true;
  });
  if (range.writes) {
    copies().push_back({range, item, {}});
    close_pinned(range.begin, range.bytes);
  } else if (!from_device) {
    const auto* begin = reinterpret_cast<const std::byte*>(range.begin);
    copies().push_back({range, item, {begin, begin + range.bytes}});
  }
}

void pinned_copy_runs(const Stamp& item) {
  for (const Copy& copy : copies())
    if (copy.item.agent == item.agent && copy.item.position == item.position)
      expect_unchanged(copy);
}

void host_has_waited(const Clock& host) {
  std::vector<Copy> over;
  std::erase_if(copies(), [&](const Copy& copy) {
    if (!copy.item.seen_by(host)) return false;
    over.push_back(copy);
    return true;
  });
  for (const Copy& copy : over) {
    if (copy.range.writes) open_pinned(copy.range.begin, copy.range.bytes);
    for (const Copy& other : copies())  // that writes there too
      if (copy.range.writes && other.range.writes &&
          overlap(other.range, copy.range.begin, copy.range.bytes))
        close_pinned(other.range.begin, other.range.bytes);
  }
  for (const Copy& copy : over) expect_unchanged(copy);
}

void forget_pinned(const void* memory, std::size_t bytes) {
  std::erase_if(copies(), [&](const Copy& copy) {
    return overlap(copy.range, reinterpret_cast<std::uintptr_t>(memory), bytes);
  });
}

void forget_pinned_copies() {
  for (const Copy& copy : copies())
    if (copy.range.writes) open_pinned(copy.range.begin, copy.range.bytes);
  copies().clear();
}

}  // namespace weft::emulation

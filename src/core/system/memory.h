// Memory that this process may still take: what the host has free, what its job's cgroups leave,
// what its own limits (ulimit -v, -d) leave. The planned bytes of a run are compared with it before
// they are touched, since the answer of a host that lacks them is the OOM killer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <string>

#include "core/device.h"

namespace weft {

struct MemoryRoom {
  std::int64_t bytes = std::numeric_limits<std::int64_t>::max();
  std::string bound = "what is not limited";  // ends a sentence: "3.20 GB is " …
};

// Where the numbers are read. Tests play other hosts under another root.
struct MemorySources {
  std::filesystem::path root = "/";  // of /proc and of the cgroups' mount points
  std::uint64_t address_space =
      std::numeric_limits<std::uint64_t>::max();                   // ulimit -v, bytes; max: none
  std::uint64_t data = std::numeric_limits<std::uint64_t>::max();  // ulimit -d
};
MemorySources own_memory_sources();

// The least of them. Host and cgroups are shared with the other ranks here, equally; page cache
// counts as free. Cgroups v1 and v2, the process's own (/proc/self/cgroup) and all above it.
MemoryRoom memory_room(int ranks_on_host, const MemorySources& sources = own_memory_sources());
// The same of what tensors lie in on the device.
MemoryRoom memory_room(Device device, int ranks_on_host);

}  // namespace weft

// How often memory was asked of the machine: what tests count by that no pass allocates.
#pragma once

#include <cstdint>

#include "core/device.h"

namespace weft {

// Bytes of host memory that allocate() and allocate_host() have given so far.
std::int64_t host_bytes_allocated();

// Calls of allocate(), allocate_zeroed() and allocate_host() for devices of a kind, so far.
std::int64_t allocations(DeviceType type);

}  // namespace weft

// How often memory was asked of the machine: what tests count by that no pass allocates.
#pragma once

#include <cstdint>

#include "core/device.h"

namespace weft {

// Calls of allocate(), allocate_zeroed() and allocate_host() for devices of a kind, so far.
std::int64_t allocations(DeviceType type);

}  // namespace weft

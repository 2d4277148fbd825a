// What a rank runs on: --device, --gpu-map, what this build has and this process sees.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"
#include "core/device.h"

namespace weft {

struct DeviceWish {
  std::string device, gpu_map;  // the options, as given
  std::int64_t local_rank = 0, ranks_on_host = 1, ranks = 1;
  bool tells = true;  // says in a line on stderr what was not asked for
};

// Unasked (""): a GPU where this build has the kernels and sees one, else the CPU. UserErrors: cuda
// where it cannot be, a map that gpu_of_local_rank refuses.
Device choose_device(const DeviceWish& wish);

// UserError, the same everywhere, where two ranks of a host took one GPU: each was shown it as its
// own. Collective; local where there is one rank.
void check_own_gpus(Communicator& world, Device mine);

// The word of --device.
std::string device_word(Device device);

}  // namespace weft

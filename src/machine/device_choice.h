// What a rank runs on: --device, --gpu-map, what this build has and this process sees.
#pragma once

#include <cstdint>
#include <string>

#include "comm/communicator.h"

namespace weft {

struct DeviceWish {
  std::string device, gpu_map;  // the options, as given
  std::int64_t local_rank = 0, ranks_on_host = 1;
  std::string unfit;  // why no GPU can run the model, a clause (model/grid_check.h); "": one can
};

// Unasked (""): a GPU where this build has the kernels, every rank sees one and GPUs can run the
// model; else the CPU on all ranks, with one line on stderr that says why. On all ranks of `world`
// the same UserErrors: cuda where it cannot be, a map that gpu_of_local_rank refuses, two ranks
// that were shown one GPU as their own. Collective.
Device choose_device(const DeviceWish& wish, Communicator& world);

// The word of --device.
std::string device_word(Device device);

}  // namespace weft

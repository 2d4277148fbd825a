// Which GPU a rank takes. It follows from where the GPUs hang (machine.h): with depth binding the
// ranks of a host sit on its cores in order, local rank r on NUMA domain r * domains / ranks, and
// takes the GPU nearest to it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "machine/machine.h"

namespace weft {

// "3,2,1,0": the GPU of each local rank. Empty: none is given. UserError: what is no list of ids.
std::vector<std::int64_t> parse_gpu_map(const std::string& text);

// The ids of the GPUs that a process sees, in the order in which CUDA numbers them: of
// CUDA_VISIBLE_DEVICES where that is set (null: it is not), else 0 to n_gpus - 1. -1: it is named
// in a way that says nothing of its place (by UUID, or part of a GPU). CUDA stops at what it cannot
// read; so does this.
std::vector<std::int64_t> visible_gpus(const char* cuda_visible_devices, std::int64_t n_gpus);

struct GpuQuestion {
  std::int64_t local_rank = 0, ranks_on_host = 1;
  std::vector<std::int64_t> visible;  // as visible_gpus()
  std::vector<std::int64_t> map;      // --gpu-map; empty: not given
};

// The place in `visible` of the GPU that the rank takes: what CUDA calls it. One visible GPU is
// taken as it is, since who bound it has chosen; then the map, of the ids; then the machine (null:
// none is known). UserErrors: no GPU is visible, the map is too short or names a GPU that is not
// visible.
std::int64_t gpu_of_local_rank(const Machine* machine, const GpuQuestion& question);

}  // namespace weft

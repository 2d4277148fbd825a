// Whether a model can be cut over a grid, and run on a device.
#pragma once

#include <string>

#include "comm/grid.h"
#include "model/config.h"

namespace weft {

// UserError where the grid has more tensor-parallel ranks than the model has heads, or more stages
// than layers.
void check_grid(const GridShape& shape, const ModelConfig& config);

// Why a GPU's kernels cannot run the model, a clause; "": they can.
std::string gpu_objection(const ModelConfig& config);

}  // namespace weft

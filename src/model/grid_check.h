// Whether a model can be cut over a grid, and run on a device.
#pragma once

#include "comm/grid.h"
#include "model/config.h"

namespace weft {

// UserError where the grid has more tensor-parallel ranks than the model has heads, or more stages
// than layers.
void check_grid(const GridShape& shape, const ModelConfig& config);

// UserError where the device's kernels do not take the model's heads.
void check_device(Device device, const ModelConfig& config);

}  // namespace weft

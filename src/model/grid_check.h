// Whether a model can be cut over a grid.
#pragma once

#include "comm/grid.h"
#include "model/config.h"

namespace weft {

// UserError where the grid has more tensor-parallel ranks than the model has heads, or more stages
// than layers.
void check_grid(const GridShape& shape, const ModelConfig& config);

}  // namespace weft

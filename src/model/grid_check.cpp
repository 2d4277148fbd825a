#include "model/grid_check.h"

#include "core/check.h"

namespace weft {

void check_grid(const GridShape& shape, const ModelConfig& c) {
  CHECK_USER(shape.tp <= c.heads, "--tp is {}, but the model has {} heads; allowed: 1 to {}",
             shape.tp, c.heads, c.heads);
  CHECK_USER(shape.pp <= c.layers, "--pp is {}, but the model has {} layers; allowed: 1 to {}",
             shape.pp, c.layers, c.layers);
}

}  // namespace weft

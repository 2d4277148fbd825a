#include "model/grid_check.h"

#include "core/check.h"
#include "kernels/backends.h"

namespace weft {

void check_grid(const GridShape& shape, const ModelConfig& c) {
  CHECK_USER(shape.tp <= c.heads, "--tp is {}, but the model has {} heads; allowed: 1 to {}",
             shape.tp, c.heads, c.heads);
  CHECK_USER(shape.pp <= c.layers, "--pp is {}, but the model has {} layers; allowed: 1 to {}",
             shape.pp, c.layers, c.layers);
}

void check_device(Device device, const ModelConfig& c) {
  CHECK_USER(device.type == DeviceType::cpu || cuda_takes_head_dim(c.head_dim),
             "the model's heads have {} dims; allowed on a GPU: {}; --device cpu runs it",
             c.head_dim, kCudaHeadDims);
}

}  // namespace weft

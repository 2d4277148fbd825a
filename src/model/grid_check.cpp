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

std::string gpu_objection(const ModelConfig& c) {
  if (!cuda_takes_head_dim(c.head_dim))
    return fmt::format("the model's heads have {} dims, and a GPU's kernels take {}", c.head_dim,
                       kCudaHeadDims);
  if (c.attention_scale <= 0)
    return fmt::format("the model's attention_scale is {}, and a GPU's kernels take positive ones",
                       c.attention_scale);
  return "";
}

}  // namespace weft

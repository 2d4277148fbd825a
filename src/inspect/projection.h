// Vectors in two dimensions: their principal components, for a picture.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace weft {

struct Projection {
  std::vector<std::array<double, 2>> points;  // of each vector, around their mean
  std::array<double, 2> explained;            // shares of the variance, falling
};
// rows (n, width) fp32. As sklearn's PCA(2) up to the sign, which makes each component's largest
// coordinate positive. Fewer than two dimensions of variance: zeros. The result does not depend on
// threads.
Projection principal_components(std::span<const float> rows, std::int64_t width);

}  // namespace weft

#include "formats/hf_layout.h"

#include <algorithm>
#include <cstring>

namespace weft {

Dims stored_shape(const Dims& shape, const StoredParameter& stored, std::size_t part) {
  if (stored.layout == Layout::transposed) return {shape[1], shape[0]};
  return shape.rank() == 2 ? Dims{stored.parts[part].rows, shape[1]}
                           : Dims{stored.parts[part].rows};
}

RowPlace stored_row(const StoredParameter& stored, const ModelConfig& c, std::int64_t row) {
  if (stored.layout == Layout::by_head) {
    const std::int64_t D = c.head_dim, head = row / D % c.heads, kind = row / (D * c.heads);
    return {0, (head * 3 + kind) * D + row % D, D - row % D};
  }
  RowPlace place;
  for (place.row = row; place.row >= stored.parts[place.part].rows; ++place.part)
    place.row -= stored.parts[place.part].rows;
  place.n_rows = stored.parts[place.part].rows - place.row;
  return place;
}

void place_run(float* to, const StoredParameter& stored, std::size_t part,
               const ModelConfig& config, const Dims& shape, std::int64_t begin, const float* from,
               std::int64_t n) {
  const std::int64_t O = shape[0], I = shape.rank() == 2 ? shape[1] : 1;
  if (stored.layout == Layout::transposed) {
    for (std::int64_t k = 0; k < n; ++k) to[(begin + k) % I * O + (begin + k) / I] = from[k];
    return;
  }
  while (n > 0) {
    const RowPlace place = stored_row(stored, config, begin / I);
    const std::int64_t column = begin % I, size = std::min(n, place.n_rows * I - column);
    if (place.part == part)
      std::memcpy(to + place.row * I + column, from,
                  static_cast<std::size_t>(size) * sizeof(float));
    begin += size;
    from += size;
    n -= size;
  }
}

std::vector<StoredPart> stored_parts(const ModelConfig& config) {
  const Family& row = family(config.family);
  std::vector<StoredPart> list;
  for (const Parameter& p : parameters_of(config)) {
    if (!p.tied_to.empty()) continue;
    const StoredParameter stored = stored_parameter(row, config, p);
    for (std::size_t part = 0; part < stored.parts.size(); ++part)
      list.push_back({stored.parts[part].name, p, part, stored_shape(p.shape, stored, part)});
  }
  return list;
}

void lay_out_part(const StoredPart& part, const ModelConfig& config, const float* whole,
                  float* out) {
  place_run(out, stored_parameter(family(config.family), config, part.parameter), part.part, config,
            part.parameter.shape, 0, whole, part.parameter.shape.elems());
}

}  // namespace weft

// Where the elements of a registry parameter lie in the tensors that a Hugging Face file stores it
// in.
#pragma once

#include <string>
#include <vector>

#include "formats/families/families.h"

namespace weft {

// What a Hugging Face directory of the model holds, in the registry's order: the parts of one
// parameter follow each other.
struct StoredPart {
  std::string name;
  Parameter parameter;
  std::size_t part = 0;  // of it
  Dims shape;
};
std::vector<StoredPart> stored_parts(const ModelConfig& config);
Dims stored_shape(const Dims& shape, const StoredParameter& stored, std::size_t part);

// Where a row of ours is stored, and how many rows from it on stand together there too.
struct RowPlace {
  std::size_t part = 0;
  std::int64_t row = 0, n_rows = 0;
};
RowPlace stored_row(const StoredParameter& stored, const ModelConfig& config, std::int64_t row);

// to (one part, as it is stored) = what lies in it of n elements of the parameter (of `shape`),
// from element `begin` on, as the registry lays them out.
void place_run(float* to, const StoredParameter& stored, std::size_t part,
               const ModelConfig& config, const Dims& shape, std::int64_t begin, const float* from,
               std::int64_t n);
// out = the part, from the whole parameter as the registry lays it out.
void lay_out_part(const StoredPart& part, const ModelConfig& config, const float* whole,
                  float* out);

}  // namespace weft

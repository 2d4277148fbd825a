// The golden models of tests/data.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "comm/grid.h"
#include "formats/families/families.h"
#include "formats/hf_export.h"
#include "formats/hf_weights.h"
#include "io/weights/safetensors.h"
#include "model/gather_parameter.h"
#include "tests/held_model.h"
#include "tests/mpi_main.h"
#include "train/step.h"

namespace weft::test {

inline const std::vector<std::string> kGolden = {"gpt2_h3", "gpt2_h5"};

struct GoldenValues {
  SafetensorsReader file;
  std::vector<std::int32_t> ids;  // (B, T + 1)
  std::int64_t B = 0, T = 0;

  explicit GoldenValues(const std::string& name) : file(data_dir(name) / "golden.safetensors") {
    const StoredTensor* t = file.find("ids");
    B = t->shape[0];
    T = t->shape[1] - 1;
    ids.resize(static_cast<std::size_t>(t->shape.elems()));
    std::memcpy(ids.data(), t->data, ids.size() * 4);
  }
  std::vector<float> values(const std::string& name) const {
    const StoredTensor* t = file.find(name);
    CHECK(t, "golden value {} is missing", name);
    std::vector<float> out(static_cast<std::size_t>(t->shape.elems()));
    read_elements(*t, 0, t->shape.elems(), out.data());
    return out;
  }
  std::vector<std::int32_t> integers(const std::string& name) const {
    const StoredTensor* t = file.find(name);
    std::vector<std::int32_t> out(static_cast<std::size_t>(t->shape.elems()));
    std::memcpy(out.data(), t->data, out.size() * 4);
    return out;
  }
  // Place i of the run is sequence i mod B.
  SampleSource source() const {
    return next_tokens(T, [this](std::int64_t place, std::int32_t* in, std::int32_t* labels) {
      const std::int32_t* row = ids.data() + place % B * (T + 1);
      if (in) std::copy(row, row + T, in);
      if (labels) std::copy(row + 1, row + T + 1, labels);
    });
  }
};

inline double relative(double a, double b) {
  return std::abs(a - b) / std::max(std::abs(b), 1e-30);
}

// ‖a - b‖ / ‖b‖
inline double relative_norm(const std::vector<float>& a, const std::vector<float>& b) {
  double difference = 0, size = 0;
  for (std::size_t i = 0; i < b.size(); ++i) {
    difference += (static_cast<double>(a[i]) - b[i]) * (static_cast<double>(a[i]) - b[i]);
    size += static_cast<double>(b[i]) * b[i];
  }
  return std::sqrt(difference / std::max(size, 1e-60));
}

}  // namespace weft::test

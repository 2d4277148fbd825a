// A model's parameters on a grid of all ranks, and nothing that computes with them.
#pragma once

#include <cmath>
#include <filesystem>
#include <string>
#include <vector>

#include "formats/families/families.h"
#include "model/context.h"
#include "model/parameters.h"
#include "tests/mpi_main.h"

namespace weft::test {

inline std::filesystem::path data_dir(const std::string& name) {
  return std::filesystem::path(WEFT_TEST_DATA) / name;
}

struct HeldModel {
  Grid grid;
  Stream stream;
  Context ctx;
  ModelConfig config;
  Parameters parameters;
  HeldModel(GridShape shape, const ModelConfig& c, ParameterUse use = ParameterUse::training)
      : grid(test_mpi().world(), shape),
        ctx{.grid = grid,
            .stream = stream,
            .precision = Precision::fp32,
            .clock = nullptr,
            .observer = {}},
        config(c),
        parameters(config, grid, DType::f32, use) {}
};

// Every grid of so many ranks that the model can be cut into.
inline std::vector<GridShape> grids_of(int ranks, const ModelConfig& config) {
  std::vector<GridShape> list;
  for (int tp = 1; tp <= std::min<std::int64_t>(ranks, config.heads); ++tp)
    for (int pp = 1; pp <= config.layers && tp * pp <= ranks; ++pp)
      if (ranks % (tp * pp) == 0) list.push_back({tp, pp, ranks / (tp * pp)});
  return list;
}

inline std::string name_of(const GridShape& g) {
  return fmt::format("tp {} pp {} dp {}", g.tp, g.pp, g.dp);
}

}  // namespace weft::test

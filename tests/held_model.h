// A model's parameters on a grid, and the grids that so many ranks may be cut into.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/host_copy.h"
#include "model/context.h"
#include "model/parameters.h"

namespace weft::test {

// tests/data, or where WEFT_TEST_DATA says it lies: on another machine than where it was built.
inline std::filesystem::path data_dir(const std::string& name = "") {
  const char* elsewhere = std::getenv("WEFT_TEST_DATA");
  return std::filesystem::path(elsewhere ? elsewhere : WEFT_TEST_DATA) / name;
}

// The suites' device: a GPU of each rank's own where WEFT_TEST_DEVICE says cuda.
inline Device device_for(const Communicator& world) {
  const char* device = std::getenv("WEFT_TEST_DEVICE");
  const bool cuda = device && std::string_view(device) == "cuda";
  return cuda ? Device{DeviceType::cuda, world.rank()} : Device{};
}

struct HeldModel {
  Device device;
  Grid grid;
  Stream stream;
  Context ctx;
  ModelConfig config;
  Parameters parameters;
  HeldModel(std::unique_ptr<Communicator> world, GridShape shape, ModelConfig c,
            ParameterUse use = ParameterUse::training, DType dtype = DType::f32, int chunks = 1)
      : device(device_for(*world)),
        grid(std::move(world), shape, device),
        stream(device),
        ctx{.grid = grid,
            .stream = stream,
            .precision = Precision::fp32,
            .act = activation_dtype(device, dtype),
            .clock = nullptr,
            .observer = {},
            .piece_rows = 1},
        config(std::move(c)),
        parameters(config, grid, dtype, use, chunks, device) {}
};

// Every grid of so many ranks.
inline std::vector<GridShape> grids_of(int ranks) {
  std::vector<GridShape> list;
  for (int tp = 1; tp <= ranks; ++tp)
    for (int pp = 1; tp * pp <= ranks; ++pp)
      if (ranks % (tp * pp) == 0) list.push_back({tp, pp, ranks / (tp * pp)});
  return list;
}
// Those that the model can be cut into.
inline std::vector<GridShape> grids_of(int ranks, const ModelConfig& config) {
  std::vector<GridShape> list = grids_of(ranks);
  std::erase_if(list,
                [&](const GridShape& g) { return g.tp > config.heads || g.pp > config.layers; });
  return list;
}

inline std::string name_of(const GridShape& g) {
  return fmt::format("tp {} pp {} dp {}", g.tp, g.pp, g.dp);
}

}  // namespace weft::test

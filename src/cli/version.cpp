#include "cli/version.h"

#include <fmt/format.h>

#include "comm/communicator.h"
#include "io/hdf5/hdf5.h"
#include "kernels/ops.h"
#include "weft_commit.h"

namespace weft {

OrderedJson build_info() {
  const bool cuda = std::string_view(WEFT_CUDA_MODE) != "OFF";
  return {{"version", WEFT_VERSION},
          {"commit", WEFT_COMMIT},
          {"compiler", "g++ " __VERSION__},
          {"mpi", Mpi::library_version()},
          {"hdf5", hdf5_version()},
          {"matmul", matmul_library()},
          {"cuda", cuda ? WEFT_CUDA_MODE : "not built in"},
          {"nccl", cuda ? WEFT_CUDA_MODE : "not built in"}};
}

void print_version(bool json) {
  const OrderedJson info = build_info();
  if (json) {
    fmt::print("{}\n", json_text(info));
    return;
  }
  fmt::print("weft {} ({})\n", info["version"].get<std::string>(),
             info["commit"].get<std::string>());
  for (const char* key : {"compiler", "mpi", "hdf5", "matmul", "cuda", "nccl"})
    fmt::print("  {:<9} {}\n", key, info[key].get<std::string>());
}

}  // namespace weft

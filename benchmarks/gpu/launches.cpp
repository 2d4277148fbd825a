#include <cuda_runtime.h>

#include "kernels/cuda/launch.cuh"
#include "measure.h"
#include "symbols.h"

namespace weft::gpu_bench {
namespace {

nlohmann::ordered_json list(dim3 d) { return {d.x, d.y, d.z}; }

}  // namespace

void list_launches(const std::vector<Case>& cases, const Report& report) {
  for (const Case& c : cases) {
    Stream stream({DeviceType::cuda, 0});
    auto& log = stream.attached<cuda::LaunchLog>();
    log.on = log.dry = true;
    Memory memory(stream, nullptr);
    c.prepare(memory, stream)(stream);
    stream.synchronize();
    for (const auto& e : log.entries)
      report({{"case", c.name},
              {"kernel", symbol_of(e.kernel)},
              {"grid", list(e.shape.grid)},
              {"block", list(e.shape.block)},
              {"shared_bytes", e.shape.shared_bytes},
              {"bytes", e.work.bytes},
              {"flops", e.work.flops}});
  }
}

}  // namespace weft::gpu_bench

#include <dlfcn.h>

#include <cuda_runtime.h>

#include "core/check.h"
#include "kernels/cuda/launch.cuh"
#include "measure.h"

namespace weft::gpu_bench {
namespace {

// The mangled name, as in the compiler's register report; the program exports its symbols for this
// (-rdynamic).
std::string symbol_of(const void* kernel) {
  Dl_info info{};
  CHECK(dladdr(kernel, &info) != 0 && info.dli_sname && info.dli_saddr == kernel,
        "the kernel at {} has no exported name", kernel);
  return info.dli_sname;
}

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
    if (c.products.flops > 0)
      report({{"case", c.name},
              {"kernel", "cuBLAS"},
              {"bytes", c.products.bytes},
              {"flops", c.products.flops}});
  }
}

}  // namespace weft::gpu_bench

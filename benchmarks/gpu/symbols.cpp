#include "symbols.h"

#include <dlfcn.h>

#include "core/check.h"

namespace weft::gpu_bench {

std::string symbol_of(const void* kernel) {
  if (!kernel) return "cuBLASLt";
  Dl_info info{};
  CHECK(dladdr(kernel, &info) != 0 && info.dli_sname && info.dli_saddr == kernel,
        "the kernel at {} has no exported name", kernel);
  return info.dli_sname;
}

}  // namespace weft::gpu_bench

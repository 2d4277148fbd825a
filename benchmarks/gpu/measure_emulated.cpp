#include "core/check.h"
#include "measure.h"

namespace weft::gpu_bench {

std::vector<std::string> measure(const std::vector<Case>&, double, const Report&) {
  user_error(
      "times of an emulated GPU mean nothing: build with WEFT_CUDA=ON, or list the launches with "
      "--launches");
}

}  // namespace weft::gpu_bench

#include "core/device.h"

#include <cstdlib>

#include "core/check.h"

namespace weft {

void* Stream::scratch(std::size_t bytes) {
  if (bytes > scratch_bytes_) {
    const std::size_t rounded = (bytes + 4095) / 4096 * 4096;
    void* memory = std::aligned_alloc(64, rounded);
    CHECK(memory, "out of memory: {} bytes of kernel scratch", rounded);
    scratch_ = std::shared_ptr<void>(memory, std::free);
    scratch_bytes_ = rounded;
  }
  return scratch_.get();
}

}  // namespace weft
